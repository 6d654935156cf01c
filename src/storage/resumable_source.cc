#include "storage/resumable_source.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "storage/retry.h"

namespace litestream {
namespace {

constexpr RetryPolicy kResumePolicy{.attempts = kResumeAttempts};

// What another attempt cannot change.
bool IsFinal(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kNotFound:
    case ErrorCode::kCancelled:
    case ErrorCode::kDenied:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kCorruption:
    case ErrorCode::kUnsupported:
      return true;
    default:
      return false;
  }
}

class ResumableSource final : public ByteSource {
 public:
  ResumableSource(ReplicaClient& client, const FileId& id, std::uint64_t offset_bytes,
                  std::uint64_t expected_bytes)
      : client_(client), id_(id), offset_bytes_(offset_bytes), left_bytes_(expected_bytes) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override;

 private:
  // One attempt: bytes read, at least one, or why not.
  Result<std::size_t> ReadOnce(const Context& ctx, std::span<std::byte> out);
  void NoteProgress(std::size_t bytes);
  // Waits before the next attempt, or returns the error that stays.
  Result<void> NoteFailure(const Context& ctx, Error error);
  Error GiveUp(const Error& error) const;

  ReplicaClient& client_;
  const FileId id_;
  std::uint64_t offset_bytes_;  // Of the next byte, in the file.
  std::uint64_t left_bytes_;
  std::unique_ptr<ByteSource> source_;
  int failures_ = 0;
  std::uint64_t progress_bytes_ = 0;  // Since the last failure.
  bool ended_early_ = false;          // The last failure was an end, not an error.
  std::optional<Error> final_error_;
};

Result<std::size_t> ResumableSource::Read(const Context& ctx, std::span<std::byte> out) {
  if (final_error_) return *final_error_;
  if (out.empty() || left_bytes_ == 0) return std::size_t{0};
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_bytes_)));
  for (;;) {
    auto result = ReadOnce(ctx, out);
    if (result.ok()) {
      NoteProgress(result.value());
      return result;
    }
    source_.reset();
    auto next = NoteFailure(ctx, std::move(result).error());
    if (next.ok()) continue;
    final_error_ = next.error();
    return *final_error_;
  }
}

Result<std::size_t> ResumableSource::ReadOnce(const Context& ctx, std::span<std::byte> out) {
  LS_TRY(ctx.Check());
  ended_early_ = false;
  if (source_ == nullptr) {
    source_ = LS_TRY(client_.Open(
        ctx, id_, ByteRange{.offset_bytes = offset_bytes_, .length_bytes = left_bytes_}));
  }
  const std::size_t count = LS_TRY(source_->Read(ctx, out));
  // The connection was cut where the protocol cannot tell, or the file is shorter than its listing.
  ended_early_ = count == 0;
  if (ended_early_) return Error(ErrorCode::kUnavailable, "unexpected end");
  return count;
}

void ResumableSource::NoteProgress(std::size_t bytes) {
  offset_bytes_ += bytes;
  left_bytes_ -= bytes;
  progress_bytes_ += bytes;
  if (progress_bytes_ >= kResumeProgressBytes) failures_ = 0;
  if (left_bytes_ == 0) source_.reset();  // A connection that nobody reads again.
}

Result<void> ResumableSource::NoteFailure(const Context& ctx, Error error) {
  // Our own deadline looks like a timeout of the other side; the context knows.
  LS_TRY(ctx.Check());
  if (IsFinal(error)) return error;
  ++failures_;
  progress_bytes_ = 0;
  if (failures_ >= kResumeAttempts) return GiveUp(error);
  LS_TRY(ctx.Wait(RetryDelay(kResumePolicy, failures_, ctx.clock())));
  return {};
}

Error ResumableSource::GiveUp(const Error& error) const {
  return {ended_early_ ? ErrorCode::kCorruption : error.code(),
          fmt::format("max retries exceeded reading ltx file (level={}, min={}, max={}, offset={}, "
                      "{} bytes missing): {}",
                      id_.level.value, FormatTxid(id_.txids.min), FormatTxid(id_.txids.max),
                      offset_bytes_, left_bytes_, error.message())};
}

}  // namespace

std::unique_ptr<ByteSource> MakeResumableSource(ReplicaClient& client, const FileId& id,
                                                std::uint64_t offset_bytes,
                                                std::uint64_t expected_bytes) {
  return std::make_unique<ResumableSource>(client, id, offset_bytes, expected_bytes);
}

}  // namespace litestream
