#include "base/file_stream.h"

#include <algorithm>
#include <utility>

#include "base/try.h"

namespace litestream {
namespace {

class FileSource : public ByteSource {
 public:
  FileSource(std::unique_ptr<File> file, std::uint64_t offset, std::uint64_t end)
      : owned_(std::move(file)), file_(*owned_), offset_(offset), end_(end) {}
  explicit FileSource(File& file) : file_(file), offset_(0), end_(UINT64_MAX) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    LS_TRY(ctx.Check());
    if (offset_ >= end_) return std::size_t{0};
    const auto want = std::min<std::uint64_t>(out.size(), end_ - offset_);
    const std::size_t got = LS_TRY(file_.ReadAt(out.first(want), offset_));
    offset_ += got;
    return got;
  }

 private:
  const std::unique_ptr<File> owned_;  // Null: it is borrowed.
  File& file_;
  std::uint64_t offset_;
  std::uint64_t end_;
};

}  // namespace

FileSink::FileSink(File& file, std::size_t buffer_bytes) : file_(file), limit_(buffer_bytes) {}

Result<void> FileSink::Write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > limit_) LS_TRY(Flush());
  if (bytes.size() >= limit_) {
    LS_TRY(file_.WriteAt(bytes, flushed_));
    flushed_ += bytes.size();
    return {};
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> FileSink::Flush() {
  if (buffer_.empty()) return {};
  LS_TRY(file_.WriteAt(buffer_, flushed_));
  flushed_ += buffer_.size();
  buffer_.clear();
  return {};
}

std::unique_ptr<ByteSource> MakeFileSource(std::unique_ptr<File> file, std::uint64_t offset_bytes,
                                           std::uint64_t end_bytes) {
  return std::make_unique<FileSource>(std::move(file), offset_bytes, end_bytes);
}

std::unique_ptr<ByteSource> BorrowFileSource(File& file) {
  return std::make_unique<FileSource>(file);
}

}  // namespace litestream
