#include "backend/webdav/webdav_client.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include <fmt/core.h>

#include "backend/webdav/resources.h"
#include "backend/webdav/upload.h"
#include "base/try.h"
#include "cloud/ranged_body.h"
#include "format/ltx.h"
#include "format/names.h"
#include "storage/layout.h"

namespace litestream {
namespace {

using webdav::Call;
using webdav::Listed;
using webdav::Session;

constexpr std::size_t kReadsUnderWay = 32;
constexpr std::size_t kDeletesUnderWay = 16;
constexpr std::size_t kMaxDeadTemps = 100;  // That are noted and removed at a time.

bool HasControl(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
}

// Of what a server sends without being asked for, drops the front.
class SkippingSource final : public ByteSource {
 public:
  SkippingSource(std::unique_ptr<ByteSource> inner, const ByteRange& range)
      : inner_(std::move(inner)),
        skip_bytes_(range.offset_bytes),
        left_bytes_(range.length_bytes == 0 ? ~std::uint64_t{0} : range.length_bytes) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    while (skip_bytes_ > 0) {
      std::array<std::byte, 16 * 1024> dropped;
      const std::size_t count =
          LS_TRY(inner_->Read(ctx, std::span(dropped).first(static_cast<std::size_t>(
                                       std::min<std::uint64_t>(dropped.size(), skip_bytes_)))));
      if (count == 0) skip_bytes_ = left_bytes_ = 0;
      skip_bytes_ -= count;
    }
    out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_bytes_)));
    const std::size_t count = LS_TRY(inner_->Read(ctx, out));
    left_bytes_ -= count;
    return count;
  }

 private:
  const std::unique_ptr<ByteSource> inner_;
  std::uint64_t skip_bytes_;
  std::uint64_t left_bytes_;
};

class WebdavClient final : public ReplicaClient {
 public:
  WebdavClient(webdav::Options options, webdav::Location location,
               std::shared_ptr<http::Client> http)
      : session_(std::move(options), std::move(location), std::move(http)),
        collections_(session_) {}

  std::string_view type() const override { return "webdav"; }
  std::string Describe() const override {
    std::string text = session_.location().Describe(session_.location().root);
    text.pop_back();
    return text;
  }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override;
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override;
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override;
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override;
  Result<void> DeleteAll(const Context& ctx) override;
  Result<TaggedObject> GetObject(const Context&, std::string_view) override {
    return NoConditions();
  }
  Result<std::string> PutObject(const Context&, std::string_view, std::string_view,
                                std::string_view) override {
    return NoConditions();
  }
  Result<void> DeleteObject(const Context&, std::string_view, std::string_view) override {
    return NoConditions();
  }

 private:
  struct Found {
    FileInfo info;
    bool exact = false;  // Its created_at is the header's.
  };
  std::string PathOf(const FileId& id) const {
    return session_.location().root + RelativePath(ReplicaLayout::kLtxDecimal, id);
  }
  Result<std::optional<Found>> Take(const Listed& listed, Level level, Txid seek);
  void NoteDeadTemps(const std::string& collection, const std::vector<Listed>& members);
  void RemoveDeadTemps(const Context& ctx);
  Result<void> ReadTimes(const Context& ctx, std::vector<Found>& files);
  // The time in a file's header, `listed` if it has none; unset if the file has gone.
  Result<std::optional<WallTime>> ReadTime(const Context& ctx, const Found& file,
                                           cloud::PendingCall& pending);
  Call ReadHeader(const FileId& id) const;
  Result<void> DeletePaths(const Context& ctx, std::span<const std::string> paths);
  Error NoConditions() const;

  Session session_;
  webdav::Collections collections_;
  webdav::Traits traits_;
  Mutex mu_{LockRank::kStorage};
  std::vector<std::string> dead_temps_ LS_GUARDED_BY(mu_);  // Seen in lists; go with a write.
};

// ---- Lists

Result<std::optional<WebdavClient::Found>> WebdavClient::Take(const Listed& listed, Level level,
                                                              Txid seek) {
  const auto txids = ParseLtxFilename(listed.name);
  if (!txids || listed.is_collection || txids->min < seek) return std::optional<Found>();
  if (!listed.size_bytes) {
    return Error(
        ErrorCode::kUnavailable,
        fmt::format("webdav: {} has no size",
                    session_.location().Describe(PathOf({.level = level, .txids = *txids}))));
  }
  return std::optional(Found{.info = {.id = {.level = level, .txids = *txids},
                                      .size_bytes = *listed.size_bytes,
                                      .created_at = listed.created_at.value_or(listed.modified_at)},
                             .exact = listed.created_at.has_value()});
}

