#include "backend/abs/abs_client.h"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "backend/abs/list_page.h"
#include "backend/abs/upload.h"
#include "base/try.h"
#include "cloud/ranged_body.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/digest.h"
#include "storage/layout.h"
#include "storage/url.h"

namespace litestream {
namespace {

using abs::Call;
using abs::ListedBlob;
using abs::Session;

// Azure has 5,000 at most; with all their properties those would be more XML than is taken.
constexpr std::size_t kPageBlobs = 1000;
// A replica with more is none of ours, and a list that goes on for ever would fill the memory.
constexpr std::size_t kMaxListedBlobs = 10'000'000;
// What was deleted, and other gaps of a list, may take up pages.
constexpr int kMaxIdlePages = 1000;
constexpr std::size_t kDeletesUnderWay = 16;
constexpr std::size_t kMaxObjectBytes = 1 << 20;
constexpr std::string_view kMetadataPrefix = "x-ms-meta-";

Error Broken(std::string message) {
  return {ErrorCode::kUnavailable, std::move(message)};
}

class AbsClient final : public ReplicaClient {
 public:
  AbsClient(abs::Options options, abs::Address address, std::shared_ptr<abs::Shared> shared)
      : root_(Root(options.path)),
        session_(
            std::make_shared<Session>(std::move(options), std::move(address), std::move(shared))) {}

