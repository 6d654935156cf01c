#include "backend/nats/nats_client.h"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "backend/nats/bucket.h"
#include "backend/nats/connect.h"
#include "backend/nats/object_source.h"
#include "backend/nats/upload.h"
#include "base/try.h"
#include "format/names.h"
#include "storage/layout.h"
#include "storage/lease.h"

namespace litestream {
namespace {

using nats::Bucket;
using nats::Call;
using nats::ObjectMeta;
using nats::StoredMeta;
using MaybeMeta = std::optional<StoredMeta>;

constexpr std::size_t kLooksUnderWay = 64;
constexpr std::size_t kDeletesUnderWay = 32;
constexpr std::size_t kMaxObjectBytes = 1 << 20;
// How often somebody else may come between before that is an error.
constexpr int kMaxRaces = 10;

Error Exists(std::string_view name) {
  return {ErrorCode::kAlreadyExists, fmt::format("nats: {} is there already", name)};
}

Error Raced(std::string_view name) {
  return {ErrorCode::kUnavailable, fmt::format("nats: {} changes all the time", name)};
}

bool IsThere(const MaybeMeta& stored) {
  return stored && !stored->meta.deleted;
}

// A small object as a source.
class TextSource final : public ByteSource {
 public:
  explicit TextSource(std::string_view text) : rest_(text) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    LS_TRY(ctx.Check());
    const std::size_t count = std::min(out.size(), rest_.size());
    std::ranges::copy(std::as_bytes(std::span(rest_.substr(0, count))), out.begin());
    rest_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view rest_;
};

class NatsClient final : public ReplicaClient {
 public:
  explicit NatsClient(std::shared_ptr<Bucket> bucket) : bucket_(std::move(bucket)) {
    if (!bucket_->options().path.empty()) root_ = bucket_->options().path + "/";
  }

  std::string_view type() const override { return "nats"; }
  std::string Describe() const override { return bucket_->Describe(); }
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

 private:
  std::string Name(const FileId& id) const {
    return root_ + RelativePath(ReplicaLayout::kLtxDecimal, id);
  }
  Result<std::string> ObjectName(std::string_view name) const;
  // The ids among names of one level, in order.
  std::vector<FileId> IdsOf(const std::set<std::string>& names, Level level, Txid seek) const;
  // What the objects of `ids` say; those that are not there are left out. At most `limit`, 0: all.
  Result<std::vector<FileInfo>> Look(const Context& ctx, std::span<const FileId> ids,
                                     std::size_t limit);
  // Also whoever else writes at the same time is replaced, unless `if_absent`.
  Result<void> Replace(const Context& ctx, const ObjectMeta& meta, MaybeMeta before,
                       bool if_absent);
  Result<void> DeleteNames(const Context& ctx, std::span<const std::string> names);
  Result<void> DeleteBatch(const Context& ctx, std::span<const std::string> names);
  // Whatever it is by now.
  Result<void> DeleteOne(const Context& ctx, const std::string& name);
  // Marks it as deleted if it is still what `stored` says (kAlreadyExists), and removes the chunks
  // and the marker.
  Result<void> DeleteStored(const Context& ctx, const StoredMeta& stored);
  Result<void> Purge(const Context& ctx, const StoredMeta& stored, std::uint64_t marker);

