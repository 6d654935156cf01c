#include "backend/oss/oss_client.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "backend/oss/checked_body.h"
#include "backend/oss/oss_error.h"
#include "backend/oss/upload.h"
#include "base/try.h"
#include "cloud/bucket_files.h"
#include "cloud/ranged_body.h"
#include "format/names.h"
#include "http/digest.h"
#include "storage/layout.h"

namespace litestream {
namespace {

using cloud::BucketCall;

constexpr std::string_view kTimestampHeader = "x-oss-meta-litestream-timestamp";
// alibabacloud.com/help/en/oss/user-guide/object-naming-conventions
constexpr std::size_t kMaxKeyBytes = 1023;

// A key cannot begin with a slash, so an empty path leaves no trace.
std::string RootOf(const std::string& path) {
  return path.empty() ? "" : path + "/";
}

class OssClient final : public ReplicaClient {
 public:
  OssClient(oss::Options options, oss::Address address, std::shared_ptr<oss::Shared> shared)
      : session_(std::move(options), std::move(address), std::move(shared)),
        files_(session_, {.name = "oss",
                          .describe = Describe(),
                          .root = RootOf(session_.options().path),
                          .timestamp_header = std::string(kTimestampHeader),
                          .encoded_keys = true,
                          .asks_for_full_pages = true}) {}

  std::string_view type() const override { return "oss"; }
  std::string Describe() const final {
    return fmt::format("oss://{}/{}", session_.options().bucket, session_.options().path);
  }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override {
    return files_.List(ctx, level, options);
  }
  Result<std::array<std::vector<FileInfo>, kLevelCount>> ListAll(const Context& ctx,
                                                                 bool exact_times) override {
    if (auto levels = LS_TRY(files_.ListAll(ctx, exact_times))) return *std::move(levels);
    return ReplicaClient::ListAll(ctx, exact_times);
  }
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

 private:
  Result<void> DeleteKeys(const Context& ctx, std::span<const std::string> keys);
  Error NoConditions() const;

  oss::Session session_;
  cloud::BucketFiles files_;
};

Result<std::unique_ptr<ByteSource>> OssClient::Open(const Context& ctx, const FileId& id,
                                                    const ByteRange& range) {
  BucketCall call{.key = files_.Key(id), .accepted_status = cloud::kRangeNotSatisfiable};
  const std::string what = "oss: " + *call.key;
  if (auto header = cloud::RangeHeader(range)) {
    call.headers.push_back(*std::move(header));
    // Else a range beyond the end is answered with all of the object.
    call.headers.push_back({"x-oss-range-behavior", "standard"});
  }
  auto answer = LS_TRY(session_.Open(ctx, call));
  const auto sum = oss::SumOfWhole(answer->status(), answer->headers());
  auto body = LS_TRY(cloud::RangedBody(std::move(answer), range, what));
  const bool all = range.length_bytes == 0 || (sum && range.length_bytes >= sum->size_bytes);
  if (!sum || !all || range.offset_bytes > 0) return body;
  return oss::CheckedBody(std::move(body), *sum, what);
}

Result<FileInfo> OssClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                  const WriteOptions& options) {
  const oss::UploadTarget target{
      .key = files_.Key(id),
      .headers = {{std::string(kTimestampHeader), FormatTimestamp(options.created_at)}},
      .if_absent = options.if_absent,
      .size_bytes = options.size_bytes};
  // Where old versions are kept OSS does not hear of the condition.
  if (options.if_absent && session_.shared().versioned(session_.options().bucket).value_or(true) &&
      LS_TRY(files_.IsThere(ctx, target.key))) {
    return Error(ErrorCode::kAlreadyExists, fmt::format("oss: {} is there already", target.key));
  }
  const std::uint64_t bytes = LS_TRY(oss::StoreObject(ctx, session_, target, body));
  return FileInfo{.id = id, .size_bytes = bytes, .created_at = options.created_at};
}

Result<void> OssClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  return DeleteKeys(ctx, files_.Keys(ids));
}

Result<void> OssClient::DeleteAll(const Context& ctx) {
  return DeleteKeys(ctx, LS_TRY(files_.AllKeys(ctx)));
}

Result<void> OssClient::DeleteKeys(const Context& ctx, std::span<const std::string> keys) {
  return cloud::InBatches(keys, [&](std::span<const std::string> batch) -> Result<void> {
    const auto body = std::make_shared<const std::string>(
        fmt::format("<Delete><Quiet>false</Quiet>{}</Delete>", cloud::ObjectElements(batch)));
    const BucketCall call{.method = "POST",
                          .query = {{"delete", ""}, {"encoding-type", "url"}},
                          .headers = {{"Content-Type", "application/xml"},
                                      {"Content-MD5", http::Base64(http::Md5(*body))}},
                          .body = body};
    const auto answer = LS_TRY(session_.Do(ctx, call));
    return cloud::CheckDeleted(files_, answer.body, batch,
                               [](std::string_view code) { return oss::MeaningOf(400, code); });
  });
}

// ---- Leases

Error OssClient::NoConditions() const {
  return {ErrorCode::kUnsupported,
          fmt::format("oss: OSS has no conditional writes (If-Match), so a lease cannot keep two "
                      "writers apart; set `lease: off` and see to it that only one process writes "
                      "to {}",
                      Describe())};
}

Result<TaggedObject> OssClient::GetObject(const Context&, std::string_view) {
  return NoConditions();
}

Result<std::string> OssClient::PutObject(const Context&, std::string_view, std::string_view,
                                         std::string_view) {
  return NoConditions();
}

Result<void> OssClient::DeleteObject(const Context&, std::string_view, std::string_view) {
  return NoConditions();
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeOssClient(oss::Options options,
                                                     std::shared_ptr<oss::Shared> shared) {
  const auto invalid = [](std::string message) {
    return Error(ErrorCode::kInvalidArgument, "oss: " + std::move(message));
  };
  if (options.bucket.empty()) return invalid("bucket name is required");
  if (options.access_key_id.empty() != options.secret_access_key.empty()) {
    return invalid("access-key-id and secret-access-key must both be given, or none");
  }
  const std::uint64_t part_bytes = options.part_size_bytes.value_or(oss::kDefaultPartBytes);
  if (part_bytes < oss::kMinPartBytes || part_bytes > oss::kMaxPartBytes) {
    return invalid(
        fmt::format("part size must be {} to {} bytes", oss::kMinPartBytes, oss::kMaxPartBytes));
  }
  if (options.path.starts_with('/') || options.path.starts_with('\\')) {
    return invalid("path must not begin with a slash: OSS has no such keys");
  }
  const FileId longest{.level = kSnapshotLevel, .txids = {.min = Txid{1}, .max = Txid{1}}};
  const std::size_t key_bytes =
      RootOf(options.path).size() + RelativePath(ReplicaLayout::kHexLevel, longest).size();
  if (key_bytes > kMaxKeyBytes) {
    return invalid(fmt::format("path is too long: keys would have {} bytes, {} are possible",
                               key_bytes, kMaxKeyBytes));
  }
  oss::Address address = LS_TRY(oss::MakeAddress(options));
  return std::make_unique<OssClient>(std::move(options), std::move(address), std::move(shared));
}

}  // namespace litestream
