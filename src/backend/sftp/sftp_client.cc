#include "backend/sftp/sftp_client.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <utility>

#include <fmt/core.h>

#include "backend/sftp/files.h"
#include "backend/sftp/objects.h"
#include "backend/sftp/sftp_error.h"
#include "backend/sftp/source.h"
#include "backend/sftp/upload.h"
#include "base/sync.h"
#include "base/try.h"
#include "format/ltx.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "storage/layout.h"
#include "storage/lease.h"
#include "storage/retry.h"

namespace litestream {
namespace {

using sftp::Body;
using sftp::Connection;
using sftp::PacketType;
using sftp::Pending;
using sftp::Use;

constexpr std::size_t kHeadersUnderWay = 32;
constexpr std::size_t kRemovesUnderWay = 32;
constexpr std::chrono::hours kDeadTempAge{24};
constexpr std::size_t kMaxDeadTemps = 100;  // Removed at a time.
constexpr int kMaxDepth = 32;               // Of directories below the root.

// Without "." parts, double slashes and a slash at the end.
std::string CleanPath(const std::string& path) {
  std::string clean = std::filesystem::path(path).lexically_normal().native();
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean == "." ? "" : clean;
}

WallTime ToWallTime(std::uint32_t seconds) {
  return WallTime(std::chrono::seconds(seconds));
}

class SftpClient final : public ReplicaClient {
 public:
  SftpClient(sftp::Options options, std::shared_ptr<sftp::Endpoint> endpoint)
      : log_(std::move(options.log)),
        retry_(options.retry),
        root_(CleanPath(options.path)),
        concurrent_writes_(options.concurrent_writes),
        endpoint_(std::move(endpoint)) {}

  std::string_view type() const override { return "sftp"; }
  std::string Describe() const override;
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
  // Calls `step(use)` with a connection, again with another one where that may help.
  template <typename T, typename Step>
  Result<T> WithConnection(const Context& ctx, Step step) {
    std::optional<T> value;
    LS_TRY(Retry(ctx, retry_, [&]() -> Result<void> {
      Use use = LS_TRY(endpoint_->Connect(ctx, log_));
      value = LS_TRY(step(use));
      return {};
    }));
    return std::move(*value);
  }
  template <typename Step>
  Result<void> Do(const Context& ctx, Step step) {
    return Retry(ctx, retry_, [&]() -> Result<void> {
      Use use = LS_TRY(endpoint_->Connect(ctx, log_));
      return step(use);
    });
  }

  // A connection that has just answered, for what must not be done twice.
  Result<Use> WorkingConnection(const Context& ctx) {
    return WithConnection<Use>(ctx, [&](Use& use) -> Result<Use> {
      LS_TRY(sftp::IsThere(ctx, *use, root_.empty() ? "." : root_));
      return std::move(use);
    });
  }

  std::string PathOf(const FileId& id) const {
    return sftp::Join(root_, RelativePath(ReplicaLayout::kLtxDecimal, id));
  }
  std::string DirectoryOf(Level level) const {
    return sftp::Join(root_, LevelPrefix(ReplicaLayout::kLtxDecimal, level));
  }
  Result<std::string> ObjectPath(std::string_view name) const;

  // The files of some levels; what uploads have left behind is noted.
  Result<std::vector<std::vector<FileInfo>>> ListLevels(const Context& ctx, Use& use,
                                                        const std::vector<Level>& levels,
                                                        const ListOptions& options);
  Result<std::vector<FileInfo>> FilesOf(const Context& ctx, Connection& connection, Level level,
                                        const std::vector<sftp::NamedFile>& names,
                                        const ListOptions& options);
  Result<void> FillExactTimes(const Context& ctx, Connection& connection,
                              std::vector<FileInfo>& files);
  void NoteIfDead(Level level, const sftp::NamedFile& file);
  void SweepDeadTemps(Connection& connection);

  Result<std::unique_ptr<ByteSource>> OpenPath(const Context& ctx, const std::string& path,
                                               const ByteRange& range);
  Result<void> RemoveFiles(const Context& ctx, Connection& connection,
                           const std::vector<std::string>& paths);
  Result<void> RemoveTree(const Context& ctx, Connection& connection, const std::string& path,
                          int depth);
  // Walks `directory` (relative to the root, with a slash at its end) in the order of names.
  Result<void> AddObjects(const Context& ctx, Connection& connection, const std::string& directory,
                          std::string_view prefix, std::size_t limit, int depth,
                          std::vector<ObjectInfo>& objects);

