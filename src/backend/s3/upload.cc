#include "backend/s3/upload.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/try.h"
#include "http/curl_error.h"
#include "http/xml.h"

namespace litestream::s3 {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// Parts of an unknown number are twice as large after so many, three times after twice as many.
constexpr std::uint64_t kGrowEvery = 500;
constexpr std::chrono::seconds kAbortTime{10};

// Up to `size` bytes; memory for what is there only.
Result<std::shared_ptr<std::string>> ReadPiece(const Context& ctx, ByteSource& body,
                                               std::uint64_t size,
                                               std::optional<std::uint64_t> expected) {
  constexpr std::size_t kStep = 64 * 1024;
  auto piece = std::make_shared<std::string>();  // Shared: see http::Request.
  if (expected) piece->reserve(static_cast<std::size_t>(std::min(size, *expected)));
  while (piece->size() < size) {
    const std::size_t old = piece->size();
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(kStep, size - old));
    piece->resize(old + want);
    const std::size_t count =
        LS_TRY(ReadFull(ctx, body, std::as_writable_bytes(std::span(piece->data() + old, want))));
    piece->resize(old + count);
    if (count < want) break;
  }
  return piece;
}

Error WrongSize(const UploadTarget& target, std::uint64_t bytes) {
  return {ErrorCode::kCorruption,
          fmt::format("s3: {}: the body has {} bytes instead of {}; nothing was stored", target.key,
                      bytes, target.size_bytes.value_or(0))};
}

http::Headers ObjectHeaders(const UploadTarget& target) {
  http::Headers headers = target.headers;
  headers.push_back({"Content-Type", "application/octet-stream"});
  return headers;
}

// With the condition, if there is to be one.
Result<http::Response> DoIfAbsent(const Context& ctx, Session& session, const UploadTarget& target,
                                  Call call) {
  if (!target.if_absent) return session.Do(ctx, call);
  call.headers.push_back({"If-None-Match", "*"});
  auto answer = session.Do(ctx, call);
  // Backblaze B2 refuses headers that it does not know.
  if (answer.ok() || !target.looked || !answer.error().Is(ErrorCode::kUnsupported)) return answer;
  call.headers.pop_back();
  return session.Do(ctx, call);
}

Result<void> RequireTag(const http::Response& answer) {
  if (!http::HeaderValue(answer.headers, "etag").empty()) return {};
  return Error(ErrorCode::kUnavailable, "s3: upload failed: no ETag returned");
}

class Multipart {
 public:
  Multipart(Session& session, const UploadTarget& target) : session_(session), target_(target) {}

  Result<void> Create(const Context& ctx);
  // Waits for others if too much is under way.
  Result<void> Add(const Context& ctx, std::shared_ptr<std::string> piece);
  Result<void> Complete(const Context& ctx);
  void Abort();
  std::uint64_t parts() const { return tags_.size() + under_way_.size(); }

 private:
  Result<void> FinishFirst(const Context& ctx);
  std::size_t Limit(std::size_t part_bytes) const;

  Session& session_;
  const UploadTarget& target_;
  std::string upload_id_;
  std::vector<std::string> tags_;  // Of part 1, 2, ...
  std::deque<PendingCall> under_way_;
};

Result<void> Multipart::Create(const Context& ctx) {
  const Call call{.method = "POST",
                  .key = target_.key,
                  .query = {{"uploads", ""}},
                  .headers = ObjectHeaders(target_),
                  .with_customer_key = true};
  const auto answer = LS_TRY(session_.Do(ctx, call));
  const auto root = LS_TRY(http::ParseXml(answer.body), "s3: create multipart upload");
  upload_id_ = root.TextOf("UploadId");
  if (upload_id_.empty()) {
    return Error(ErrorCode::kUnavailable,
                 "s3: create multipart upload: the answer has no UploadId");
  }
  return {};
}

std::size_t Multipart::Limit(std::size_t part_bytes) const {
  const int wanted = session_.options().concurrency.value_or(session_.provider().concurrency);
  // Another one is read meanwhile.
  const auto fit =
      std::max<std::uint64_t>(2, kMaxUploadBytes / std::max<std::size_t>(1, part_bytes));
  return static_cast<std::size_t>(
      std::clamp<std::uint64_t>(static_cast<std::uint64_t>(std::max(1, wanted)), 1, fit - 1));
}

Result<void> Multipart::Add(const Context& ctx, std::shared_ptr<std::string> piece) {
  while (under_way_.size() >= Limit(piece->size())) LS_TRY(FinishFirst(ctx));
  Call call{.method = "PUT",
            .key = target_.key,
            .query = {{"partNumber", std::to_string(parts() + 1)}, {"uploadId", upload_id_}},
            .body = std::move(piece),
            .with_customer_key = true};
  under_way_.push_back(session_.Begin(ctx, std::move(call)));
  return {};
}

Result<void> Multipart::FinishFirst(const Context& ctx) {
  const auto answer = LS_TRY(session_.Finish(ctx, under_way_.front()));
  under_way_.pop_front();
  LS_TRY(RequireTag(answer));
  tags_.push_back(http::HeaderValue(answer.headers, "etag"));
  return {};
}

