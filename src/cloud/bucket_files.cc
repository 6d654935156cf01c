#include "cloud/bucket_files.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "storage/layout.h"

namespace litestream::cloud {
namespace {

// A replica with more is none of ours, and a list that goes on for ever would fill the memory.
constexpr std::size_t kMaxListedKeys = 10'000'000;
// What was deleted may still take up pages.
constexpr int kMaxIdlePages = 1000;
constexpr std::size_t kDeleteBatch = 1000;     // Keys of one request.
constexpr std::size_t kMaxFailuresShown = 10;  // Of a thousand deletes.
constexpr std::size_t kHeadsUnderWay = 32;

Error Broken(std::string message) {
  return {ErrorCode::kUnavailable, std::move(message)};
}

}  // namespace

WallTime ListedObject::modified_at() const {
  const auto time = ParseTimestamp(last_modified);
  return time.ok() ? time.value() : WallTime();
}

std::string BucketFiles::Key(const FileId& id) const {
  return Key(RelativePath(ReplicaLayout::kHexLevel, id));
}

std::vector<std::string> BucketFiles::Keys(std::span<const FileId> ids) const {
  std::vector<std::string> keys;
  for (const FileId& id : ids) keys.push_back(Key(id));
  return keys;
}

std::string BucketFiles::KeyOf(const http::XmlElement& element) const {
  std::string key = element.TextOf("Key");
  return place_.encoded_keys ? http::UnescapeForm(key) : key;
}

Result<ListedObject> BucketFiles::ParseObject(const http::XmlElement& element,
                                              const std::string& prefix) const {
  ListedObject listed{.key = KeyOf(element), .last_modified = element.TextOf("LastModified")};
  const auto wrong = [&](std::string_view what) {
    return Broken(fmt::format("{}: list {}: {} {}", place_.name, place_.describe,
                              http::Shown(listed.key), what));
  };
  const std::string size = element.TextOf("Size");
  const char* const end = size.data() + size.size();
  if (size.empty() || std::from_chars(size.data(), end, listed.size_bytes).ptr != end) {
    return wrong("has no size");
  }
  // A server that forgets about the prefix must not have us delete what is not ours.
  if (!listed.key.starts_with(prefix)) return wrong("was not asked for");
  return listed;
}

Result<void> BucketFiles::ListKeys(const Context& ctx, const std::string& prefix,
                                   const std::string& start_after, std::size_t page_keys,
                                   const Take& take) {
  std::string token;
  std::set<std::string> tokens;
  std::string last_key;
  int idle_pages = 0;  // In a row, that brought nothing new.
  std::size_t listed_keys = 0;
  for (;;) {
    http::QueryParameters query = {{"list-type", "2"}, {"prefix", prefix}};
    if (place_.encoded_keys) query.emplace_back("encoding-type", "url");
    if (!start_after.empty()) query.emplace_back("start-after", start_after);
    if (!token.empty()) query.emplace_back("continuation-token", token);
    if (place_.asks_for_full_pages || page_keys < kPageKeys) {
      query.emplace_back("max-keys", std::to_string(page_keys));
    }
    const auto answer = LS_TRY(session_.Do(ctx, {.query = query}));
    auto root = http::ParseXml(answer.body);
    if (!root.ok() || root.value().name != "ListBucketResult") {
      return Broken(
          fmt::format("{}: list {}: the answer is no list", place_.name, place_.describe));
    }
    ++idle_pages;
    for (const http::XmlElement& element : root.value().children) {
      if (element.name != "Contents") continue;
      const ListedObject listed = LS_TRY(ParseObject(element, prefix));
      if (!take(listed)) return {};
      if (++listed_keys > kMaxListedKeys) {
        return Broken(fmt::format("{}: list {}: more than {} keys", place_.name, place_.describe,
                                  kMaxListedKeys));
      }
      if (listed.key != last_key) idle_pages = 0;
      last_key = listed.key;
    }
    if (root.value().TextOf("IsTruncated") != "true") return {};
    std::string next = root.value().TextOf("NextContinuationToken");
    if (place_.encoded_keys) next = http::UnescapeForm(next);
    if (next.empty() || idle_pages > kMaxIdlePages || !tokens.insert(next).second) {
      return Broken(fmt::format("{}: list {}: there is more, and no token to get it", place_.name,
                                place_.describe));
    }
    token = next;
  }
}

Result<std::vector<FileInfo>> BucketFiles::List(const Context& ctx, Level level,
                                                const ListOptions& options) {
  const std::string prefix = Key(LevelPrefix(ReplicaLayout::kHexLevel, level)) + "/";
  // Names from there on go on with "-", which comes behind nothing.
  const std::string start = options.seek.value == 0 ? "" : prefix + FormatTxid(options.seek);
  const std::size_t page = options.limit == 0 ? kPageKeys : std::min(options.limit, kPageKeys);
  std::vector<FileInfo> files;
  LS_TRY(ListKeys(ctx, prefix, start, page, [&](const ListedObject& listed) {
    const auto txids = ParseLtxFilename(std::string_view(listed.key).substr(prefix.size()));
    if (!txids || txids->min < options.seek) return true;
    files.push_back({.id = {.level = level, .txids = *txids},
                     .size_bytes = listed.size_bytes,
                     .created_at = listed.modified_at()});
    return options.limit == 0 || files.size() < options.limit;
  }));
  std::ranges::sort(files, {}, &FileInfo::id);
  if (options.exact_times) LS_TRY(FillExactTimes(ctx, files));
  return files;
}

// "0000" to "0009" begin alike, so that one page has all files of most replicas.
Result<std::optional<BucketFiles::Levels>> BucketFiles::ListAll(const Context& ctx,
                                                                bool exact_times) {
  const std::string root = Key("");
  Levels levels;
  std::size_t others = 0;
  LS_TRY(ListKeys(ctx, root + "000", "", kPageKeys, [&](const ListedObject& listed) {
    const auto id = ParseHexLevelPath(std::string_view(listed.key).substr(root.size()));
    if (id) {
      levels[id->level.value].push_back(
          {.id = *id, .size_bytes = listed.size_bytes, .created_at = listed.modified_at()});
    } else {
      ++others;
    }
    return others <= kPageKeys;
  }));
  // Something else lies here, replicas in folders named by numbers perhaps.
  if (others > kPageKeys) return std::optional<Levels>();
  for (auto& files : levels) {
    std::ranges::sort(files, {}, &FileInfo::id);
    if (exact_times) LS_TRY(FillExactTimes(ctx, files));
  }
  return std::optional(std::move(levels));
}

Result<void> BucketFiles::FillExactTimes(const Context& ctx, std::vector<FileInfo>& files) {
  std::deque<PendingCall> under_way;
  std::vector<FileInfo> kept;
  std::size_t asked = 0;
  for (const FileInfo& file : files) {
    while (asked < files.size() && under_way.size() < kHeadsUnderWay) {
      under_way.push_back(session_.Begin(
          ctx, {.method = "HEAD", .key = Key(files[asked++].id), .with_customer_key = true}));
    }
    auto answer = session_.Finish(ctx, under_way.front());
    under_way.pop_front();
    // It went while it was listed.
    if (!answer.ok() && answer.error().Is(ErrorCode::kNotFound)) continue;
    const http::Response head = LS_TRY(std::move(answer), "read the time of a file");
    kept.push_back(file);
    const auto time = ParseTimestamp(http::HeaderValue(head.headers, place_.timestamp_header));
    if (time.ok()) kept.back().created_at = time.value();
  }
  files = std::move(kept);
  return {};
}

Result<std::vector<std::string>> BucketFiles::AllKeys(const Context& ctx) {
  std::vector<std::string> prefixes = {Key("")};
  if (prefixes.front().empty()) {
    // The bucket may hold more than a replica.
    prefixes.clear();
    for (std::uint8_t level = 0; level < kLevelCount; ++level) {
      prefixes.push_back(LevelPrefix(ReplicaLayout::kHexLevel, Level{level}) + "/");
    }
  }
  std::vector<std::string> keys;
  for (const std::string& prefix : prefixes) {
    LS_TRY(ListKeys(ctx, prefix, "", kPageKeys, [&](const ListedObject& listed) {
      keys.push_back(listed.key);
      return true;
    }));
  }
  return keys;
}

Result<bool> BucketFiles::IsThere(const Context& ctx, const std::string& key) {
  auto head = session_.Do(ctx, {.method = "HEAD", .key = key, .with_customer_key = true});
  if (head.ok()) return true;
  if (head.error().Is(ErrorCode::kNotFound)) return false;
  return std::move(head).error();
}

Result<void> InBatches(
    std::span<const std::string> keys,
    const std::function<Result<void>(std::span<const std::string> batch)>& remove) {
  while (!keys.empty()) {
    const auto batch = keys.first(std::min(keys.size(), kDeleteBatch));
    keys = keys.subspan(batch.size());
    LS_TRY(remove(batch));
  }
  return {};
}

std::string ObjectElements(std::span<const std::string> keys) {
  std::string text;
  for (const std::string& key : keys) {
    text += fmt::format("<Object><Key>{}</Key></Object>", http::EscapeXml(key));
  }
  return text;
}

Result<void> CheckDeleted(const BucketFiles& files, std::string_view answer,
                          std::span<const std::string> keys,
                          const std::function<ErrorCode(std::string_view code)>& meaning_of) {
  const std::string& name = files.place().name;
  const auto root = http::ParseXml(answer);
  if (!root.ok() || root.value().name != "DeleteResult") {
    return Broken(
        fmt::format("{}: failed to delete files: the answer does not say what was deleted", name));
  }
  std::set<std::string_view> missing(keys.begin(), keys.end());
  std::string failed;
  std::size_t failures = 0;
  const auto note = [&](std::string_view key, std::string_view why) {
    if (++failures <= kMaxFailuresShown) {
      failed += fmt::format("\n{}: {}", http::Shown(key), http::Shown(why));
    }
  };
  ErrorCode code = ErrorCode::kInternal;
  for (const http::XmlElement& element : root.value().children) {
    if (element.name != "Deleted" && element.name != "Error") continue;
    const std::string key = files.KeyOf(element);
    missing.erase(key);
    const std::string error = element.TextOf("Code");
    if (element.name == "Deleted" || error == "NoSuchKey") continue;
    note(key, fmt::format("{} {}", error, element.TextOf("Message")));
    code = meaning_of(error);
  }
  for (const std::string_view key : missing) {
    note(key, "the server does not say that it is deleted");
    if (code == ErrorCode::kInternal) code = ErrorCode::kUnavailable;
  }
  if (failures == 0) return {};
  if (failures > kMaxFailuresShown) {
    failed += fmt::format("\nand {} more", failures - kMaxFailuresShown);
  }
  return Error(code, fmt::format("{}: failed to delete files:{}", name, failed));
}

}  // namespace litestream::cloud