  const Logger log_;
  const RetryPolicy retry_;
  const std::string root_;
  const bool concurrent_writes_;
  const std::shared_ptr<sftp::Endpoint> endpoint_;

  Mutex mu_{LockRank::kStorage};
  std::vector<std::string> dead_temps_ LS_GUARDED_BY(mu_);
};

std::string SftpClient::Describe() const {
  const sftp::ConnectOptions& to = endpoint_->options();
  const bool is_v6 = to.host.find(':') != std::string::npos;
  return fmt::format("sftp://{}@{}{}{}{}{}{}", to.user, is_v6 ? "[" : "", to.host, is_v6 ? "]" : "",
                     to.port == 22 ? "" : fmt::format(":{}", to.port),
                     root_.starts_with('/') || root_.empty() ? "" : "/~/", root_);
}

// ---- Lists

Result<std::vector<FileInfo>> SftpClient::List(const Context& ctx, Level level,
                                               const ListOptions& options) {
  auto lists = LS_TRY(WithConnection<std::vector<std::vector<FileInfo>>>(
      ctx, [&](Use& use) { return ListLevels(ctx, use, {level}, options); }));
  return std::move(lists.front());
}

Result<std::array<std::vector<FileInfo>, kLevelCount>> SftpClient::ListAll(const Context& ctx,
                                                                           bool exact_times) {
  std::vector<Level> levels;
  for (std::uint8_t level = 0; level < kLevelCount; ++level) levels.push_back(Level{level});
  auto lists = LS_TRY(WithConnection<std::vector<std::vector<FileInfo>>>(
      ctx, [&](Use& use) { return ListLevels(ctx, use, levels, {.exact_times = exact_times}); }));
  std::array<std::vector<FileInfo>, kLevelCount> all;
  std::ranges::move(lists, all.begin());
  return all;
}

Result<std::vector<std::vector<FileInfo>>> SftpClient::ListLevels(const Context& ctx, Use& use,
                                                                  const std::vector<Level>& levels,
                                                                  const ListOptions& options) {
  std::vector<std::string> directories;
  for (const Level level : levels) directories.push_back(DirectoryOf(level));
  const auto lists = LS_TRY(sftp::ReadDirectories(ctx, *use, directories));
  std::vector<std::vector<FileInfo>> files;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    files.push_back(LS_TRY(FilesOf(ctx, *use, levels[i], lists[i], options)));
  }
  return files;
}

Result<std::vector<FileInfo>> SftpClient::FilesOf(const Context& ctx, Connection& connection,
                                                  Level level,
                                                  const std::vector<sftp::NamedFile>& names,
                                                  const ListOptions& options) {
  std::vector<FileInfo> files;
  for (const sftp::NamedFile& file : names) {
    const auto txids = ParseLtxFilename(file.name);
    if (!txids) NoteIfDead(level, file);
    if (!txids || txids->min < options.seek || file.attributes.IsDirectory()) continue;
    const FileId id{.level = level, .txids = *txids};
    sftp::Attributes attributes = file.attributes;
    if (attributes.IsLink() || !attributes.size_bytes || !attributes.modified) {
      auto stat = sftp::Stat(ctx, connection, PathOf(id), /*follow=*/true);
      if (!stat.ok() && stat.error().Is(ErrorCode::kNotFound)) continue;
      attributes = LS_TRY(std::move(stat));
      if (attributes.IsDirectory()) continue;
    }
    if (!attributes.size_bytes || !attributes.modified) {
      return Error(ErrorCode::kUnsupported,
                   fmt::format("sftp: the server does not say size and time of {}", PathOf(id)));
    }
    files.push_back({.id = id,
                     .size_bytes = *attributes.size_bytes,
                     .created_at = ToWallTime(*attributes.modified)});
  }
  std::ranges::sort(files, {}, &FileInfo::id);
  if (options.limit != 0 && files.size() > options.limit) files.resize(options.limit);
  if (options.exact_times) LS_TRY(FillExactTimes(ctx, connection, files));
  return files;
}

// The protocol's times are whole seconds; an LTX file has its own in the header. What is none keeps
// the server's time. Files that are gone meanwhile are left out.
Result<void> SftpClient::FillExactTimes(const Context& ctx, Connection& connection,
                                        std::vector<FileInfo>& files) {
  struct Header {
    sftp::RemoteHandle handle;
    Pending data;
    FileInfo file;
  };
  std::deque<std::pair<FileInfo, Pending>> opens;
  std::deque<Header> headers;
  std::vector<FileInfo> kept;
  std::optional<Error> failed;
  std::size_t asked = 0;
  while (asked < files.size() || !opens.empty() || !headers.empty()) {
    if (failed) asked = files.size();  // What is open is still closed.
    while (asked < files.size() && opens.size() + headers.size() < kHeadersUnderWay) {
      const FileInfo& file = files[asked++];
      opens.emplace_back(file, connection.Send(PacketType::kOpen,
                                               sftp::OpenBody(PathOf(file.id), sftp::kOpenRead)));
    }
    if (!opens.empty()) {
      const auto [file, pending] = std::move(opens.front());
      opens.pop_front();
      const auto reply = LS_TRY(connection.Wait(ctx, pending));
      auto handle = sftp::HandleOf(reply, fmt::format("open {}", PathOf(file.id)));
      if (!handle.ok()) {
        if (!handle.error().Is(ErrorCode::kNotFound)) failed = std::move(handle).error();
        continue;
      }
      sftp::RemoteHandle open(connection, std::move(handle).value());
      Pending data = connection.Send(PacketType::kRead,
                                     Body().String(open.handle()).U64(0).U32(kLtxHeaderSize));
      headers.push_back({.handle = std::move(open), .data = std::move(data), .file = file});
      if (asked < files.size() && headers.size() < kHeadersUnderWay / 2) continue;
    }
    if (headers.empty()) continue;
    Header header(std::move(headers.front()));
    headers.pop_front();
    const auto reply = LS_TRY(connection.Wait(ctx, header.data));
    if (reply.type == PacketType::kData) {
      const std::string_view data = LS_TRY(sftp::ParseData(reply));
      const auto parsed = ParseLtxHeader(std::as_bytes(std::span(data)));
      if (parsed.ok()) header.file.created_at = parsed.value().Timestamp();
    } else {
      const auto status = LS_TRY(sftp::ParseStatus(reply));
      if (status.code != sftp::StatusCode::kEof) {
        failed = sftp::StatusError(status, fmt::format("read {}", PathOf(header.file.id)));
      }
    }
    kept.push_back(header.file);
  }
  if (failed) return *failed;
  files = std::move(kept);
  return {};
}

// ---- Temporary files that nobody will finish

// An upload sets the time of its content before it gets its name, which may be an old one; then the
// time of access is new, on servers that keep it.
void SftpClient::NoteIfDead(Level level, const sftp::NamedFile& file) {
  const sftp::Attributes& attributes = file.attributes;
  if (!sftp::IsTempName(file.name) || sftp::IsOwnTempName(file.name) || !attributes.modified ||
      !attributes.accessed)
    return;
  const WallTime touched = ToWallTime(std::max(*attributes.modified, *attributes.accessed));
  if (touched > Clock::Real().Now() - kDeadTempAge) return;
  MutexLock lock(mu_);
  if (dead_temps_.size() < kMaxDeadTemps) {
    dead_temps_.push_back(sftp::Join(DirectoryOf(level), file.name));
  }
}

// After a write: this user may write here, and is at work.
void SftpClient::SweepDeadTemps(Connection& connection) {
  std::vector<std::string> dead;
  {
    MutexLock lock(mu_);
    dead.swap(dead_temps_);
  }
  for (const std::string& path : dead) connection.Send(PacketType::kRemove, Body().String(path));
}

// ---- Reading and writing

Result<std::unique_ptr<ByteSource>> SftpClient::OpenPath(const Context& ctx,
                                                         const std::string& path,
                                                         const ByteRange& range) {
  return WithConnection<std::unique_ptr<ByteSource>>(
      ctx, [&](Use& use) -> Result<std::unique_ptr<ByteSource>> {
        auto handle = LS_TRY(sftp::OpenFile(ctx, *use, path, sftp::kOpenRead));
        std::string name = handle.handle();
        handle.Release();
        return sftp::MakeSource(std::move(use), std::move(name), path, range);
      });
}

Result<std::unique_ptr<ByteSource>> SftpClient::Open(const Context& ctx, const FileId& id,
                                                     const ByteRange& range) {
  return OpenPath(ctx, PathOf(id), range);
}

Result<FileInfo> SftpClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                   const WriteOptions& options) {
  const sftp::UploadTarget target{.path = PathOf(id),
                                  .created_at = options.created_at,
                                  .size_bytes = options.size_bytes,
                                  .if_absent = options.if_absent,
                                  .concurrent = concurrent_writes_};
  // Up to the first byte of the body it can be tried again.
  auto upload = LS_TRY(WithConnection<std::unique_ptr<sftp::Upload>>(
      ctx, [&](Use& use) -> Result<std::unique_ptr<sftp::Upload>> {
        if (options.if_absent && LS_TRY(sftp::IsThere(ctx, *use, target.path))) {
          return Error(ErrorCode::kAlreadyExists,
                       fmt::format("sftp: {} is there already", target.path));
        }
        return sftp::Upload::Begin(ctx, std::move(use), target);
      }));
  const std::uint64_t bytes = LS_TRY(upload->Run(ctx, *endpoint_, body));
  SweepDeadTemps(upload->connection());
  return FileInfo{.id = id, .size_bytes = bytes, .created_at = options.created_at};
}

