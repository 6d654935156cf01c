#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/env.h"
#include "litestream/byte_stream.h"

namespace litestream {

// Appends to a file through a buffer. Borrows the file.
class FileSink : public ByteSink {
 public:
  explicit FileSink(File& file, std::size_t buffer_bytes = kDefaultBufferBytes);
  Result<void> Write(std::span<const std::byte> bytes) override;
  // Hands the buffer to the system. Call before Sync, and before reading the file.
  Result<void> Flush();
  std::uint64_t size_bytes() const { return flushed_ + buffer_.size(); }

  static constexpr std::size_t kDefaultBufferBytes = 256 * 1024;

 private:
  File& file_;
  std::size_t limit_;
  std::vector<std::byte> buffer_;
  std::uint64_t flushed_ = 0;
};

// Reads a file from `offset_bytes` to `end_bytes` or its end. Owns the file.
std::unique_ptr<ByteSource> MakeFileSource(std::unique_ptr<File> file,
                                           std::uint64_t offset_bytes = 0,
                                           std::uint64_t end_bytes = UINT64_MAX);
// From the front to the end; the file stays the caller's.
std::unique_ptr<ByteSource> BorrowFileSource(File& file);

}  // namespace litestream