Result<std::vector<FileInfo>> WebdavClient::List(const Context& ctx, Level level,
                                                 const ListOptions& options) {
  const std::string collection =
      session_.location().root + LevelPrefix(ReplicaLayout::kLtxDecimal, level) + "/";
  const auto members = LS_TRY(webdav::ListMembers(ctx, session_, collection));
  if (!members) {
    LS_TRY(webdav::CheckBase(ctx, session_));
    return std::vector<FileInfo>();
  }
  NoteDeadTemps(collection, *members);
  std::vector<Found> found;
  for (const Listed& listed : *members) {
    auto file = LS_TRY(Take(listed, level, options.seek));
    if (file) found.push_back(*std::move(file));
  }
  std::ranges::sort(found, {}, [](const Found& file) { return file.info.id; });
  if (options.limit != 0 && found.size() > options.limit) found.resize(options.limit);
  if (options.exact_times) LS_TRY(ReadTimes(ctx, found));
  std::vector<FileInfo> files;
  files.reserve(found.size());
  for (const Found& file : found) files.push_back(file.info);
  return files;
}

Call WebdavClient::ReadHeader(const FileId& id) const {
  return {.path = PathOf(id),
          .headers = {*cloud::RangeHeader({.offset_bytes = 0, .length_bytes = kLtxHeaderSize})},
          .accepted_status = cloud::kRangeNotSatisfiable};
}

Result<std::optional<WallTime>> WebdavClient::ReadTime(const Context& ctx, const Found& file,
                                                       cloud::PendingCall& pending) {
  std::array<std::byte, kLtxHeaderSize> bytes;
  const auto read = [&](const Context& own, http::Exchange& exchange) -> Result<std::size_t> {
    if (exchange.status() == cloud::kRangeNotSatisfiable) return std::size_t{0};
    return ReadFull(own, exchange, bytes);
  };
  // The first attempt, with others beside it.
  auto count = [&]() -> Result<std::size_t> {
    const auto exchange = LS_TRY(std::move(pending.exchange));
    LS_TRY(exchange->Wait(ctx));
    if (exchange->status() < 300) return read(ctx, *exchange);
    return Error(ErrorCode::kUnavailable, "again");
  }();
  if (!count.ok()) {
    const auto again = session_.Read(
        ctx, ReadHeader(file.info.id), [&](const Context& own, http::Exchange& exchange) {
          count = read(own, exchange);
          return count.ok() ? Result<void>() : Result<void>(count.error());
        });
    // It went while it was listed.
    if (!again.ok() && again.error().Is(ErrorCode::kNotFound)) return std::optional<WallTime>();
    LS_TRY(again, "read the time of a file");
  }
  const auto header = ParseLtxHeader(std::span(bytes).first(count.value()));
  return std::optional(header.ok() ? header.value().Timestamp() : file.info.created_at);
}

Result<void> WebdavClient::ReadTimes(const Context& ctx, std::vector<Found>& files) {
  std::deque<cloud::PendingCall> under_way;
  std::vector<Found> kept;
  std::size_t asked = 0;
  for (const Found& file : files) {
    if (file.exact) {
      kept.push_back(file);
      continue;
    }
    for (; asked < files.size() && under_way.size() < kReadsUnderWay; ++asked) {
      if (files[asked].exact) continue;
      under_way.push_back(session_.Begin(ctx, ReadHeader(files[asked].info.id)));
    }
    const auto time = LS_TRY(ReadTime(ctx, file, under_way.front()));
    under_way.pop_front();
    if (!time) continue;
    kept.push_back(file);
    kept.back().info.created_at = *time;
  }
  files = std::move(kept);
  return {};
}

// ---- Temporary files of writers that died

void WebdavClient::NoteDeadTemps(const std::string& collection,
                                 const std::vector<Listed>& members) {
  const WallTime now = session_.options().env->clock().Now();
  std::vector<std::string> dead;
  for (const Listed& file : members) {
    if (dead.size() < kMaxDeadTemps && webdav::IsDeadTemp(file, now)) {
      dead.push_back(collection + file.name);
    }
  }
  if (dead.empty()) return;
  MutexLock lock(mu_);
  dead_temps_ = std::move(dead);
}

