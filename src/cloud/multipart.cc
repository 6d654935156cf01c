#include "cloud/multipart.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "http/curl_error.h"
#include "http/xml.h"

namespace litestream::cloud {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// Parts of an unknown number are twice as large after so many, three times after twice as many.
constexpr std::uint64_t kGrowEvery = 500;
constexpr std::chrono::seconds kAbortTime{10};

}  // namespace

std::uint64_t PartBytes(std::uint64_t configured, std::optional<std::uint64_t> size,
                        std::uint64_t number, bool equal_parts) {
  if (size) {
    const std::uint64_t least = *size / kMaxParts + 1;
    return std::max(configured, (least + kMiB - 1) / kMiB * kMiB);
  }
  return equal_parts ? configured : configured * (1 + (number - 1) / kGrowEvery);
}

std::uint64_t Multipart::PieceBytes(std::uint64_t number) const {
  return PartBytes(settings_.part_bytes, settings_.size_bytes, number, settings_.equal_parts);
}

Result<void> Multipart::RequireTag(const http::Response& answer) const {
  if (!http::HeaderValue(answer.headers, "etag").empty()) return {};
  return Error(ErrorCode::kUnavailable,
               fmt::format("{}: upload failed: no ETag returned", settings_.name));
}

Result<void> Multipart::PutWhole(const Context& ctx, Piece whole) {
  const auto answer = LS_TRY(Store(ctx, {.method = "PUT",
                                         .key = settings_.key,
                                         .headers = settings_.headers,
                                         .body = std::move(whole),
                                         .with_customer_key = true}));
  return RequireTag(answer);
}

Result<void> Multipart::Begin(const Context& ctx) {
  const BucketCall call{.method = "POST",
                        .key = settings_.key,
                        .query = {{"uploads", ""}},
                        .headers = settings_.headers,
                        .with_customer_key = true};
  const auto answer = LS_TRY(session_.Do(ctx, call));
  const std::string doing = settings_.name + ": create multipart upload";
  const auto root = LS_TRY(http::ParseXml(answer.body), "{}", doing);
  upload_id_ = root.TextOf("UploadId");
  if (!upload_id_.empty()) return {};
  return Error(ErrorCode::kUnavailable, doing + ": the answer has no UploadId");
}

std::size_t Multipart::Limit(std::size_t part_bytes) const {
  // Another one is read meanwhile.
  const auto fit =
      std::max<std::uint64_t>(2, kMaxUploadBytes / std::max<std::size_t>(1, part_bytes));
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(
      static_cast<std::uint64_t>(std::max(1, settings_.concurrency)), 1, fit - 1));
}

void Multipart::NotePart(BucketCall&) {}

Result<void> Multipart::Add(const Context& ctx, Piece piece, bool) {
  while (under_way_.size() >= Limit(piece->size())) LS_TRY(FinishFirst(ctx));
  const std::size_t number = tags_.size() + under_way_.size() + 1;
  if (number > kMaxParts) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("{}: {}: more than {} parts; set a larger part-size", settings_.name,
                             settings_.key, kMaxParts));
  }
  BucketCall call{.method = "PUT",
                  .key = settings_.key,
                  .query = {{"partNumber", std::to_string(number)}, {"uploadId", upload_id_}},
                  .body = std::move(piece),
                  .with_customer_key = true};
  NotePart(call);
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
  std::string body = fmt::format("<CompleteMultipartUpload{}>", settings_.completion_attributes);
  for (std::size_t i = 0; i < tags_.size(); ++i) {
    body += fmt::format("<Part><ETag>{}</ETag><PartNumber>{}</PartNumber></Part>",
                        http::EscapeXml(tags_[i]), i + 1);
  }
  body += "</CompleteMultipartUpload>";
  const auto answer =
      LS_TRY(Store(ctx, {.method = "POST",
                         .key = settings_.key,
                         .query = {{"uploadId", upload_id_}},
                         .headers = {{"Content-Type", "application/xml"}},
                         .body = std::make_shared<const std::string>(std::move(body))}));
  const std::string doing = settings_.name + ": complete multipart upload";
  const auto root = LS_TRY(http::ParseXml(answer.body), "{}", doing);
  if (root.name == "CompleteMultipartUploadResult") return {};
  return Error(ErrorCode::kUnavailable,
               fmt::format("{}: the answer is <{}>", doing, http::Shown(root.name)));
}

// Parts that stay would be paid for. The upload may have ended because its context did, so there is
// some time for this one. A part that is still on its way may arrive behind it, and stay.
void Multipart::Abort() {
  under_way_.clear();
  if (upload_id_.empty()) return;
  const Clock& clock = Clock::Real();
  const Context ctx({}, clock.Monotonic() + kAbortTime, clock);
  PendingCall pending = session_.Begin(
      ctx, {.method = "DELETE", .key = settings_.key, .query = {{"uploadId", upload_id_}}});
  if (!pending.exchange.ok()) return;
  // What is wrong with the server is in the error that led here.
  (void)pending.exchange.value()->Finish(ctx);
}

}  // namespace litestream::cloud