  const std::shared_ptr<Bucket> bucket_;  // Shared with the sources that were opened.
  std::string root_;                      // What all names begin with.
};

ObjectMeta MarkerOf(const ObjectMeta& meta) {
  return {.name = meta.name, .nuid = meta.nuid, .deleted = true};
}

// ---- Lists

std::vector<FileId> NatsClient::IdsOf(const std::set<std::string>& names, Level level,
                                      Txid seek) const {
  const std::string prefix = root_ + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/";
  std::vector<FileId> ids;
  for (auto at = names.lower_bound(prefix); at != names.end() && at->starts_with(prefix); ++at) {
    const auto txids = ParseLtxFilename(std::string_view(*at).substr(prefix.size()));
    if (txids && txids->min >= seek) ids.push_back({.level = level, .txids = *txids});
  }
  std::ranges::sort(ids);
  return ids;
}

Result<std::vector<FileInfo>> NatsClient::Look(const Context& ctx, std::span<const FileId> ids,
                                               std::size_t limit) {
  std::vector<FileInfo> files;
  std::deque<Call> under_way;
  std::size_t asked = 0;
  for (const FileId& id : ids) {
    if (limit > 0 && files.size() == limit) break;
    while (asked < ids.size() && under_way.size() < kLooksUnderWay &&
           (limit == 0 || files.size() + under_way.size() < limit)) {
      under_way.push_back(bucket_->BeginMeta(Name(ids[asked++])));
    }
    const MaybeMeta stored = LS_TRY(bucket_->FinishMeta(ctx, under_way.front()));
    under_way.pop_front();
    // Deleted before, or while it was listed.
    if (!IsThere(stored)) continue;
    files.push_back({.id = id,
                     .size_bytes = stored->meta.size_bytes,
                     .created_at = stored->meta.created_at.value_or(stored->stored_at)});
  }
  return files;
}

Result<std::vector<FileInfo>> NatsClient::List(const Context& ctx, Level level,
                                               const ListOptions& options) {
  const auto names = LS_TRY(bucket_->ListNames(ctx, root_ + "ltx/"));
  return Look(ctx, IdsOf(names, level, options.seek), options.limit);
}

Result<std::array<std::vector<FileInfo>, kLevelCount>> NatsClient::ListAll(const Context& ctx,
                                                                           bool /*exact_times*/) {
  const auto names = LS_TRY(bucket_->ListNames(ctx, root_ + "ltx/"));
  std::array<std::vector<FileInfo>, kLevelCount> levels;
  for (std::uint8_t level = 0; level < kLevelCount; ++level) {
    levels[level] = LS_TRY(Look(ctx, IdsOf(names, Level{level}, Txid{}), 0));
  }
  return levels;
}

// ---- Files

Result<std::unique_ptr<ByteSource>> NatsClient::Open(const Context& ctx, const FileId& id,
                                                     const ByteRange& range) {
  const MaybeMeta stored = LS_TRY(bucket_->GetMeta(ctx, Name(id)));
  if (!IsThere(stored)) {
    return Error(ErrorCode::kNotFound, fmt::format("nats: there is no {}", Name(id)));
  }
  return nats::MakeObjectSource(bucket_, *stored, range);
}

Result<FileInfo> NatsClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                   const WriteOptions& options) {
  const std::string name = Name(id);
  MaybeMeta before = LS_TRY(bucket_->GetMeta(ctx, name));
  if (options.if_absent && IsThere(before)) return Exists(name);
  ObjectMeta meta = LS_TRY(nats::UploadChunks(ctx, *bucket_, name, body, options.size_bytes));
  meta.created_at = options.created_at;
  LS_TRY(Replace(ctx, meta, std::move(before), options.if_absent));
  return FileInfo{.id = id, .size_bytes = meta.size_bytes, .created_at = options.created_at};
}

Result<void> NatsClient::Replace(const Context& ctx, const ObjectMeta& meta, MaybeMeta before,
                                 bool if_absent) {
  for (int race = 0; race < kMaxRaces; ++race) {
    auto stored = nats::Commit(ctx, *bucket_, meta, before);
    if (stored.ok()) return {};
    if (!stored.error().Is(ErrorCode::kAlreadyExists)) return std::move(stored).error();
    auto now = bucket_->GetMeta(ctx, meta.name);
    if (!now.ok() || (if_absent && IsThere(now.value()))) {
      nats::DropChunks(ctx, *bucket_, meta.nuid);
      return now.ok() ? Exists(meta.name) : std::move(now).error();
    }
    before = std::move(now).value();
  }
  nats::DropChunks(ctx, *bucket_, meta.nuid);
  return Raced(meta.name);
}

Result<void> NatsClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  std::vector<std::string> names;
  for (const FileId& id : ids) names.push_back(Name(id));
  return DeleteNames(ctx, names);
}

