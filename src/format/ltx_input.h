#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "litestream/byte_stream.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// A window on a source that is read in large pieces. Borrows the source.
class LtxInput {
 public:
  LtxInput(ByteSource& source, std::size_t capacity) : source_(source), next_capacity_(capacity) {}

  // From the next refill on.
  void SetCapacity(std::size_t capacity) { next_capacity_ = capacity; }

  // Tries to have `want` bytes in the window; there are fewer only at the end of the source. A
  // window that is too small for them grows. Moves the window's bytes: spans from before are void.
  Result<void> Fill(const Context& ctx, std::size_t want) {
    return want <= size() ? Result<void>() : Refill(ctx, want);
  }
  // What Fill got, or more.
  std::span<const std::byte> window() const { return {buffer_.get() + begin_, size()}; }
  std::size_t size() const { return end_ - begin_; }
  void Consume(std::size_t bytes) {
    begin_ += bytes;
    offset_ += bytes;
  }
  // Of the window's first byte.
  std::uint64_t offset() const { return offset_; }

 private:
  Result<void> Refill(const Context& ctx, std::size_t want);
  void MakeRoom(std::size_t want);

  ByteSource& source_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t next_capacity_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::uint64_t offset_ = 0;
  bool source_ended_ = false;
};

}  // namespace litestream