Result<void> Multipart::Complete(const Context& ctx) {
  while (!under_way_.empty()) LS_TRY(FinishFirst(ctx));
  std::string body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (std::size_t i = 0; i < tags_.size(); ++i) {
    body += fmt::format("<Part><ETag>{}</ETag><PartNumber>{}</PartNumber></Part>",
                        http::EscapeXml(tags_[i]), i + 1);
  }
  body += "</CompleteMultipartUpload>";
  const auto answer =
      LS_TRY(DoIfAbsent(ctx, session_, target_,
                        {.method = "POST",
                         .key = target_.key,
                         .query = {{"uploadId", upload_id_}},
                         .headers = {{"Content-Type", "application/xml"}},
                         .body = std::make_shared<const std::string>(std::move(body))}));
  const auto root = LS_TRY(http::ParseXml(answer.body), "s3: complete multipart upload");
  if (root.name == "CompleteMultipartUploadResult") return {};
  return Error(
      ErrorCode::kUnavailable,
      fmt::format("s3: complete multipart upload: the answer is <{}>", http::Shown(root.name)));
}

// Parts that stay would be paid for. The upload may have ended because its context did, so there is
// some time for this one. A part that is still on its way may arrive behind it, and stay.
void Multipart::Abort() {
  under_way_.clear();
  if (upload_id_.empty()) return;
  const Clock& clock = Clock::Real();
  const Context ctx({}, clock.Monotonic() + kAbortTime, clock);
  PendingCall pending = session_.Begin(
      ctx, {.method = "DELETE", .key = target_.key, .query = {{"uploadId", upload_id_}}});
  if (!pending.exchange.ok()) return;
  // What is wrong with the server is in the error that led here.
  (void)pending.exchange.value()->Finish(ctx);
}

std::uint64_t PartSize(const Session& session, const UploadTarget& target, std::uint64_t number) {
  return PartBytes(session.options().part_size_bytes.value_or(kMinPartBytes), target.size_bytes,
                   number, session.provider().equal_parts);
}

// `first` and `piece`, which is the second, and what `body` still has.
Result<std::uint64_t> UploadParts(const Context& ctx, Session& session, const UploadTarget& target,
                                  ByteSource& body, std::shared_ptr<std::string> first,
                                  std::shared_ptr<std::string> piece, Multipart& upload) {
  LS_TRY(upload.Create(ctx));
  std::uint64_t bytes = first->size();
  LS_TRY(upload.Add(ctx, std::move(first)));
  while (!piece->empty()) {
    bytes += piece->size();
    if (target.size_bytes && bytes > *target.size_bytes) return WrongSize(target, bytes);
    if (upload.parts() == kMaxParts) {
      return Error(
          ErrorCode::kUnsupported,
          fmt::format("s3: {}: more than {} parts; set a larger part-size", target.key, kMaxParts));
    }
    const bool last = piece->size() < PartSize(session, target, upload.parts() + 1);
    LS_TRY(upload.Add(ctx, std::move(piece)));
    if (last) break;
    piece =
        LS_TRY(ReadPiece(ctx, body, PartSize(session, target, upload.parts() + 1), std::nullopt));
  }
  if (target.size_bytes && bytes != *target.size_bytes) return WrongSize(target, bytes);
  LS_TRY(upload.Complete(ctx));
  return bytes;
}

}  // namespace

std::uint64_t PartBytes(std::uint64_t configured, std::optional<std::uint64_t> size,
                        std::uint64_t number, bool equal_parts) {
  if (size) {
    const std::uint64_t least = *size / kMaxParts + 1;
    return std::max(configured, (least + kMiB - 1) / kMiB * kMiB);
  }
  return equal_parts ? configured : configured * (1 + (number - 1) / kGrowEvery);
}

Result<std::uint64_t> Upload(const Context& ctx, Session& session, const UploadTarget& target,
                             ByteSource& body) {
  const std::uint64_t part_bytes = PartSize(session, target, 1);
  auto first = LS_TRY(ReadPiece(ctx, body, part_bytes, target.size_bytes));
  auto second = std::make_shared<std::string>();  // Shared: see http::Request.
  if (first->size() == part_bytes) {
    second = LS_TRY(ReadPiece(ctx, body, PartSize(session, target, 2), std::nullopt));
  }
  if (second->empty()) {
    const std::uint64_t bytes = first->size();
    if (target.size_bytes && bytes != *target.size_bytes) return WrongSize(target, bytes);
    const auto answer = LS_TRY(DoIfAbsent(ctx, session, target,
                                          {.method = "PUT",
                                           .key = target.key,
                                           .headers = ObjectHeaders(target),
                                           .body = std::move(first),
                                           .with_customer_key = true}));
    LS_TRY(RequireTag(answer));
    return bytes;
  }
  Multipart upload(session, target);
  auto result =
      UploadParts(ctx, session, target, body, std::move(first), std::move(second), upload);
  if (!result.ok()) upload.Abort();
  return result;
}

}  // namespace litestream::s3
