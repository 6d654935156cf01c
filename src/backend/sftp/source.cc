#include "backend/sftp/source.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "backend/sftp/files.h"
#include "backend/sftp/sftp_error.h"
#include "base/try.h"

namespace litestream::sftp {
namespace {

constexpr std::size_t kFirstPieces = 4;

class Source final : public ByteSource {
 public:
  Source(Use use, std::string handle, std::string path, const ByteRange& range)
      : use_(std::move(use)),
        handle_(*use_, std::move(handle)),
        path_(std::move(path)),
        taken_(range.offset_bytes),
        asked_(range.offset_bytes),
        end_(range.length_bytes == 0 ? kNoEnd : End(range)),
        pieces_(kFirstPieces) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;

 private:
  static constexpr std::uint64_t kNoEnd = std::numeric_limits<std::uint64_t>::max();
  struct Piece {
    std::uint64_t offset = 0;
    std::size_t size = 0;
    Pending answer;
  };

  static std::uint64_t End(const ByteRange& range) {
    return range.length_bytes > kNoEnd - range.offset_bytes
               ? kNoEnd
               : range.offset_bytes + range.length_bytes;
  }
  Piece AskFor(std::uint64_t offset, std::size_t size);
  void AskAhead();
  // Once: how long the file is, so that nothing behind its end is asked for.
  Result<void> Begin(const Context& ctx);
  Result<void> TakePiece(const Context& ctx);

  const Use use_;
  const RemoteHandle handle_;
  const std::string path_;
  std::uint64_t taken_;  // Offset in the file up to which pieces have been taken.
  std::uint64_t asked_;
  std::uint64_t end_;
  std::size_t pieces_;  // How many may be under way.
  bool begun_ = false;
  std::optional<Error> broken_;  // Stays: behind it a piece would be missing.
  std::deque<Piece> under_way_;
  std::string buffer_;
  std::size_t given_ = 0;  // Of the buffer.
};

Source::Piece Source::AskFor(std::uint64_t offset, std::size_t size) {
  return {.offset = offset,
          .size = size,
          .answer = use_->Send(
              PacketType::kRead,
              Body().String(handle_.handle()).U64(offset).U32(static_cast<std::uint32_t>(size)))};
}

void Source::AskAhead() {
  while (asked_ < end_ && under_way_.size() < pieces_) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, end_ - asked_));
    under_way_.push_back(AskFor(asked_, size));
    asked_ += size;
  }
}

Result<void> Source::Begin(const Context& ctx) {
  begun_ = true;
  const Pending size = use_->Send(PacketType::kFstat, Body().String(handle_.handle()));
  AskAhead();
  const auto reply = LS_TRY(use_->Wait(ctx, size));
  // Not every server can say it. Then the end is where there is no more.
  if (reply.type != PacketType::kAttrs) return {};
  const Attributes attributes = LS_TRY(ParseAttributes(reply), "sftp: read {}", path_);
  if (attributes.size_bytes) end_ = std::min(end_, std::max(*attributes.size_bytes, taken_));
  return {};
}

Result<void> Source::TakePiece(const Context& ctx) {
  const auto reply = LS_TRY(use_->Wait(ctx, under_way_.front().answer));
  const Piece piece = std::move(under_way_.front());
  under_way_.pop_front();
  if (reply.type == PacketType::kStatus) {
    const Status status = LS_TRY(ParseStatus(reply));
    if (status.code != StatusCode::kEof) return StatusError(status, fmt::format("read {}", path_));
    end_ = taken_;
    under_way_.clear();
    return {};
  }
  const std::string_view data = LS_TRY(ParseData(reply), "sftp: read {}", path_);
  if (data.empty() || data.size() > piece.size) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("sftp: read {}: {} bytes came where {} were asked for", path_,
                             data.size(), piece.size));
  }
  taken_ = piece.offset + data.size();
  // Less than asked for need not be the end.
  if (data.size() < piece.size && taken_ < end_) {
    under_way_.push_front(AskFor(taken_, piece.size - data.size()));
  }
  buffer_ = data;
  given_ = 0;
  pieces_ = std::min(pieces_ * 2, kMaxPieces);
  return {};
}

Result<std::size_t> Source::Read(const Context& ctx, std::span<std::byte> out) {
  LS_TRY(ctx.Check());
  if (broken_) return *broken_;
  if (out.empty()) return std::size_t{0};
  if (!begun_) LS_TRY(Begin(ctx));
  while (given_ == buffer_.size()) {
    if (taken_ >= end_) return std::size_t{0};
    AskAhead();
    auto taken = TakePiece(ctx);
    if (taken.ok()) continue;
    LS_TRY(ctx.Check());
    broken_ = taken.error();
    return std::move(taken).error();
  }
  const std::size_t count = std::min(out.size(), buffer_.size() - given_);
  std::memcpy(out.data(), buffer_.data() + given_, count);
  given_ += count;
  return count;
}

}  // namespace

std::unique_ptr<ByteSource> MakeSource(Use use, std::string handle, std::string path,
                                       const ByteRange& range) {
  return std::make_unique<Source>(std::move(use), std::move(handle), std::move(path), range);
}

}  // namespace litestream::sftp
