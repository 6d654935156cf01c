#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// Page number and flags of a frame header; kCorruption if they break a rule.
Result<void> CheckLtxFrameHeader(Pgno pgno, std::uint16_t flags, bool first_frame);
// The size prefix of a block frame.
Result<void> CheckLtxBlockSize(std::uint32_t size, std::uint32_t page_size);

// Expands an LZ4 block into exactly `page`.
Result<void> ExpandLz4Block(std::span<const std::byte> block, std::span<std::byte> page);

// Expands the LZ4 frame (.lz4 file format) at the front of `bytes` into exactly `page`; returns the
// size of the frame. `bytes` is all there can be of it.
Result<std::size_t> ExpandLz4Frame(std::span<const std::byte> bytes, std::span<std::byte> page);

}  // namespace litestream
