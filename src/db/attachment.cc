#include "db/attachment.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "base/sync.h"
#include "base/try.h"

namespace litestream {
namespace {

constexpr std::string_view kSqliteMagic("SQLite format 3\0", 16);

constexpr std::chrono::microseconds kLockPollInterval{100};
// How long beginning the holder again is tried while writers wait.
constexpr std::chrono::milliseconds kBeginHolderLimit{50};

// The files that this process has attached, and under which path. An Env is a machine of its own.
struct Attached {
  Mutex mu{LockRank::kLeaf};
  std::map<std::pair<Env*, FileIdentity>, std::string> files LS_GUARDED_BY(mu);
};
Attached& AllAttached() {
  static Attached attached;
  return attached;
}

// The file format's read and write versions. The mode is changed in the file itself, never in a
// WAL.
Result<bool> IsInWalMode(File& database) {
  constexpr std::uint64_t kVersionsOffset = 18;
  constexpr std::byte kWalVersion{2};
  std::array<std::byte, 2> versions = {};
  LS_TRY(database.ReadAt(versions, kVersionsOffset));
  return versions[0] == kWalVersion && versions[1] == kWalVersion;
}

}  // namespace

Result<std::unique_ptr<AttachedFile>> AttachedFile::Claim(Env& env,
                                                          const std::filesystem::path& path) {
  const FileIdentity identity = LS_TRY(env.Stat(path)).identity;
  Attached& attached = AllAttached();
  MutexLock lock(attached.mu);
  const auto [entry, inserted] = attached.files.try_emplace({&env, identity}, path.string());
  if (!inserted && entry->second == path.string()) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("{}: this process replicates it already", path.string()));
  }
  if (!inserted) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("{} is the same file as {}, which is being replicated; list it once, "
                             "with as many replicas as needed",
                             path.string(), entry->second));
  }
  return std::unique_ptr<AttachedFile>(new AttachedFile(env, identity));
}

AttachedFile::~AttachedFile() {
  Attached& attached = AllAttached();
  MutexLock lock(attached.mu);
  attached.files.erase({&env_, identity_});
}

Result<void> CheckIsDatabase(Env& env, const std::filesystem::path& path) {
  // Only a file that is not attached may be opened and closed.
  auto claimed = AttachedFile::Claim(env, path);
  // Under this very name: the lock on the local state tells.
  if (!claimed.ok() && claimed.error().Is(ErrorCode::kUnavailable)) return {};
  const auto claim = LS_TRY(std::move(claimed));
  auto opened = env.Open(path, {});
  if (!opened.ok() && opened.error().Is(ErrorCode::kDenied)) {
    return Error(ErrorCode::kDenied,
                 opened.error().message() + "; this user must be able to read and write it");
  }
  const auto file = LS_TRY(std::move(opened));
  std::array<std::byte, kSqliteMagic.size()> head = {};
  const std::size_t got = LS_TRY(file->ReadAt(head, 0), "{}", path.string());
  if (got == head.size() && std::memcmp(head.data(), kSqliteMagic.data(), head.size()) == 0) {
    return {};
  }
  return Error(ErrorCode::kUnsupported,
               fmt::format("{}: file is not a database (it does not begin with \"{}\")",
                           path.string(), kSqliteMagic.substr(0, kSqliteMagic.size() - 1)));
}

Result<std::unique_ptr<Attachment>> Attachment::Open(Env& env, const std::filesystem::path& path,
                                                     const std::string& vfs) {
  std::unique_ptr<Attachment> a(new Attachment(env));
  auto begun = a->Begin(path, vfs);
  if (begun.ok()) return a;
  if (!begun.error().Is(ErrorCode::kDenied)) return std::move(begun).error();
  return Error(ErrorCode::kDenied,
               fmt::format("{} (replication needs to write the database's -wal and -shm, and the "
                           "file at a checkpoint: run litestream as the user of the application)",
                           begun.error().message()));
}

Attachment::~Attachment() {
  for (auto& connection : connections_) connection.reset();
}

