#include "backend/gs/resumable_upload.h"

#include <utility>

#include <fmt/core.h>

#include "backend/gs/upload.h"
#include "base/try.h"
#include "http/curl_error.h"
#include "http/digest.h"

namespace litestream::gs {
namespace {

constexpr int kIncomplete = 308;
constexpr std::chrono::seconds kAbortTime{1};

}  // namespace

std::string ResumableUpload::Doing() const {
  return session_.Doing("PUT", target_.key);
}

Error ResumableUpload::Final(Error error) {
  final_error_ = error;
  return error;
}

Result<void> ResumableUpload::Begin(const Context& ctx) {
  return Create(ctx);
}

Result<void> ResumableUpload::Create(const Context& ctx) {
  http::Headers headers = {{"Content-Type", "application/json; charset=UTF-8"},
                           {"X-Upload-Content-Type", target_.content_type}};
  if (target_.size_bytes) {
    headers.push_back({"X-Upload-Content-Length", std::to_string(*target_.size_bytes)});
  }
  const auto answer = LS_TRY(
      session_.Do(ctx, {.method = "POST",
                        .key = target_.key,
                        .uploads = true,
                        .query = UploadQuery(target_, "resumable"),
                        .headers = std::move(headers),
                        .body = std::make_shared<const std::string>(ObjectJson(target_, ""))}));
  std::string url = http::HeaderValue(answer.headers, "location");
  http::SplitUrl parts;
  const bool is_url = http::ParseUrl(url.substr(0, url.find('?')), parts);
  // What we store does not go over the network in plain text because an answer says so.
  const bool is_plain = is_url && parts.scheme == "http" && !session_.IsPlain();
  if (!is_url || is_plain) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("{}: the server does not say where to upload to",
                             session_.Doing("POST", target_.key)));
  }
  url_ = std::move(url);
  persisted_bytes_ = 0;
  is_known_ = true;
  return {};
}

Result<std::unique_ptr<http::Exchange>> ResumableUpload::Put(const Context& ctx, std::string range,
                                                             cloud::Piece body, bool with_sum) {
  http::Request request{.method = "PUT",
                        .url = url_,
                        .headers = {{"Content-Range", std::move(range)}},
                        .body = std::move(body),
                        .tls = {},
                        .timeouts = session_.Timeouts()};
  // The server compares it with what it has, before anybody sees the object.
  if (with_sum) request.headers.push_back({"X-Goog-Hash", "crc32c=" + http::Base64Crc(crc_)});
  return session_.http().Begin(ctx, request);
}

void ResumableUpload::Send(const Context& ctx) {
  const std::uint64_t end = begin_bytes_ + chunk_->size();
  const std::string total = is_last_ ? std::to_string(end) : "*";
  const std::uint64_t done = persisted_bytes_ - begin_bytes_;
  // All is there, but for the end of the upload.
  std::string range = "bytes */" + total;
  cloud::Piece body =
      done == 0
          ? chunk_
          : std::make_shared<const std::string>(chunk_->substr(static_cast<std::size_t>(done)));
  if (!body->empty()) range = fmt::format("bytes {}-{}/{}", persisted_bytes_, end - 1, total);
  is_known_ = false;
  under_way_ = Put(ctx, std::move(range), std::move(body), is_last_);
}

Result<void> ResumableUpload::Add(const Context& ctx, cloud::Piece chunk, bool is_last) {
  LS_TRY(Settle(ctx));
  begin_bytes_ = persisted_bytes_;
  crc_ = http::Crc32c(*chunk, crc_);
  chunk_ = std::move(chunk);
  is_last_ = is_last;
  Send(ctx);
  return {};
}

Result<void> ResumableUpload::Complete(const Context& ctx) {
  const std::uint64_t size = begin_bytes_ + chunk_->size();
  LS_TRY(Settle(ctx));
  url_.clear();  // It has become the object.
  return CheckStored(ctx, session_, target_, *stored_, size, crc_);
}

