#include "backend/gs/gs_client.h"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "backend/gs/object.h"
#include "backend/gs/summed_source.h"
#include "backend/gs/token_service.h"
#include "backend/gs/upload.h"
#include "base/try.h"
#include "cloud/ranged_body.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "storage/layout.h"
#include "storage/url.h"

namespace litestream {
namespace {

using gs::Call;
using gs::Session;

constexpr std::size_t kPageObjects = 1000;  // The most that the server gives.
// A replica with more is none of ours, and a list that goes on for ever would fill the memory.
constexpr std::size_t kMaxListed = 10'000'000;
// What was deleted may still take up pages.
constexpr int kMaxIdlePages = 1000;
constexpr std::size_t kDeletesUnderWay = 16;
constexpr std::size_t kMaxObjectBytes = 1 << 20;
constexpr std::string_view kListFields = "nextPageToken,items(name,size,timeCreated,metadata)";

Error Broken(std::string message) {
  return {ErrorCode::kUnavailable, std::move(message)};
}

// Only numbers are generations.
bool IsGeneration(std::string_view tag) {
  return !tag.empty() && tag.size() <= 19 && tag != "0" &&
         std::ranges::all_of(tag, [](char c) { return c >= '0' && c <= '9'; });
}

// As path.Join of Go makes it: "" and "." are nothing, a slash at the front stays.
std::string RootOf(const std::string& path) {
  std::string root = CleanPath(path);
  if (root == ".") return "";
  return root == "/" ? root : root + "/";
}

class GsClient final : public ReplicaClient {
 public:
  GsClient(gs::Options options, std::shared_ptr<gs::Shared> shared)
      : root_(RootOf(options.path)),
        session_(std::make_shared<Session>(std::move(options), std::move(shared))) {}

  std::string_view type() const override { return "gs"; }
  std::string Describe() const override {
    return fmt::format("gs://{}/{}", session_->options().bucket, session_->options().path);
  }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override;
  Result<std::array<std::vector<FileInfo>, kLevelCount>> ListAll(const Context& ctx,
                                                                 bool exact_times) override;
  bool ListsTogether() const override { return true; }
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override {
    return OpenKey(ctx, Key(id), range);
  }
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
  std::string Key(const FileId& id) const {
    return root_ + RelativePath(ReplicaLayout::kLtxDecimal, id);
  }
  Result<std::string> ObjectKey(std::string_view name) const;
  // Calls `take` for each object, in the server's order, until it says false.
  template <typename Take>
  Result<void> ListKeys(const Context& ctx, const std::string& prefix, const std::string& start,
                        std::size_t page_objects, Take take);
  Result<std::unique_ptr<ByteSource>> OpenKey(const Context& ctx, std::string key,
                                              const ByteRange& range);
  Result<void> DeleteKeys(const Context& ctx, std::span<const std::string> keys);
  Error Changed(const std::string& key) const {
    return {ErrorCode::kAlreadyExists,
            fmt::format("gs: {}/{} has another generation", session_->options().bucket, key)};
  }

