#include "backend/s3/s3_client.h"

#include <algorithm>
#include <deque>
#include <utility>

#include <fmt/core.h>

#include "backend/s3/upload.h"
#include "base/try.h"
#include "cloud/bucket_files.h"
#include "cloud/ranged_body.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/digest.h"

namespace litestream {
namespace {

using cloud::BucketCall;
using s3::Session;

constexpr std::string_view kTimestampHeader = "x-amz-meta-litestream-timestamp";
constexpr std::size_t kDeletesUnderWay = 16;
constexpr std::size_t kMaxObjectBytes = 1 << 20;

Error Broken(std::string message) {
  return {ErrorCode::kUnavailable, std::move(message)};
}

Result<void> CheckEncryption(const s3::Options& options) {
  const s3::Encryption& encryption = options.encryption;
  const auto invalid = [](std::string message) {
    return Error(ErrorCode::kInvalidArgument, "s3: " + std::move(message));
  };
  if (!encryption.customer_key.empty() && !encryption.kms_key_id.empty()) {
    return invalid(
        "cannot use both sse-customer-key and sse-kms-key-id; they are mutually "
        "exclusive");
  }
  if (encryption.customer_key.empty()) return {};
  if (!encryption.customer_algorithm.empty() && encryption.customer_algorithm != "AES256") {
    return invalid(fmt::format("sse-customer-algorithm must be AES256, not {}",
                               encryption.customer_algorithm));
  }
  const auto key = http::FromBase64(encryption.customer_key);
  if (!key || key->size() != 32) return invalid("sse-customer-key must be 32 bytes in base64");
  if (!encryption.customer_key_md5.empty() &&
      encryption.customer_key_md5 != http::Base64(http::Md5(*key))) {
    return invalid("sse-customer-key-md5 is not that of sse-customer-key");
  }
  http::SplitUrl url;
  if (http::ParseUrl(options.endpoint, url) && url.scheme == "http" &&
      !http::IsPrivateHost(url.host)) {
    return invalid(
        "sse-customer-key requires HTTPS endpoint (http is taken for this machine and "
        "private networks only)");
  }
  return {};
}

class S3Client final : public ReplicaClient {
 public:
  S3Client(s3::Options options, std::shared_ptr<s3::Shared> shared)
      : session_(std::make_shared<Session>(std::move(options), std::move(shared))),
        files_(*session_, {.name = "s3",
                           .describe = Describe(),
                           // Concatenated as it is: an empty path gives a leading slash, as in
                           // stock Litestream.
                           .root = session_->options().path + "/",
                           .timestamp_header = std::string(kTimestampHeader)}) {}

  std::string_view type() const override { return "s3"; }
  std::string Describe() const final {
    return fmt::format("s3://{}/{}", session_->options().bucket, session_->options().path);
  }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override;
  Result<std::array<std::vector<FileInfo>, kLevelCount>> ListAll(const Context& ctx,
                                                                 bool exact_times) override;
  bool ListsTogether() const override { return true; }
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override;
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override;
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override;
  Result<void> DeleteAll(const Context& ctx) override;
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override;
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override;
  Result<void> DeleteObject(const Context& ctx, std::string_view name,
                            std::string_view tag) override;
  Result<std::vector<ObjectInfo>> ListObjects(const Context& ctx, std::string_view prefix,
                                              std::size_t limit) override;
  Result<std::unique_ptr<ByteSource>> OpenObject(const Context& ctx, std::string_view name,
                                                 const ByteRange& range) override;

 private:
  Result<std::string> ObjectKey(std::string_view name) const;
  http::Headers ObjectHeaders() const;
  Result<std::unique_ptr<ByteSource>> OpenKey(const Context& ctx, std::string key,
                                              const ByteRange& range);
  Result<void> DeleteKeys(const Context& ctx, std::span<const std::string> keys);
  Result<void> DeleteBatch(const Context& ctx, std::span<const std::string> keys);
  Result<void> DeleteOneByOne(const Context& ctx, std::span<const std::string> keys);

  Result<std::string> PutConditional(const Context& ctx, const std::string& key,
                                     std::string_view content, const http::Header& condition);
  Result<std::string> PutIfTag(const Context& ctx, const std::string& key, std::string_view name,
                               std::string_view content, std::string_view tag);
  Result<void> TryOutConditions(const Context& ctx, const std::string& key,
                                std::string_view content);
  Error NoConditions(const std::string& host) const;