Result<void> ResumableUpload::Settle(const Context& ctx) {
  if (chunk_ == nullptr) return {};
  std::chrono::nanoseconds retry_after{0};
  LS_TRY(Retry(
      ctx, session_.options().retry,
      [&]() -> Result<void> {
        retry_after = std::chrono::nanoseconds::zero();
        auto attempt = Attempt(ctx, &retry_after);
        // Our caller may mend it with another body; we cannot.
        if (final_error_) return {};
        return attempt;
      },
      retry_after));
  if (final_error_) return *final_error_;
  chunk_ = nullptr;
  return {};
}

Result<void> ResumableUpload::Attempt(const Context& ctx, std::chrono::nanoseconds* retry_after) {
  if (url_.empty()) LS_TRY(Create(ctx));
  while (!IsThere()) {
    const std::uint64_t before = persisted_bytes_;
    const bool asks = !is_known_ && !under_way_;
    if (asks) {
      // Without the total: with it this would be the end of an upload that has all of its bytes.
      under_way_ = Put(ctx, "bytes */*", std::make_shared<const std::string>(), false);
    } else if (!under_way_) {
      Send(ctx);
    }
    auto exchange = LS_TRY(*std::exchange(under_way_, std::nullopt), "{}", Doing());
    const auto answer = LS_TRY(exchange->Finish(ctx), "{}", Doing());
    LS_TRY(Note(answer, retry_after));
    if (!asks && !IsThere() && persisted_bytes_ < before + kChunkUnit) {
      return Error(
          ErrorCode::kUnavailable,
          fmt::format("{}: the server takes no more than {} bytes", Doing(), persisted_bytes_));
    }
  }
  return {};
}

Result<void> ResumableUpload::Note(const http::Response& answer,
                                   std::chrono::nanoseconds* retry_after) {
  if (answer.status == 404 || answer.status == 410) return NoteGone();
  if (auto error = session_.ErrorOf(answer, Doing(), kIncomplete, retry_after)) {
    const bool passes = answer.status >= 500 || answer.status == 429 || answer.status == 408;
    return passes ? *std::move(error) : Final(*std::move(error));
  }
  if (answer.status == kIncomplete) {
    return NotePersisted(
        LS_TRY(ParsePersisted(http::HeaderValue(answer.headers, "range")), "{}", Doing()));
  }
  if (!is_last_) {
    return Final(Error(ErrorCode::kUnavailable,
                       Doing() + ": the server ended the upload before its last chunk"));
  }
  stored_ = LS_TRY(ParseObject(answer.body), "{}", Doing());
  return {};
}

Result<void> ResumableUpload::NotePersisted(std::uint64_t bytes) {
  const std::uint64_t end = begin_bytes_ + chunk_->size();
  const bool odd = bytes < end && bytes % kChunkUnit != 0;
  if (bytes < begin_bytes_ || bytes > end || odd) {
    return Final(Error(ErrorCode::kUnavailable,
                       fmt::format("{}: the server has {} bytes of an upload from {} to {}",
                                   Doing(), bytes, begin_bytes_, end)));
  }
  persisted_bytes_ = bytes;
  is_known_ = true;
  return {};
}

Result<void> ResumableUpload::NoteGone() {
  Error gone(ErrorCode::kUnavailable, Doing() + ": the server does not know the upload any more");
  url_.clear();
  // The bytes before are no longer ours to send.
  if (begin_bytes_ != 0) return Final(std::move(gone));
  return gone;
}

// The server would keep it for a week. The upload may have ended because its context did,
// so there is some time for this one.
void ResumableUpload::Abort() {
  under_way_.reset();
  if (url_.empty()) return;
  const Clock& clock = Clock::Real();
  const Context ctx({}, clock.Monotonic() + kAbortTime, clock);
  // What is wrong with the server is in the error that led here. (A success is 499.)
  (void)session_.http().Do(ctx, {.method = "DELETE",
                                 .url = url_,
                                 .headers = {},
                                 .body = std::make_shared<const std::string>(),
                                 .tls = {},
                                 .timeouts = session_.Timeouts()});
}

}  // namespace litestream::gs