  const std::string root_;  // Of keys, with a slash at the end unless it is "".
  const std::shared_ptr<Session> session_;
};

// ---- Lists

template <typename Take>
Result<void> GsClient::ListKeys(const Context& ctx, const std::string& prefix,
                                const std::string& start, std::size_t page_objects, Take take) {
  std::string token;
  std::set<std::string> tokens;
  std::string last_name;
  int idle_pages = 0;  // In a row, that brought nothing new.
  std::size_t listed = 0;
  for (;;) {
    Call call{.query = {{"prefix", prefix},
                        {"fields", std::string(kListFields)},
                        {"maxResults", std::to_string(page_objects)}}};
    if (!start.empty()) call.query.emplace_back("startOffset", start);
    if (!token.empty()) call.query.emplace_back("pageToken", token);
    const auto answer = LS_TRY(session_->Do(ctx, call));
    const auto page = LS_TRY(gs::ParseListPage(answer.body), "gs: list {}", Describe());
    ++idle_pages;
    for (const gs::Object& object : page.objects) {
      // A server that forgets about the prefix must not have us delete what is not ours.
      if (!object.name.starts_with(prefix)) {
        return Broken(
            fmt::format("gs: list {}: {} was not asked for", Describe(), http::Shown(object.name)));
      }
      if (!take(object)) return {};
      if (++listed > kMaxListed) {
        return Broken(fmt::format("gs: list {}: more than {} objects", Describe(), kMaxListed));
      }
      if (object.name != last_name) idle_pages = 0;
      last_name = object.name;
    }
    if (page.next_page_token.empty()) return {};
    if (idle_pages > kMaxIdlePages || !tokens.insert(page.next_page_token).second) {
      return Broken(fmt::format("gs: list {}: the pages have no end", Describe()));
    }
    token = page.next_page_token;
  }
}

Result<std::vector<FileInfo>> GsClient::List(const Context& ctx, Level level,
                                             const ListOptions& options) {
  const std::string prefix = root_ + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/";
  // Names from there on go on with "-", which comes behind nothing.
  const std::string start = options.seek.value == 0 ? "" : prefix + FormatTxid(options.seek);
  const std::size_t page =
      options.limit == 0 ? kPageObjects : std::min(options.limit, kPageObjects);
  std::vector<FileInfo> files;
  LS_TRY(ListKeys(ctx, prefix, start, page, [&](const gs::Object& object) {
    const auto txids = ParseLtxFilename(std::string_view(object.name).substr(prefix.size()));
    if (!txids || txids->min < options.seek) return true;
    files.push_back({.id = {.level = level, .txids = *txids},
                     .size_bytes = object.size_bytes,
                     .created_at = object.created_at});
    return options.limit == 0 || files.size() < options.limit;
  }));
  std::ranges::sort(files, {}, &FileInfo::id);
  return files;
}

// One page has all files of most replicas.
Result<std::array<std::vector<FileInfo>, kLevelCount>> GsClient::ListAll(const Context& ctx, bool) {
  const std::string prefix = root_ + "ltx/";
  std::array<std::vector<FileInfo>, kLevelCount> levels;
  LS_TRY(ListKeys(ctx, prefix, "", kPageObjects, [&](const gs::Object& object) {
    const std::string_view rest = std::string_view(object.name).substr(prefix.size());
    const bool is_level = rest.size() > 2 && rest[0] >= '0' && rest[0] <= '9' && rest[1] == '/';
    const auto txids = is_level ? ParseLtxFilename(rest.substr(2)) : std::nullopt;
    if (!txids) return true;
    const Level level{static_cast<std::uint8_t>(rest[0] - '0')};
    levels[level.value].push_back({.id = {.level = level, .txids = *txids},
                                   .size_bytes = object.size_bytes,
                                   .created_at = object.created_at});
    return true;
  }));
  for (auto& files : levels) std::ranges::sort(files, {}, &FileInfo::id);
  return levels;
}

// ---- Files

Result<std::unique_ptr<ByteSource>> GsClient::OpenKey(const Context& ctx, std::string key,
                                                      const ByteRange& range) {
  Call call{.key = std::move(key),
            .query = {{"alt", "media"}},
            .accepted_status = cloud::kRangeNotSatisfiable};
  if (auto header = cloud::RangeHeader(range)) call.headers.push_back(*std::move(header));
  auto exchange = LS_TRY(session_->Open(ctx, call));
  const auto sum = gs::SumOfAnswer(exchange->status(), exchange->headers());
  const std::string what = session_->Doing(call.method, call.key);
  auto body = LS_TRY(cloud::RangedBody(std::move(exchange), range, what));
  if (!sum) return body;
  return gs::MakeSummedSource(std::move(body), *sum, what);
}

Result<FileInfo> GsClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                 const WriteOptions& options) {
  const gs::UploadTarget target{.key = Key(id),
                                .created_at = options.created_at,
                                .cache_control = {},
                                .generation = options.if_absent ? "0" : "",
                                .size_bytes = options.size_bytes};
  const std::uint64_t bytes = LS_TRY(gs::Upload(ctx, *session_, target, body));
  return FileInfo{.id = id, .size_bytes = bytes, .created_at = options.created_at};
}

Result<void> GsClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  std::vector<std::string> keys;
  for (const FileId& id : ids) keys.push_back(Key(id));
  return DeleteKeys(ctx, keys);
}

Result<void> GsClient::DeleteAll(const Context& ctx) {
  std::vector<std::string> keys;
  const auto take = [&](const gs::Object& object) {
    keys.push_back(object.name);
    return true;
  };
  if (!root_.empty()) {
    LS_TRY(ListKeys(ctx, root_, "", kPageObjects, take));
  } else {
    // The bucket may hold more than a replica.
    for (const char* ours : {"ltx/", "generations/", "lock.json"}) {
      LS_TRY(ListKeys(ctx, ours, "", kPageObjects, take));
    }
  }
  return DeleteKeys(ctx, keys);
}

// Several at a time. Each has an answer of its own, which says that the object is gone.
Result<void> GsClient::DeleteKeys(const Context& ctx, std::span<const std::string> keys) {
  std::deque<cloud::PendingCall> under_way;
  std::size_t asked = 0;
  for (std::size_t done = 0; done < keys.size(); ++done) {
    while (asked < keys.size() && under_way.size() < kDeletesUnderWay) {
      under_way.push_back(session_->Begin(ctx, {.method = "DELETE", .key = keys[asked++]}));
    }
    const Call call{.method = "DELETE", .key = keys[done]};
    auto answer = session_->Finish(ctx, call, under_way.front());
    under_way.pop_front();
    if (!answer.ok() && !answer.error().Is(ErrorCode::kNotFound)) return std::move(answer).error();
  }
  return {};
}