// ---- Removing

Result<void> SftpClient::RemoveFiles(const Context& ctx, Connection& connection,
                                     const std::vector<std::string>& paths) {
  std::deque<Pending> under_way;
  std::size_t asked = 0;
  for (const std::string& path : paths) {
    while (asked < paths.size() && under_way.size() < kRemovesUnderWay) {
      under_way.push_back(connection.Send(PacketType::kRemove, Body().String(paths[asked++])));
    }
    const auto reply = LS_TRY(connection.Wait(ctx, under_way.front()));
    under_way.pop_front();
    auto removed = sftp::CheckStatus(reply, fmt::format("remove {}", path));
    if (removed.ok() || removed.error().Is(ErrorCode::kNotFound)) continue;
    // Some servers say no more than "failure" of what is not there.
    if (removed.error().Is(ErrorCode::kIo) && !LS_TRY(sftp::IsThere(ctx, connection, path))) {
      continue;
    }
    return removed;
  }
  return {};
}

Result<void> SftpClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  LS_TRY(ctx.Check());
  if (ids.empty()) return {};
  std::vector<std::string> paths;
  for (const FileId& id : ids) paths.push_back(PathOf(id));
  return Do(ctx, [&](Use& use) { return RemoveFiles(ctx, *use, paths); });
}

