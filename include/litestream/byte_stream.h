#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// Bytes to read from front to back. Not safe for concurrent calls.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills the front of `out` and returns how many bytes; 0 only at the end (or if `out` is empty).
  // Fewer than asked for is normal.
  virtual Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) = 0;
};

// Takes bytes from front to back. Not safe for concurrent calls.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Result<void> Write(std::span<const std::byte> bytes) = 0;
};

// Reads until `out` is full or the source ends; returns how many bytes.
Result<std::size_t> ReadFull(const Context& ctx, ByteSource& source, std::span<std::byte> out);

}  // namespace litestream