  std::string_view type() const override { return "abs"; }
  std::string Describe() const override {
    const std::string& account = session_->address().account;
    return fmt::format("abs://{}{}{}/{}", account, account.empty() ? "" : "@",
                       session_->options().container, session_->options().path);
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
  static std::string Root(std::string_view path) {
    const std::string clean = CleanPath(path);
    return clean == "." || clean == "/" ? "" : clean + "/";
  }
  std::string Name(const FileId& id) const {
    return root_ + RelativePath(ReplicaLayout::kLtxDecimal, id);
  }
  Result<std::string> ObjectName(std::string_view name) const;

  // Calls `take` for each blob, in the server's order, until it says false.
  template <typename Take>
  Result<void> ListBlobs(const Context& ctx, const std::string& prefix, std::size_t page_blobs,
                         Take take);
  Result<std::unique_ptr<ByteSource>> OpenBlob(const Context& ctx, std::string blob,
                                               const ByteRange& range);
  Result<bool> IsThere(const Context& ctx, const std::string& blob);
  Result<void> DeleteBlobs(const Context& ctx, std::span<const std::string> blobs);

  const std::string root_;  // "" or "path/"
  const std::shared_ptr<Session> session_;
};

// ---- Lists

// What XML cannot hold, control characters say, comes with all of the name percent-encoded.
std::string AskedFor(std::string name, std::string_view prefix) {
  if (name.starts_with(prefix)) return name;
  auto decoded = PercentDecode(name, /*plus_is_space=*/false);
  return decoded.ok() && decoded.value().starts_with(prefix) ? std::move(decoded).value() : name;
}

template <typename Take>
Result<void> AbsClient::ListBlobs(const Context& ctx, const std::string& prefix,
                                  std::size_t page_blobs, Take take) {
  std::string marker;
  std::set<std::string> markers;
  std::string last_name;
  int idle_pages = 0;  // In a row, that brought nothing new.
  std::size_t listed_blobs = 0;
  for (;;) {
    http::QueryParameters query = {{"restype", "container"},
                                   {"comp", "list"},
                                   {"prefix", prefix},
                                   {"include", "metadata"},
                                   {"maxresults", std::to_string(page_blobs)}};
    if (!marker.empty()) query.emplace_back("marker", marker);
    const auto answer = LS_TRY(session_->Do(ctx, {.query = query}));
    auto page = LS_TRY(abs::ParseListPage(answer.body), "abs: list {}", Describe());
    ++idle_pages;
    for (ListedBlob& blob : page.blobs) {
      blob.name = AskedFor(std::move(blob.name), prefix);
      // A server that forgets about the prefix must not have us delete what is not ours.
      if (!blob.name.starts_with(prefix)) {
        return Broken(
            fmt::format("abs: list {}: {} was not asked for", Describe(), http::Shown(blob.name)));
      }
      if (!take(blob)) return {};
      if (++listed_blobs > kMaxListedBlobs) {
        return Broken(fmt::format("abs: list {}: more than {} blobs", Describe(), kMaxListedBlobs));
      }
      if (blob.name != last_name) idle_pages = 0;
      last_name = blob.name;
    }
    if (page.next_marker.empty()) return {};
    if (idle_pages > kMaxIdlePages || !markers.insert(page.next_marker).second) {
      return Broken(fmt::format("abs: list {}: it has no end", Describe()));
    }
    marker = page.next_marker;
  }
}

FileInfo InfoOf(const FileId& id, const ListedBlob& blob) {
  return {.id = id, .size_bytes = blob.size_bytes, .created_at = blob.created_at};
}

// The times in a list are exact ones.
Result<std::vector<FileInfo>> AbsClient::List(const Context& ctx, Level level,
                                              const ListOptions& options) {
  const std::string prefix = root_ + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/";
  // A list cannot be begun in the middle.
  const bool all = options.limit == 0 || options.seek.value != 0;
  std::vector<FileInfo> files;
  LS_TRY(ListBlobs(ctx, prefix, all ? kPageBlobs : std::min(options.limit, kPageBlobs),
                   [&](const ListedBlob& blob) {
                     const auto txids =
                         ParseLtxFilename(std::string_view(blob.name).substr(prefix.size()));
                     if (!txids || txids->min < options.seek) return true;
                     files.push_back(InfoOf({.level = level, .txids = *txids}, blob));
                     return options.limit == 0 || files.size() < options.limit;
                   }));
  std::ranges::sort(files, {}, &FileInfo::id);
  return files;
}

Result<std::array<std::vector<FileInfo>, kLevelCount>> AbsClient::ListAll(const Context& ctx,
                                                                          bool) {
  std::array<std::vector<FileInfo>, kLevelCount> levels;
  LS_TRY(ListBlobs(ctx, root_ + "ltx/", kPageBlobs, [&](const ListedBlob& blob) {
    const auto id = ParseRelativePath(ReplicaLayout::kLtxDecimal,
                                      std::string_view(blob.name).substr(root_.size()));
    if (id) levels[id->level.value].push_back(InfoOf(*id, blob));
    return true;
  }));
  for (auto& files : levels) std::ranges::sort(files, {}, &FileInfo::id);
  return levels;
}

// ---- Files

Result<std::unique_ptr<ByteSource>> AbsClient::Open(const Context& ctx, const FileId& id,
                                                    const ByteRange& range) {
  return OpenBlob(ctx, Name(id), range);
}

Result<std::unique_ptr<ByteSource>> AbsClient::OpenBlob(const Context& ctx, std::string blob,
                                                        const ByteRange& range) {
  const std::string what = "abs: " + blob;
  Call call{.blob = std::move(blob), .accepted_status = cloud::kRangeNotSatisfiable};
  if (auto header = cloud::RangeHeader(range, "x-ms-range")) {
    call.headers.push_back(*std::move(header));
  }
  return cloud::RangedBody(LS_TRY(session_->Open(ctx, call)), range, what);
}

Result<FileInfo> AbsClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                  const WriteOptions& options) {
  const abs::UploadTarget target{
      .blob = Name(id),
      .headers = {{"x-ms-blob-content-type", "application/octet-stream"},
                  {fmt::format("{}{}", kMetadataPrefix, abs::kTimestampName),
                   FormatTimestamp(options.created_at)}},
      .if_absent = options.if_absent,
      .size_bytes = options.size_bytes};
  // Azure would say it after the last byte.
  const bool large = !options.size_bytes || *options.size_bytes > abs::kBlockBytes;
  if (options.if_absent && large && LS_TRY(IsThere(ctx, target.blob))) {
    return Error(ErrorCode::kAlreadyExists, fmt::format("abs: {} is there already", target.blob));
  }
  const std::uint64_t bytes = LS_TRY(abs::Upload(ctx, *session_, target, body));
  return FileInfo{.id = id, .size_bytes = bytes, .created_at = options.created_at};
}

Result<bool> AbsClient::IsThere(const Context& ctx, const std::string& blob) {
  auto head = session_->Do(ctx, {.method = "HEAD", .blob = blob});
  if (head.ok()) return true;
  if (head.error().Is(ErrorCode::kNotFound)) return false;
  return std::move(head).error();
}

Result<void> AbsClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  std::vector<std::string> blobs;
  for (const FileId& id : ids) blobs.push_back(Name(id));
  return DeleteBlobs(ctx, blobs);
}

Result<void> AbsClient::DeleteAll(const Context& ctx) {
  std::vector<std::string> blobs;
  std::vector<std::string> directories;
  LS_TRY(ListBlobs(ctx, root_, kPageBlobs, [&](const ListedBlob& blob) {
    (blob.is_directory ? directories : blobs).push_back(blob.name);
    return true;
  }));
  LS_TRY(DeleteBlobs(ctx, blobs));
  // Those within others first; one that is not empty does not go.
  std::ranges::sort(directories, std::ranges::greater());
  for (const std::string& directory : directories) LS_TRY(DeleteBlobs(ctx, {&directory, 1}));
  return {};
}

// One request each, several at a time: a batch costs as much, and takes a signature for each too.
Result<void> AbsClient::DeleteBlobs(const Context& ctx, std::span<const std::string> blobs) {
  std::deque<cloud::PendingCall> under_way;
  std::size_t asked = 0;
  for (std::size_t done = 0; done < blobs.size(); ++done) {
    while (asked < blobs.size() && under_way.size() < kDeletesUnderWay) {
      under_way.push_back(session_->Begin(ctx, {.method = "DELETE", .blob = blobs[asked++]}));
    }
    auto answer = session_->Finish(ctx, under_way.front());
    under_way.pop_front();
    if (!answer.ok() && !answer.error().Is(ErrorCode::kNotFound)) return std::move(answer).error();
  }
  return {};
}

// ---- Small objects

Result<std::string> AbsClient::ObjectName(std::string_view name) const {
  if (name.empty() || name.front() == '/' || name.back() == '/') {
    return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no name of an object", name));
  }
  return root_ + std::string(name);
}

Result<TaggedObject> AbsClient::GetObject(const Context& ctx, std::string_view name) {
  const std::string blob = LS_TRY(ObjectName(name));
  const auto answer = LS_TRY(session_->Do(ctx, {.blob = blob}));
  if (answer.body.size() > kMaxObjectBytes) {
    return Error(ErrorCode::kCorruption, fmt::format("abs: {} is too large", blob));
  }
  TaggedObject object{.content = answer.body, .tag = http::HeaderValue(answer.headers, "etag")};
  if (object.tag.empty()) return Broken(fmt::format("abs: {}: the answer has no ETag", blob));
  return object;
}

Result<std::string> AbsClient::PutObject(const Context& ctx, std::string_view name,
                                         std::string_view content, std::string_view tag) {
  const std::string blob = LS_TRY(ObjectName(name));
  const http::Header condition =
      tag.empty() ? http::Header{"If-None-Match", "*"} : http::Header{"If-Match", std::string(tag)};
  auto put = session_->Do(ctx, {.method = "PUT",
                                .blob = blob,
                                .headers = {{"x-ms-blob-type", "BlockBlob"},
                                            {"x-ms-blob-content-type", "application/json"},
                                            {"Content-MD5", http::Base64(http::Md5(content))},
                                            condition},
                                .body = std::make_shared<const std::string>(content)});
  if (!put.ok() && put.error().Is(ErrorCode::kNotFound)) {
    return Error(ErrorCode::kAlreadyExists, fmt::format("abs: {} is gone", blob));
  }
  const auto answer = LS_TRY(std::move(put));
  std::string stored = http::HeaderValue(answer.headers, "etag");
  if (stored.empty()) return Broken(fmt::format("abs: {}: the answer has no ETag", blob));
  return stored;
}

Result<void> AbsClient::DeleteObject(const Context& ctx, std::string_view name,
                                     std::string_view tag) {
  const std::string blob = LS_TRY(ObjectName(name));
  Call call{.method = "DELETE", .blob = blob};
  if (!tag.empty()) call.headers.push_back({"If-Match", std::string(tag)});
  auto deleted = session_->Do(ctx, call);
  // Azurite says of a missing blob, too, that it has another tag.
  if (!deleted.ok() && deleted.error().Is(ErrorCode::kAlreadyExists) &&
      !LS_TRY(IsThere(ctx, blob))) {
    return Error(ErrorCode::kNotFound, fmt::format("abs: {} is not there", blob));
  }
  LS_TRY(std::move(deleted));
  return {};
}

// ---- Whatever lies there

Result<std::vector<ObjectInfo>> AbsClient::ListObjects(const Context& ctx, std::string_view prefix,
                                                       std::size_t limit) {
  const std::size_t page = limit == 0 ? kPageBlobs : std::min(limit, kPageBlobs);
  std::vector<ObjectInfo> objects;
  LS_TRY(ListBlobs(ctx, root_ + std::string(prefix), page, [&](const ListedBlob& blob) {
    if (blob.is_directory) return true;
    objects.push_back({.name = blob.name.substr(root_.size()),
                       .size_bytes = blob.size_bytes,
                       .modified_at = blob.modified_at});
    return limit == 0 || objects.size() < limit;
  }));
  std::ranges::sort(objects, {}, &ObjectInfo::name);
  return objects;
}

Result<std::unique_ptr<ByteSource>> AbsClient::OpenObject(const Context& ctx, std::string_view name,
                                                          const ByteRange& range) {
  return OpenBlob(ctx, LS_TRY(ObjectName(name)), range);
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeAbsClient(abs::Options options,
                                                     std::shared_ptr<abs::Shared> shared) {
  const auto invalid = [](std::string_view message) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("abs: {}", message));
  };
  const abs::Address address = LS_TRY(abs::MakeAddress(options));
  if (options.container.find('/') != std::string::npos) {
    return invalid("the name of a container has no \"/\"; put what follows it into path");
  }
  const bool has_key = options.sas_token.empty() && !options.account_key.empty();
  if (has_key && address.account.empty()) {
    return invalid("account-name is required with account-key");
  }
  if (has_key && !http::FromBase64(options.account_key)) {
    return invalid("account-key is not in base64; take it as the portal shows it");
  }
  if (options.sas_token.find_first_of(" \t\r\n#/") != std::string::npos ||
      (!options.sas_token.empty() && options.sas_token.find("sig=") == std::string::npos)) {
    return invalid("sas-token is none; it is what follows \"?\" in a SAS URL, and has \"sig=\"");
  }
  if (options.sas_token.empty() && options.account_key.empty() && !address.takes_tokens) {
    return invalid(
        "without account-key and sas-token a token would go to the endpoint, and that over https "
        "only");
  }
  if (options.block_bytes &&
      (*options.block_bytes == 0 || *options.block_bytes > abs::kMaxBlockBytes)) {
    return invalid(fmt::format("part-size must be 1 to {} bytes", abs::kMaxBlockBytes));
  }
  return std::make_unique<AbsClient>(std::move(options), address, std::move(shared));
}

}  // namespace litestream