// Links are removed and not followed.
Result<void> SftpClient::RemoveTree(const Context& ctx, Connection& connection,
                                    const std::string& path, int depth) {
  if (depth > kMaxDepth) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("sftp: {} lies too deep to be removed", path));
  }
  auto names = sftp::ReadDirectory(ctx, connection, path);
  if (!names.ok() && names.error().Is(ErrorCode::kNotFound)) return {};
  std::vector<std::string> files;
  for (const sftp::NamedFile& file : LS_TRY(std::move(names))) {
    const std::string below = sftp::Join(path, file.name);
    if (file.attributes.IsDirectory()) {
      LS_TRY(RemoveTree(ctx, connection, below, depth + 1));
    } else {
      files.push_back(below);
    }
  }
  LS_TRY(RemoveFiles(ctx, connection, files));
  auto removed = sftp::RemoveDirectory(ctx, connection, path);
  if (!removed.ok() && removed.error().Is(ErrorCode::kNotFound)) return {};
  return removed;
}

// In somebody's home, or the whole server, only what is ours is removed.
Result<void> SftpClient::DeleteAll(const Context& ctx) {
  LS_TRY(ctx.Check());
  return Do(ctx, [&](Use& use) -> Result<void> {
    if (!root_.empty() && root_ != "/") return RemoveTree(ctx, *use, root_, 0);
    const std::string lease = fmt::format("{}{}", kLeaseName, sftp::kObjectSuffix);
    for (const std::string_view name :
         {std::string_view("ltx"), std::string_view(lease), std::string_view("generations")}) {
      LS_TRY(RemoveTree(ctx, *use, sftp::Join(root_, name), 0));
    }
    return {};
  });
}

// ---- Small objects

Result<std::string> SftpClient::ObjectPath(std::string_view name) const {
  if (name.empty() || name.front() == '/' || name.back() == '/') {
    return Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no name of an object", name));
  }
  return sftp::Join(root_, name);
}

Error NoConditions(const std::string& place, const std::string& server) {
  return {ErrorCode::kUnsupported,
          fmt::format("sftp: leases need a server of OpenSSH, this is {}; set `lease: off` and see "
                      "to it that only one process writes to {}",
                      http::Shown(server), place)};
}

Result<TaggedObject> SftpClient::GetObject(const Context& ctx, std::string_view name) {
  const std::string path = LS_TRY(ObjectPath(name));
  return WithConnection<TaggedObject>(
      ctx, [&](Use& use) { return sftp::RemoteObject(*use, path).Get(ctx); });
}

// One attempt: after the decisive step another one would find its own work to be another's.
Result<std::string> SftpClient::PutObject(const Context& ctx, std::string_view name,
                                          std::string_view content, std::string_view tag) {
  const std::string path = LS_TRY(ObjectPath(name));
  const Use use = LS_TRY(WorkingConnection(ctx));
  if (!sftp::HasConditionalWrites(*use)) return NoConditions(Describe(), use->server());
  return sftp::RemoteObject(*use, path).Put(ctx, content, tag);
}

