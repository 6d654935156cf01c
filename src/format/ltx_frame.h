#pragma once

#include <cstdint>
#include <span>

#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// The rules for the front of a page frame, for all who read or write one.

// `first_frame`: a wrong flags word may then be that of an older generation, and the message says
// so.
Result<void> CheckLtxFrameHeader(Pgno pgno, std::uint16_t flags, bool first_frame);
// The size prefix.
Result<void> CheckLtxBlockSize(std::size_t size, std::uint32_t page_size);
// Expands the payload of a block frame into exactly `page`.
Result<void> ExpandLtxBlock(std::span<const std::byte> block, std::span<std::byte> page);

}  // namespace litestream