  const std::shared_ptr<Session> session_;
  cloud::BucketFiles files_;
};

// ---- Lists

Result<std::vector<FileInfo>> S3Client::List(const Context& ctx, Level level,
                                             const ListOptions& options) {
  return files_.List(ctx, level, options);
}

Result<std::array<std::vector<FileInfo>, kLevelCount>> S3Client::ListAll(const Context& ctx,
                                                                         bool exact_times) {
  if (auto levels = LS_TRY(files_.ListAll(ctx, exact_times))) return *std::move(levels);
  return ReplicaClient::ListAll(ctx, exact_times);
}

// ---- Files

Result<std::unique_ptr<ByteSource>> S3Client::Open(const Context& ctx, const FileId& id,
                                                   const ByteRange& range) {
  return OpenKey(ctx, files_.Key(id), range);
}

Result<std::unique_ptr<ByteSource>> S3Client::OpenKey(const Context& ctx, std::string key,
                                                      const ByteRange& range) {
  const std::string what = "s3: " + key;
  BucketCall call{.key = std::move(key),
                  .with_customer_key = true,
                  .accepted_status = cloud::kRangeNotSatisfiable};
  if (auto header = cloud::RangeHeader(range)) call.headers.push_back(*std::move(header));
  return cloud::RangedBody(LS_TRY(session_->Open(ctx, call)), range, what);
}

http::Headers S3Client::ObjectHeaders() const {
  const s3::Options& options = session_->options();
  http::Headers headers;
  if (!options.storage_class.empty()) {
    headers.push_back({"x-amz-storage-class", options.storage_class});
  }
  if (!options.encryption.kms_key_id.empty()) {
    headers.push_back({"x-amz-server-side-encryption", "aws:kms"});
    headers.push_back(
        {"x-amz-server-side-encryption-aws-kms-key-id", options.encryption.kms_key_id});
  } else if (options.encryption.server_key) {
    headers.push_back({"x-amz-server-side-encryption", "AES256"});
  }
  return headers;
}

Result<FileInfo> S3Client::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                 const WriteOptions& options) {
  s3::UploadTarget target{.key = files_.Key(id),
                          .headers = ObjectHeaders(),
                          .if_absent = options.if_absent,
                          .size_bytes = options.size_bytes};
  target.headers.push_back({std::string(kTimestampHeader), FormatTimestamp(options.created_at)});
  if (options.if_absent) {
    const std::string host = LS_TRY(session_->Where(ctx)).host;
    const auto conditions = session_->shared().conditional_writes(host);
    const bool large = !options.size_bytes || *options.size_bytes > s3::kMinPartBytes;
    // Not every server that knows the condition on a PUT knows it at the end of an upload in parts.
    target.looked = large || !conditions.value_or(false);
    target.if_absent = conditions.value_or(true);
    if (target.looked && LS_TRY(files_.IsThere(ctx, target.key))) {
      return Error(ErrorCode::kAlreadyExists, fmt::format("s3: {} is there already", target.key));
    }
  }
  const std::uint64_t bytes = LS_TRY(s3::StoreObject(ctx, *session_, target, body));
  return FileInfo{.id = id, .size_bytes = bytes, .created_at = options.created_at};
}

Result<void> S3Client::Delete(const Context& ctx, std::span<const FileId> ids) {
  return DeleteKeys(ctx, files_.Keys(ids));
}

Result<void> S3Client::DeleteAll(const Context& ctx) {
  return DeleteKeys(ctx, LS_TRY(files_.AllKeys(ctx)));
}

Result<void> S3Client::DeleteKeys(const Context& ctx, std::span<const std::string> keys) {
  return cloud::InBatches(keys, [&](std::span<const std::string> batch) {
    if (!session_->provider().batch_delete) return DeleteOneByOne(ctx, batch);
    auto deleted = DeleteBatch(ctx, batch);
    const bool unknown = !deleted.ok() && deleted.error().Is(ErrorCode::kUnsupported);
    return unknown ? DeleteOneByOne(ctx, batch) : std::move(deleted);
  });
}

Result<void> S3Client::DeleteBatch(const Context& ctx, std::span<const std::string> keys) {
  std::string body =
      fmt::format("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}</Delete>",
                  cloud::ObjectElements(keys));
  BucketCall call{.method = "POST",
                  .query = {{"delete", ""}},
                  .headers = {{"Content-Type", "application/xml"}}};
  if (session_->options().require_content_md5.value_or(session_->provider().content_md5)) {
    call.headers.push_back({"Content-MD5", http::Base64(http::Md5(body))});
  } else {
    const std::uint32_t crc = http::Crc32(body);
    const char bytes[] = {static_cast<char>(crc >> 24), static_cast<char>(crc >> 16),
                          static_cast<char>(crc >> 8), static_cast<char>(crc)};
    call.headers.push_back({"x-amz-checksum-crc32", http::Base64({bytes, sizeof bytes})});
  }
  call.body = std::make_shared<const std::string>(std::move(body));
  const auto answer = LS_TRY(session_->Do(ctx, call));
  return cloud::CheckDeleted(files_, answer.body, keys,
                             [](std::string_view code) { return s3::MeaningOf(400, code); });
}

Result<void> S3Client::DeleteOneByOne(const Context& ctx, std::span<const std::string> keys) {
  std::deque<cloud::PendingCall> under_way;
  std::size_t asked = 0;
  for (std::size_t done = 0; done < keys.size(); ++done) {
    while (asked < keys.size() && under_way.size() < kDeletesUnderWay) {
      under_way.push_back(session_->Begin(ctx, {.method = "DELETE", .key = keys[asked++]}));
    }
    auto answer = session_->Finish(ctx, under_way.front());
    under_way.pop_front();
    if (!answer.ok() && !answer.error().Is(ErrorCode::kNotFound)) return std::move(answer).error();
  }
  return {};
}

// ---- Small objects

Result<std::string> S3Client::ObjectKey(std::string_view name) const {
  if (name.empty() || name.front() == '/' || name.back() == '/') {
    return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no name of an object", name));
  }
  return session_->options().path.empty() ? std::string(name) : files_.Key(name);
}

Result<TaggedObject> S3Client::GetObject(const Context& ctx, std::string_view name) {
  const std::string key = LS_TRY(ObjectKey(name));
  const auto answer = LS_TRY(session_->Do(ctx, {.key = key, .with_customer_key = true}));
  if (answer.body.size() > kMaxObjectBytes) {
    return Error(ErrorCode::kCorruption, fmt::format("s3: {} is too large", key));
  }
  TaggedObject object{.content = answer.body, .tag = http::HeaderValue(answer.headers, "etag")};
  if (object.tag.empty()) return Broken(fmt::format("s3: {}: the answer has no ETag", key));
  return object;
}

Result<std::string> S3Client::PutConditional(const Context& ctx, const std::string& key,
                                             std::string_view content,
                                             const http::Header& condition) {
  BucketCall call{.method = "PUT",
                  .key = key,
                  .headers = ObjectHeaders(),
                  .body = std::make_shared<const std::string>(content),
                  .with_customer_key = true};
  call.headers.push_back({"Content-Type", "application/json"});
  call.headers.push_back(condition);
  auto put = session_->Do(ctx, call);
  const std::string host = LS_TRY(session_->Where(ctx)).host;
  // Backblaze B2 refuses headers that it does not know.
  if (!put.ok() && put.error().Is(ErrorCode::kUnsupported) &&
      !session_->shared().conditional_writes(host)) {
    session_->shared().SetConditionalWrites(host, false);
    return NoConditions(host);
  }
  const auto answer = LS_TRY(std::move(put));
  std::string tag = http::HeaderValue(answer.headers, "etag");
  if (tag.empty()) return Broken(fmt::format("s3: {}: upload failed: no ETag returned", key));
  return tag;
}

Result<std::string> S3Client::PutIfTag(const Context& ctx, const std::string& key,
                                       std::string_view name, std::string_view content,
                                       std::string_view tag) {
  auto put = PutConditional(ctx, key, content, {"If-Match", std::string(tag)});
  if (put.ok()) return put;
  if (put.error().Is(ErrorCode::kNotFound)) {
    return Error(ErrorCode::kAlreadyExists, fmt::format("s3: {} is gone", key));
  }
  if (!put.error().Is(ErrorCode::kAlreadyExists) || tag.size() < 2 || tag.front() != '"') {
    return put;
  }
  // Ceph's gateway (16) compares with the quotes, and so finds any tag another one. If the object
  // has exactly this tag, that is why.
  const auto now = GetObject(ctx, name);
  if (!now.ok() || now.value().tag != tag) return put;
  return PutConditional(ctx, key, content,
                        {"If-Match", std::string(tag.substr(1, tag.size() - 2))});
}

Error S3Client::NoConditions(const std::string& host) const {
  return {ErrorCode::kUnsupported,
          fmt::format("s3: {} does not keep to conditional writes (If-None-Match, If-Match), so a "
                      "lease cannot keep two writers apart; set `lease: off` and see to it that "
                      "only one process writes to {}",
                      host, Describe())};
}

// A server that does not know a condition ignores it. So two writes that must fail are tried, of
// the same content to the object that we have just written.
Result<void> S3Client::TryOutConditions(const Context& ctx, const std::string& key,
                                        std::string_view content) {
  const std::string host = LS_TRY(session_->Where(ctx)).host;
  if (session_->shared().conditional_writes(host)) return {};
  const http::Header conditions[] = {{"If-None-Match", "*"},
                                     {"If-Match", "\"00000000000000000000000000000000\""}};
  for (const http::Header& condition : conditions) {
    const auto put = PutConditional(ctx, key, content, condition);
    if (put.ok()) {
      session_->shared().SetConditionalWrites(host, false);
      return NoConditions(host);
    }
    if (!put.error().Is(ErrorCode::kAlreadyExists)) return put.error();
  }
  session_->shared().SetConditionalWrites(host, true);
  return {};
}

Result<std::string> S3Client::PutObject(const Context& ctx, std::string_view name,
                                        std::string_view content, std::string_view tag) {
  const std::string key = LS_TRY(ObjectKey(name));
  const std::string host = LS_TRY(session_->Where(ctx)).host;
  if (!session_->shared().conditional_writes(host).value_or(true)) return NoConditions(host);
  std::string stored =
      LS_TRY(tag.empty() ? PutConditional(ctx, key, content, {"If-None-Match", "*"})
                         : PutIfTag(ctx, key, name, content, tag));
  LS_TRY(TryOutConditions(ctx, key, content));
  return stored;
}

Result<void> S3Client::DeleteObject(const Context& ctx, std::string_view name,
                                    std::string_view tag) {
  const std::string key = LS_TRY(ObjectKey(name));
  // A DELETE of what is not there is a success, and not every server knows the condition on it.
  const auto now = LS_TRY(GetObject(ctx, name));
  if (!tag.empty() && now.tag != tag) {
    return Error(ErrorCode::kAlreadyExists, fmt::format("s3: {} has another tag", key));
  }
  BucketCall call{.method = "DELETE", .key = key};
  if (!tag.empty()) call.headers.push_back({"If-Match", std::string(tag)});
  auto deleted = session_->Do(ctx, call);
  if (!deleted.ok() && deleted.error().Is(ErrorCode::kUnsupported)) {
    call.headers.clear();
    deleted = session_->Do(ctx, call);
  }
  if (!deleted.ok()) return std::move(deleted).error();
  return {};
}

// ---- Whatever lies there

Result<std::vector<ObjectInfo>> S3Client::ListObjects(const Context& ctx, std::string_view prefix,
                                                      std::size_t limit) {
  const std::string root = LS_TRY(ObjectKey("x"));
  const std::size_t root_size = root.size() - 1;
  const std::size_t page = limit == 0 ? cloud::kPageKeys : std::min(limit, cloud::kPageKeys);
  std::vector<ObjectInfo> objects;
  LS_TRY(files_.ListKeys(ctx, root.substr(0, root_size).append(prefix), "", page,
                         [&](const cloud::ListedObject& listed) {
                           objects.push_back({.name = listed.key.substr(root_size),
                                              .size_bytes = listed.size_bytes,
                                              .modified_at = listed.modified_at()});
                           return limit == 0 || objects.size() < limit;
                         }));
  std::ranges::sort(objects, {}, &ObjectInfo::name);
  return objects;
}

Result<std::unique_ptr<ByteSource>> S3Client::OpenObject(const Context& ctx, std::string_view name,
                                                         const ByteRange& range) {
  return OpenKey(ctx, LS_TRY(ObjectKey(name)), range);
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeS3Client(s3::Options options,
                                                    std::shared_ptr<s3::Shared> shared) {
  if (options.bucket.empty()) {
    return Error(ErrorCode::kInvalidArgument, "s3: bucket name is required");
  }
  LS_TRY(CheckEncryption(options));
  if (options.access_key_id.empty() != options.secret_access_key.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 "s3: access-key-id and secret-access-key must both be given, or none");
  }
  if (options.part_size_bytes && *options.part_size_bytes < s3::kMinPartBytes) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("s3: part size must be at least {} bytes", s3::kMinPartBytes));
  }
  // What is wrong with them shows here, and not with the first commit.
  LS_TRY(s3::MakeAddress(options, options.region.empty() ? "us-east-1" : options.region));
  return std::make_unique<S3Client>(std::move(options), std::move(shared));
}

}  // namespace litestream
