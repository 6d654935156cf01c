#include "backend/oss/upload.h"

#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "cloud/multipart.h"
#include "http/crc64.h"
#include "http/digest.h"

namespace litestream::oss {
namespace {

using cloud::BucketCall;

constexpr const char* kForbidOverwrite = "x-oss-forbid-overwrite";
constexpr std::chrono::seconds kRemoveTime{10};

// The server refuses what was damaged on its way before anybody sees it.
void AddMd5(BucketCall& call) {
  call.headers.push_back({"Content-MD5", http::Base64(http::Md5(*call.body))});
}

class Upload final : public cloud::Multipart {
 public:
  Upload(Session& session, const UploadTarget& target, Settings settings)
      : Multipart(session, std::move(settings)), session_(session), target_(target) {}

 private:
  void NotePart(BucketCall& call) override;
  Result<http::Response> Store(const Context& ctx, BucketCall call) override;
  // Whether the object is there as it was sent: then an earlier attempt arrived, and only its
  // answer did not.
  bool IsStored(const Context& ctx);
  Error WrongSum(std::uint64_t said);

  Session& session_;
  const UploadTarget& target_;
  // Of all parts so far.
  std::uint64_t crc_ = 0;
  std::uint64_t bytes_ = 0;
};

void Upload::NotePart(BucketCall& call) {
  AddMd5(call);
  call.body_crc64 = http::Crc64(0, *call.body);
  crc_ = http::CombineCrc64(crc_, *call.body_crc64, call.body->size());
  bytes_ += call.body->size();
}

bool Upload::IsStored(const Context& ctx) {
  const auto head = session_.Do(ctx, {.method = "HEAD", .key = target_.key});
  return head.ok() && cloud::CrcOf(head.value().headers) == crc_ &&
         http::HeaderValue(head.value().headers, "content-length") == std::to_string(bytes_);
}

// Nobody may take it for ours. The upload may end because its context did, so there is some time
// for this.
Error Upload::WrongSum(std::uint64_t said) {
  const Clock& clock = Clock::Real();
  const Context ctx({}, clock.Monotonic() + kRemoveTime, clock);
  const auto removed = session_.Do(ctx, {.method = "DELETE", .key = target_.key});
  return {
      ErrorCode::kUnavailable,
      fmt::format("oss: {}: crc is inconsistent: the object has {} instead of {}; {}", target_.key,
                  said, crc_, removed.ok() ? "it was removed" : "it could not be removed")};
}

Result<http::Response> Upload::Store(const Context& ctx, BucketCall call) {
  const bool whole = call.method == "PUT";
  AddMd5(call);
  if (whole) {
    crc_ = http::Crc64(0, *call.body);
    bytes_ = call.body->size();
  } else if (target_.if_absent) {
    call.headers.push_back({kForbidOverwrite, "true"});
  }
  auto answer = session_.Do(ctx, call);
  // The upload is no more: an earlier attempt has ended it.
  if (!whole && !answer.ok() && answer.error().Is(ErrorCode::kIo) && IsStored(ctx)) {
    return http::Response{.status = 200, .body = "<CompleteMultipartUploadResult/>"};
  }
  if (!answer.ok()) return answer;
  session_.shared().NoteUpload(session_.options().bucket, answer.value().headers);
  const auto said = cloud::CrcOf(answer.value().headers);
  if (said && *said != crc_) return WrongSum(*said);
  return answer;
}

}  // namespace

Result<std::uint64_t> StoreObject(const Context& ctx, Session& session, const UploadTarget& target,
                                  ByteSource& body) {
  const Options& options = session.options();
  cloud::Multipart::Settings settings{
      .name = "oss",
      .key = target.key,
      .headers = target.headers,
      .part_bytes = options.part_size_bytes.value_or(kDefaultPartBytes),
      .size_bytes = target.size_bytes,
      .concurrency = options.concurrency.value_or(kDefaultConcurrency)};
  settings.headers.push_back({"Content-Type", "application/octet-stream"});
  if (target.if_absent) settings.headers.push_back({kForbidOverwrite, "true"});
  Upload upload(session, target, std::move(settings));
  return cloud::UploadInParts(ctx, body, target.size_bytes, upload, "oss: " + target.key);
}

}  // namespace litestream::oss
