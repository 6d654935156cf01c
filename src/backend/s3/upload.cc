#include "backend/s3/upload.h"

#include <utility>

#include "cloud/multipart.h"

namespace litestream::s3 {
namespace {

class Upload final : public cloud::Multipart {
 public:
  Upload(Session& session, const UploadTarget& target, Settings settings)
      : Multipart(session, std::move(settings)), target_(target) {}

 private:
  // With the condition, if there is to be one.
  Result<http::Response> Store(const Context& ctx, cloud::BucketCall call) override {
    if (!target_.if_absent) return session().Do(ctx, call);
    call.headers.push_back({"If-None-Match", "*"});
    auto answer = session().Do(ctx, call);
    // Backblaze B2 refuses headers that it does not know.
    if (answer.ok() || !target_.looked || !answer.error().Is(ErrorCode::kUnsupported)) {
      return answer;
    }
    call.headers.pop_back();
    return session().Do(ctx, call);
  }

  const UploadTarget& target_;
};

}  // namespace

Result<std::uint64_t> StoreObject(const Context& ctx, Session& session, const UploadTarget& target,
                                  ByteSource& body) {
  cloud::Multipart::Settings settings{
      .name = "s3",
      .key = target.key,
      .headers = target.headers,
      .part_bytes = session.options().part_size_bytes.value_or(kMinPartBytes),
      .size_bytes = target.size_bytes,
      .equal_parts = session.provider().equal_parts,
      .concurrency = session.options().concurrency.value_or(session.provider().concurrency),
      .completion_attributes = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""};
  settings.headers.push_back({"Content-Type", "application/octet-stream"});
  Upload upload(session, target, std::move(settings));
  return cloud::UploadInParts(ctx, body, target.size_bytes, upload, "s3: " + target.key);
}

}  // namespace litestream::s3