Result<void> Attachment::Begin(const std::filesystem::path& path, const std::string& vfs) {
  path_ = path;
  claim_ = LS_TRY(AttachedFile::Claim(env_, path));
  ConnectionOptions options;
  options.vfs = vfs;
  const std::filesystem::path file = LS_TRY(env_.ResolveLink(path));
  options.path_is_resolved = file.is_absolute();
  wal_path_ = file.string() + "-wal";
  shm_path_ = file.string() + "-shm";
  const auto shm_before = env_.Stat(shm_path_);
  connections_[0] = LS_TRY(Connection::Open(file, options));
  database_ = LS_TRY(env_.Open(file, {}));
  database_identity_ = LS_TRY(database_->Stat()).identity;
  if (claim_->identity() != database_identity_) return Replaced();
  Connection& first = *connections_[0];
  // A connection must have read once before BeginRead looks at the WAL first, and before a
  // checkpoint does anything. `PRAGMA journal_mode` would load the schema, and keep it.
  auto read = first.BeginReadAnyMark();
  const bool busy = !read.ok() && read.error().Is(ErrorCode::kUnavailable);
  LS_TRY(std::move(read), "{}{}", path.string(),
         busy ? ": another process may hold the database with locking_mode=EXCLUSIVE" : "");
  const bool in_wal_mode = LS_TRY(IsInWalMode(*database_));
  LS_TRY(first.EndTransaction());
  if (!in_wal_mode) {
    const std::string mode = LS_TRY(first.QueryText("PRAGMA journal_mode = wal"),
                                    "{}: switch to WAL mode", path.string());
    if (mode != "wal") {
      return Error(ErrorCode::kUnsupported,
                   fmt::format("{}: enable wal failed, mode=\"{}\"", path.string(), mode));
    }
    switched_to_wal_ = true;
    LS_TRY(first.BeginReadAnyMark(), "{}", path.string());
    LS_TRY(first.EndTransaction());
  }
  page_size_ = static_cast<std::uint32_t>(LS_TRY(first.QueryInt("PRAGMA page_size")));
  connections_[1] = LS_TRY(Connection::Open(file, options));
  LS_TRY(connections_[1]->BeginReadAnyMark(), "{}", path.string());
  LS_TRY(connections_[1]->EndTransaction());
  held_ = LS_TRY(holder().BeginRead(), "{}: begin the read transaction", path.string());
  restart_allowed_ = held_.frames == 0;
  LS_TRY(OpenWal());
  // SQLite opened the files by their paths one after the other, so they may belong to two
  // databases.
  LS_TRY(CheckSameFiles());
  if (shm_before.ok() && shm_before.value().identity != shm_identity_) return Replaced();
  return {};
}

Result<void> Attachment::OpenWal() {
  wal_ = LS_TRY(env_.Open(wal_path_, {}));
  wal_identity_ = LS_TRY(wal_->Stat()).identity;
  shm_identity_ = LS_TRY(env_.Stat(shm_path_)).identity;
  return {};
}

Result<bool> Attachment::SameFiles() const {
  const std::pair<const std::filesystem::path*, const FileIdentity*> files[] = {
      {&path_, &database_identity_}, {&wal_path_, &wal_identity_}, {&shm_path_, &shm_identity_}};
  for (const auto& [path, identity] : files) {
    const auto stat = env_.Stat(*path);
    if (!stat.ok()) {
      if (stat.error().Is(ErrorCode::kNotFound)) return false;
      return Error(stat.error());
    }
    if (stat.value().identity != *identity) return false;
  }
  return true;
}

Error Attachment::Replaced() const {
  return {ErrorCode::kUnavailable,
          fmt::format("{}: the database, its -wal or its -shm was replaced or removed meanwhile",
                      path_.string())};
}

Result<void> Attachment::CheckSameFiles() const {
  if (!LS_TRY(SameFiles())) return Replaced();
  return {};
}

bool Attachment::Holding() const {
  return holder().InReadTransaction();
}

Result<WalView> Attachment::Peek() {
  const WalView view = LS_TRY(idle().BeginReadAnyMark());
  LS_TRY(idle().EndTransaction());
  return view;
}

Result<WalView> Attachment::Leap() {
  successor_ = LS_TRY(idle().BeginRead());
  leaping_ = true;
  return successor_;
}

Result<void> Attachment::Land() {
  LS_TRY(holder().EndTransaction());
  holder_index_ = 1 - holder_index_;
  held_ = successor_;
  // BeginRead takes mark 0 only on an empty WAL, and then what follows starts at its front.
  restart_allowed_ = held_.frames == 0;
  leaping_ = false;
  return {};
}