Result<void> NatsClient::DeleteAll(const Context& ctx) {
  const auto found = LS_TRY(bucket_->ListNames(ctx, root_));
  std::vector<std::string> names;
  for (const std::string& name : found) {
    if (!root_.empty() || name.starts_with("ltx/") || name == kLeaseName) names.push_back(name);
  }
  return DeleteNames(ctx, names);
}

Result<void> NatsClient::DeleteNames(const Context& ctx, std::span<const std::string> names) {
  while (!names.empty()) {
    const auto batch = names.first(std::min(names.size(), kDeletesUnderWay));
    names = names.subspan(batch.size());
    LS_TRY(DeleteBatch(ctx, batch));
  }
  return {};
}

Result<void> NatsClient::DeleteBatch(const Context& ctx, std::span<const std::string> names) {
  LS_TRY(ctx.Check());
  std::deque<Call> calls;
  for (const std::string& name : names) calls.push_back(bucket_->BeginMeta(name));
  std::vector<StoredMeta> found;
  for (Call& call : calls) {
    MaybeMeta stored = LS_TRY(bucket_->FinishMeta(ctx, call));
    if (stored) found.push_back(std::move(*stored));
  }
  calls.clear();
  for (const StoredMeta& stored : found) {
    calls.push_back(bucket_->BeginPutMeta(MarkerOf(stored.meta), stored.sequence));
  }
  std::deque<Call> purges;
  for (const StoredMeta& stored : found) {
    const auto answer = bucket_->Finish(ctx, calls.front());
    calls.pop_front();
    if (!answer.ok() && answer.error().Is(ErrorCode::kAlreadyExists)) {
      // It has changed, or an attempt succeeded whose answer was lost.
      LS_TRY(DeleteOne(ctx, stored.meta.name));
      purges.push_back(bucket_->BeginPurgeChunks(stored.meta.nuid));
      continue;
    }
    if (!answer.ok()) return answer.error();
    const nats::PublishAck ack = LS_TRY(nats::ParsePublishAck(answer.value().body));
    if (!stored.meta.nuid.empty()) purges.push_back(bucket_->BeginPurgeChunks(stored.meta.nuid));
    purges.push_back(bucket_->BeginPurgeMeta(stored.meta.name, ack.sequence));
  }
  for (Call& purge : purges) LS_TRY(bucket_->Finish(ctx, purge));
  return {};
}

Result<void> NatsClient::DeleteOne(const Context& ctx, const std::string& name) {
  for (int race = 0; race < kMaxRaces; ++race) {
    const MaybeMeta stored = LS_TRY(bucket_->GetMeta(ctx, name));
    if (!stored) return {};
    auto deleted = DeleteStored(ctx, *stored);
    if (deleted.ok() || !deleted.error().Is(ErrorCode::kAlreadyExists)) return deleted;
  }
  return Raced(name);
}

Result<void> NatsClient::DeleteStored(const Context& ctx, const StoredMeta& stored) {
  std::uint64_t marker = stored.sequence;
  if (!stored.meta.deleted) {
    bool may_be_stored = false;
    marker = LS_TRY(bucket_->PutMeta(ctx, MarkerOf(stored.meta), stored.sequence, may_be_stored));
  }
  return Purge(ctx, stored, marker);
}

Result<void> NatsClient::Purge(const Context& ctx, const StoredMeta& stored, std::uint64_t marker) {
  Call purge_marker = bucket_->BeginPurgeMeta(stored.meta.name, marker);
  if (!stored.meta.nuid.empty()) {
    Call purge_chunks = bucket_->BeginPurgeChunks(stored.meta.nuid);
    LS_TRY(bucket_->Finish(ctx, purge_chunks));
  }
  LS_TRY(bucket_->Finish(ctx, purge_marker));
  return {};
}

// ---- Small objects

Result<std::string> NatsClient::ObjectName(std::string_view name) const {
  if (name.empty() || name.front() == '/' || name.back() == '/') {
    return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no name of an object", name));
  }
  return root_ + std::string(name);
}