// By who may write: a reader removes nothing. What stays is seen again.
void WebdavClient::RemoveDeadTemps(const Context& ctx) {
  std::vector<std::string> dead;
  {
    MutexLock lock(mu_);
    dead.swap(dead_temps_);
  }
  if (!dead.empty()) (void)DeletePaths(ctx, dead);
}

// ---- Files

Result<std::unique_ptr<ByteSource>> WebdavClient::Open(const Context& ctx, const FileId& id,
                                                       const ByteRange& range) {
  Call call{.path = PathOf(id), .accepted_status = cloud::kRangeNotSatisfiable};
  if (auto header = cloud::RangeHeader(range)) call.headers.push_back(*std::move(header));
  auto opened = session_.Open(ctx, call);
  if (!opened.ok()) {
    if (opened.error().Is(ErrorCode::kNotFound)) LS_TRY(webdav::CheckBase(ctx, session_));
    return std::move(opened).error();
  }
  const std::string what = "webdav: " + session_.location().Describe(call.path);
  auto exchange = std::move(opened).value();
  // Servers need not know ranges.
  constexpr int kWholeFile = 200;
  if (exchange->status() != kWholeFile || range.offset_bytes == 0) {
    return cloud::RangedBody(std::move(exchange), range, what);
  }
  return std::make_unique<SkippingSource>(LS_TRY(cloud::RangedBody(std::move(exchange), {}, what)),
                                          range);
}

Result<FileInfo> WebdavClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                     const WriteOptions& options) {
  LS_TRY(ctx.Check());
  RemoveDeadTemps(ctx);
  const webdav::UploadTarget target{.path = PathOf(id),
                                    .created_at = options.created_at,
                                    .size_bytes = options.size_bytes,
                                    .if_absent = options.if_absent};
  const std::uint64_t bytes =
      LS_TRY(webdav::Upload(ctx, session_, collections_, traits_, target, body));
  return FileInfo{.id = id, .size_bytes = bytes, .created_at = options.created_at};
}

Result<void> WebdavClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  std::vector<std::string> paths;
  for (const FileId& id : ids) paths.push_back(PathOf(id));
  return DeletePaths(ctx, paths);
}

Result<void> WebdavClient::DeletePaths(const Context& ctx, std::span<const std::string> paths) {
  std::deque<cloud::PendingCall> under_way;
  std::size_t asked = 0;
  for (std::size_t done = 0; done < paths.size(); ++done) {
    for (; asked < paths.size() && under_way.size() < kDeletesUnderWay; ++asked) {
      under_way.push_back(session_.Begin(ctx, {.method = "DELETE", .path = paths[asked]}));
    }
    auto answer = session_.Finish(ctx, under_way.front());
    under_way.pop_front();
    if (!answer.ok() && !answer.error().Is(ErrorCode::kNotFound)) return std::move(answer).error();
  }
  return {};
}

Result<void> WebdavClient::DeleteAll(const Context& ctx) {
  const webdav::Location& location = session_.location();
  // The folder that the URL names is not ours: it stays, with what others have in it.
  const std::string path = location.root == location.base ? location.root + "ltx/" : location.root;
  collections_.Forget();
  return DeletePaths(ctx, std::span(&path, 1));
}

Error WebdavClient::NoConditions() const {
  return {ErrorCode::kUnsupported,
          fmt::format("webdav: no server keeps two writers apart for certain, so there is no "
                      "lease; set `lease: off` and see to it that only one process writes to {}",
                      Describe())};
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeWebdavClient(webdav::Options options,
                                                        std::shared_ptr<http::Client> http) {
  webdav::Location location = LS_TRY(webdav::MakeLocation(options));
  if (HasControl(location.username) || HasControl(location.password)) {
    return Error(ErrorCode::kInvalidArgument,
                 "webdav: webdav-username and webdav-password cannot have control characters");
  }
  // Where it would end in "user:password".
  if (location.username.find(':') != std::string::npos) {
    return Error(ErrorCode::kInvalidArgument, "webdav: webdav-username cannot have a colon");
  }
  return std::make_unique<WebdavClient>(std::move(options), std::move(location), std::move(http));
}

}  // namespace litestream