// ---- Small objects

Result<std::string> GsClient::ObjectKey(std::string_view name) const {
  if (name.empty() || name.front() == '/' || name.back() == '/') {
    return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no name of an object", name));
  }
  return root_ + std::string(name);
}

Result<TaggedObject> GsClient::GetObject(const Context& ctx, std::string_view name) {
  const std::string key = LS_TRY(ObjectKey(name));
  const Call call{.key = key, .query = {{"alt", "media"}}};
  const auto answer = LS_TRY(session_->Do(ctx, call));
  if (answer.body.size() > kMaxObjectBytes) {
    return Error(ErrorCode::kCorruption, fmt::format("gs: {} is too large", key));
  }
  TaggedObject object{.content = answer.body,
                      .tag = http::HeaderValue(answer.headers, "x-goog-generation")};
  if (!IsGeneration(object.tag)) {
    return Broken(fmt::format("gs: {}: the answer has no x-goog-generation", key));
  }
  LS_TRY(gs::CheckSum(answer, session_->Doing(call.method, call.key)));
  return object;
}

Result<std::string> GsClient::PutObject(const Context& ctx, std::string_view name,
                                        std::string_view content, std::string_view tag) {
  LS_TRY(ctx.Check());
  const std::string key = LS_TRY(ObjectKey(name));
  if (!tag.empty() && !IsGeneration(tag)) return Changed(key);
  const gs::UploadTarget target{.key = key,
                                .created_at = {},
                                .content_type = "application/json",
                                // Objects that all may read are kept by caches for an hour.
                                .cache_control = "no-store",
                                .generation = tag.empty() ? "0" : std::string(tag),
                                .size_bytes = {}};
  auto stored =
      LS_TRY(gs::UploadWhole(ctx, *session_, target, std::make_shared<const std::string>(content)));
  return std::move(stored.generation);
}

Result<void> GsClient::DeleteObject(const Context& ctx, std::string_view name,
                                    std::string_view tag) {
  const std::string key = LS_TRY(ObjectKey(name));
  Call call{.method = "DELETE", .key = key};
  if (tag.empty() || IsGeneration(tag)) {
    if (!tag.empty()) call.query.emplace_back("ifGenerationMatch", std::string(tag));
    LS_TRY(session_->Do(ctx, call));
    return {};
  }
  // No object has this tag, but there may be none at all.
  LS_TRY(GetObject(ctx, name));
  return Changed(key);
}

// ---- Whatever lies there

Result<std::vector<ObjectInfo>> GsClient::ListObjects(const Context& ctx, std::string_view prefix,
                                                      std::size_t limit) {
  const std::size_t page = limit == 0 ? kPageObjects : std::min(limit, kPageObjects);
  std::vector<ObjectInfo> objects;
  LS_TRY(ListKeys(ctx, root_ + std::string(prefix), "", page, [&](const gs::Object& object) {
    objects.push_back({.name = object.name.substr(root_.size()),
                       .size_bytes = object.size_bytes,
                       .modified_at = object.time_created});
    return limit == 0 || objects.size() < limit;
  }));
  std::ranges::sort(objects, {}, &ObjectInfo::name);
  return objects;
}

Result<std::unique_ptr<ByteSource>> GsClient::OpenObject(const Context& ctx, std::string_view name,
                                                         const ByteRange& range) {
  return OpenKey(ctx, LS_TRY(ObjectKey(name)), range);
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeGsClient(gs::Options options,
                                                    std::shared_ptr<gs::Shared> shared) {
  const auto invalid = [](std::string message) {
    return Error(ErrorCode::kInvalidArgument, "gs: " + std::move(message));
  };
  if (options.bucket.empty()) return invalid("bucket name is required");
  if (options.chunk_bytes == 0 || options.chunk_bytes % gs::kChunkUnit != 0) {
    return invalid(fmt::format("chunks have to be a multiple of {} bytes", gs::kChunkUnit));
  }
  http::SplitUrl parts;
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  if (!options.endpoint.empty()) {
    if (!http::ParseUrl(options.endpoint, parts) || !parts.path.empty()) {
      return invalid("endpoint \"" + http::PublicUrl(options.endpoint) +
                     "\" is not http://HOST or https://HOST");
    }
    if (!options.anonymous) LS_TRY(gs::CheckSecretUrl(options.endpoint), "gs: endpoint");
  }
  return std::make_unique<GsClient>(std::move(options), std::move(shared));
}

}  // namespace litestream