Result<void> Attachment::Abandon() {
  leaping_ = false;
  return idle().EndTransaction();
}

Result<CheckpointResult> Attachment::PassiveUnlocked() {
  LS_TRY(CheckSameFiles());
  return idle().Checkpoint(CheckpointMode::kPassive, {});
}

Result<void> Attachment::LockWrites(const Context& ctx, std::chrono::microseconds limit) {
  const MonoTime until = ctx.clock().Monotonic() + limit;
  for (;;) {
    auto begun = idle().BeginWrite();
    if (begun.ok() || !begun.error().Is(ErrorCode::kUnavailable)) return begun;
    if (ctx.clock().Monotonic() >= until) return begun;
    LS_TRY(ctx.Wait(kLockPollInterval));
  }
}

void Attachment::UnlockWrites() {
  // A rollback of a transaction that wrote nothing cannot fail in a way that matters: if it did,
  // the next BEGIN on this connection would, and say so.
  (void)idle().EndTransaction().ok();
}

Result<void> Attachment::BeginHolder(const Context& ctx, bool any_mark) {
  const MonoTime until = ctx.clock().Monotonic() + kBeginHolderLimit;
  for (;;) {
    auto view = any_mark ? holder().BeginReadAnyMark() : holder().BeginRead();
    if (view.ok()) {
      held_ = view.value();
      restart_allowed_ = any_mark || held_.frames == 0;
      return {};
    }
    if (ctx.clock().Monotonic() >= until || ctx.stop().stop_requested()) {
      return std::move(view).error().Wrap("begin the read transaction again");
    }
    LS_TRY(ctx.Wait(kLockPollInterval));
  }
}

Result<WalView> Attachment::RenewHolder() {
  LS_TRY(holder().EndTransaction());
  LS_TRY(BeginHolder(Context::Background(), /*any_mark=*/false));
  return held_;
}

Result<CheckpointResult> Attachment::BackfillUnderLock(const Context& ctx,
                                                       std::chrono::milliseconds limit) {
  LS_TRY(CheckSameFiles());
  LS_TRY(holder().EndTransaction());
  const MonoTime until = ctx.clock().Monotonic() + limit;
  Result<CheckpointResult> result = holder().Checkpoint(CheckpointMode::kPassive, {});
  while (result.ok() && !result.value().complete() && ctx.clock().Monotonic() < until &&
         ctx.Wait(std::chrono::milliseconds(1)).ok()) {
    result = holder().Checkpoint(CheckpointMode::kPassive, {});
  }
  const bool complete = result.ok() && result.value().complete();
  // The lock is still ours, so nothing was committed since the seal: on mark 0 or above, the holder
  // sees what is captured.
  LS_TRY(BeginHolder(ctx, complete));
  return result;
}

Result<CheckpointResult> Attachment::WaitForReaders(CheckpointMode mode,
                                                    std::chrono::milliseconds limit) {
  LS_TRY(CheckSameFiles());
  return idle().Checkpoint(mode, limit);
}

Result<void> Attachment::ReadPages(Pgno first, std::span<std::byte> out) {
  const std::uint64_t offset = (std::uint64_t{first.value} - 1) * page_size_;
  const std::size_t got = LS_TRY(database_->ReadAt(out, offset), "{}", path_.string());
  std::memset(out.data() + got, 0, out.size() - got);
  return {};
}

Result<std::uint64_t> Attachment::DatabaseFileSize() {
  return LS_TRY(database_->Stat()).size_bytes;
}

Result<void> Attachment::SyncDatabaseData() {
  return database_->SyncData();
}

Result<std::size_t> Attachment::ReadWal(std::span<std::byte> out, std::uint64_t offset_bytes) {
  return wal_->ReadAt(out, offset_bytes);
}

Result<std::optional<WalHeader>> Attachment::ReadWalHeader() {
  std::array<std::byte, kWalHeaderSize> bytes = {};
  const std::size_t got = LS_TRY(wal_->ReadAt(bytes, 0), "{}", wal_path_.string());
  return LS_TRY(ParseWalHeader(std::span(bytes).first(got)), "{}", wal_path_.string());
}

Result<std::uint64_t> Attachment::WalFileSize() {
  return LS_TRY(wal_->Stat()).size_bytes;
}

}  // namespace litestream