Result<void> SftpClient::DeleteObject(const Context& ctx, std::string_view name,
                                      std::string_view tag) {
  const std::string path = LS_TRY(ObjectPath(name));
  const Use use = LS_TRY(WorkingConnection(ctx));
  if (!sftp::HasConditionalWrites(*use)) return NoConditions(Describe(), use->server());
  return sftp::RemoteObject(*use, path).Delete(ctx, tag);
}

// ---- Whatever lies there

Result<void> SftpClient::AddObjects(const Context& ctx, Connection& connection,
                                    const std::string& directory, std::string_view prefix,
                                    std::size_t limit, int depth,
                                    std::vector<ObjectInfo>& objects) {
  if (depth > kMaxDepth) return {};
  auto listed = sftp::ReadDirectory(ctx, connection, sftp::Join(root_, directory));
  if (!listed.ok() && listed.error().Is(ErrorCode::kNotFound)) return {};
  std::vector<sftp::NamedFile> names = LS_TRY(std::move(listed));
  // As the whole names sort: "a/x" comes behind "a-b".
  for (sftp::NamedFile& file : names) {
    if (file.attributes.IsDirectory()) file.name += '/';
  }
  std::ranges::sort(names, {}, &sftp::NamedFile::name);
  for (const sftp::NamedFile& file : names) {
    if (limit != 0 && objects.size() >= limit) return {};
    const std::string name = directory + file.name;
    // Neither below the prefix nor on the way there.
    if (!name.starts_with(prefix) && !prefix.starts_with(name)) continue;
    sftp::Attributes attributes = file.attributes;
    std::string shown = name;
    if (attributes.IsDirectory()) {
      const std::string suffix = fmt::format("{}/", sftp::kObjectSuffix);
      if (!name.ends_with(suffix)) {
        LS_TRY(AddObjects(ctx, connection, name, prefix, limit, depth + 1, objects));
        continue;
      }
      shown = name.substr(0, name.size() - suffix.size());
      const auto content =
          LS_TRY(sftp::RemoteObject(connection, sftp::Join(root_, shown)).ContentPath(ctx));
      if (!content || !shown.starts_with(prefix)) continue;
      attributes = LS_TRY(sftp::Stat(ctx, connection, *content));
    } else if (!name.starts_with(prefix)) {
      continue;
    }
    objects.push_back({.name = shown,
                       .size_bytes = attributes.size_bytes.value_or(0),
                       .modified_at = ToWallTime(attributes.modified.value_or(0))});
  }
  return {};
}

Result<std::vector<ObjectInfo>> SftpClient::ListObjects(const Context& ctx, std::string_view prefix,
                                                        std::size_t limit) {
  return WithConnection<std::vector<ObjectInfo>>(
      ctx, [&](Use& use) -> Result<std::vector<ObjectInfo>> {
        std::vector<ObjectInfo> objects;
        const std::size_t slash = prefix.rfind('/');
        const std::string directory(
            prefix.substr(0, slash == std::string_view::npos ? 0 : slash + 1));
        LS_TRY(AddObjects(ctx, *use, directory, prefix, limit, 0, objects));
        std::ranges::sort(objects, {}, &ObjectInfo::name);
        return objects;
      });
}

Result<std::unique_ptr<ByteSource>> SftpClient::OpenObject(const Context& ctx,
                                                           std::string_view name,
                                                           const ByteRange& range) {
  const std::string path = LS_TRY(ObjectPath(name));
  auto plain = OpenPath(ctx, path, range);
  if (plain.ok() || !plain.error().Is(ErrorCode::kNotFound)) return plain;
  const auto content = LS_TRY(WithConnection<std::optional<std::string>>(
      ctx, [&](Use& use) { return sftp::RemoteObject(*use, path).ContentPath(ctx); }));
  if (!content) return plain;
  return OpenPath(ctx, *content, range);
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeSftpClient(sftp::Options options, sftp::Shared& shared) {
  if (options.connect.host.empty()) {
    return Error(ErrorCode::kInvalidArgument, "host required for sftp replica");
  }
  if (options.connect.user.empty()) {
    return Error(ErrorCode::kInvalidArgument, "sftp user required");
  }
  auto endpoint = shared.At(options.connect);
  return std::make_unique<SftpClient>(std::move(options), std::move(endpoint));
}

}  // namespace litestream