Result<TaggedObject> NatsClient::GetObject(const Context& ctx, std::string_view name) {
  const std::string full = LS_TRY(ObjectName(name));
  for (int race = 0; race < kMaxRaces; ++race) {
    const MaybeMeta stored = LS_TRY(bucket_->GetMeta(ctx, full));
    if (!IsThere(stored)) {
      return Error(ErrorCode::kNotFound, fmt::format("nats: there is no {}", full));
    }
    if (stored->meta.size_bytes > kMaxObjectBytes) {
      return Error(ErrorCode::kCorruption, fmt::format("nats: {} is too large", full));
    }
    TaggedObject object{.content = std::string(stored->meta.size_bytes, '\0'),
                        .tag = std::to_string(stored->sequence)};
    const auto source = nats::MakeObjectSource(bucket_, *stored, {});
    const auto read =
        ReadFull(ctx, *source,
                 std::as_writable_bytes(std::span(object.content.data(), object.content.size())));
    if (read.ok()) return object;
    // Replaced between the two; whoever did it removed the chunks.
    const MaybeMeta now = LS_TRY(bucket_->GetMeta(ctx, full));
    if (now && now->sequence == stored->sequence) return read.error();
  }
  return Raced(full);
}

Result<std::string> NatsClient::PutObject(const Context& ctx, std::string_view name,
                                          std::string_view content, std::string_view tag) {
  const std::string full = LS_TRY(ObjectName(name));
  const MaybeMeta before = LS_TRY(bucket_->GetMeta(ctx, full));
  if (tag.empty() && IsThere(before)) return Exists(full);
  if (!tag.empty() && (!IsThere(before) || std::to_string(before->sequence) != tag)) {
    return Error(ErrorCode::kAlreadyExists, fmt::format("nats: {} has another tag", full));
  }
  TextSource body(content);
  const ObjectMeta meta = LS_TRY(nats::UploadChunks(ctx, *bucket_, full, body, content.size()));
  auto sequence = nats::Commit(ctx, *bucket_, meta, before);
  if (sequence.ok()) return std::to_string(sequence.value());
  if (sequence.error().Is(ErrorCode::kAlreadyExists)) {
    nats::DropChunks(ctx, *bucket_, meta.nuid);
  }
  return std::move(sequence).error();
}

Result<void> NatsClient::DeleteObject(const Context& ctx, std::string_view name,
                                      std::string_view tag) {
  const std::string full = LS_TRY(ObjectName(name));
  for (int race = 0; race < kMaxRaces; ++race) {
    const MaybeMeta stored = LS_TRY(bucket_->GetMeta(ctx, full));
    if (!IsThere(stored)) {
      return Error(ErrorCode::kNotFound, fmt::format("nats: there is no {}", full));
    }
    if (!tag.empty() && std::to_string(stored->sequence) != tag) {
      return Error(ErrorCode::kAlreadyExists, fmt::format("nats: {} has another tag", full));
    }
    auto deleted = DeleteStored(ctx, *stored);
    if (deleted.ok() || !deleted.error().Is(ErrorCode::kAlreadyExists)) return deleted;
  }
  return Raced(full);
}

bool IsBucketName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeNatsClient(nats::Options options,
                                                      nats::Connections& connections) {
  const auto invalid = [](std::string message) {
    return Error(ErrorCode::kInvalidArgument, "nats: " + std::move(message));
  };
  if (options.bucket.empty()) return invalid("bucket name is required");
  if (!IsBucketName(options.bucket)) {
    return invalid(fmt::format("\"{}\" is no name of a bucket: letters, digits, _ and - only",
                               options.bucket));
  }
  if (!options.domain.empty() && !IsBucketName(options.domain)) {
    return invalid(fmt::format("\"{}\" is no name of a domain", options.domain));
  }
  LS_TRY(nats::CheckServerOptions(options.server));
  auto connection = connections.Get(options.server);
  return std::make_unique<NatsClient>(
      std::make_shared<Bucket>(std::move(options), std::move(connection)));
}

}  // namespace litestream
