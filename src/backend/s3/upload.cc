#include "backend/s3/upload.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/try.h"
#include "cloud/part_upload.h"
#include "http/curl_error.h"
#include "http/xml.h"

namespace litestream::s3 {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// Parts of an unknown number are twice as large after so many, three times after twice as many.
constexpr std::uint64_t kGrowEvery = 500;
constexpr std::chrono::seconds kAbortTime{10};

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

class Multipart final : public cloud::PartSink {
 public:
  Multipart(Session& session, const UploadTarget& target) : session_(session), target_(target) {}

  std::uint64_t PieceBytes(std::uint64_t number) const override {
    return PartBytes(session_.options().part_size_bytes.value_or(kMinPartBytes), target_.size_bytes,
                     number, session_.provider().equal_parts);
  }
  Result<void> PutWhole(const Context& ctx, cloud::Piece whole) override;
  Result<void> Begin(const Context& ctx) override;
  // Waits for others if too much is under way.
  Result<void> Add(const Context& ctx, cloud::Piece piece, bool is_last) override;
  Result<void> Complete(const Context& ctx) override;
  void Abort() override;

 private:
  Result<void> FinishFirst(const Context& ctx);
  std::size_t Limit(std::size_t part_bytes) const;

  Session& session_;
  const UploadTarget& target_;
  std::string upload_id_;
  std::vector<std::string> tags_;  // Of part 1, 2, ...
  std::deque<cloud::PendingCall> under_way_;
};

Result<void> Multipart::PutWhole(const Context& ctx, cloud::Piece whole) {
  const auto answer = LS_TRY(DoIfAbsent(ctx, session_, target_,
                                        {.method = "PUT",
                                         .key = target_.key,
                                         .headers = ObjectHeaders(target_),
                                         .body = std::move(whole),
                                         .with_customer_key = true}));
  return RequireTag(answer);
}

Result<void> Multipart::Begin(const Context& ctx) {
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

Result<void> Multipart::Add(const Context& ctx, cloud::Piece piece, bool) {
  while (under_way_.size() >= Limit(piece->size())) LS_TRY(FinishFirst(ctx));
  const std::size_t number = tags_.size() + under_way_.size() + 1;
  if (number > kMaxParts) {
    return Error(
        ErrorCode::kUnsupported,
        fmt::format("s3: {}: more than {} parts; set a larger part-size", target_.key, kMaxParts));
  }
  Call call{.method = "PUT",
            .key = target_.key,
            .query = {{"partNumber", std::to_string(number)}, {"uploadId", upload_id_}},
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
  cloud::PendingCall pending = session_.Begin(
      ctx, {.method = "DELETE", .key = target_.key, .query = {{"uploadId", upload_id_}}});
  if (!pending.exchange.ok()) return;
  // What is wrong with the server is in the error that led here.
  (void)pending.exchange.value()->Finish(ctx);
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
  Multipart upload(session, target);
  return cloud::UploadInParts(ctx, body, target.size_bytes, upload, "s3: " + target.key);
}

}  // namespace litestream::s3
