#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "litestream/byte_stream.h"

namespace litestream::testing {

// Keeps what is written. `fail_at_write`: the n-th Write (from 1) and all later ones fail.
class VectorSink final : public ByteSink {
 public:
  explicit VectorSink(int fail_at_write = 0) : fail_at_write_(fail_at_write) {}
  Result<void> Write(std::span<const std::byte> data) override {
    ++writes_;
    if (fail_at_write_ != 0 && writes_ >= fail_at_write_) {
      return Error(ErrorCode::kNoSpace, "the sink is full");
    }
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    return {};
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::vector<std::byte> Take() { return std::move(bytes_); }
  int writes() const { return writes_; }

 private:
  std::vector<std::byte> bytes_;
  int fail_at_write_;
  int writes_ = 0;
};

// Gives bytes that somebody else holds, at most `piece` at a time. `fail_at_read`: the n-th Read
// (from 1) fails.
class SpanSource final : public ByteSource {
 public:
  explicit SpanSource(std::span<const std::byte> bytes, std::size_t piece = SIZE_MAX,
                      int fail_at_read = 0)
      : rest_(bytes), piece_(piece), fail_at_read_(fail_at_read) {}
  Result<std::size_t> Read(const Context&, std::span<std::byte> out) override {
    if (++reads_ == fail_at_read_) return Error(ErrorCode::kUnavailable, "connection lost");
    const std::size_t n = std::min({rest_.size(), out.size(), piece_});
    std::copy_n(rest_.begin(), n, out.begin());
    rest_ = rest_.subspan(n);
    return n;
  }
  int reads() const { return reads_; }

 private:
  std::span<const std::byte> rest_;
  std::size_t piece_;
  int fail_at_read_;
  int reads_ = 0;
};

}  // namespace litestream::testing
