#include "base/memory_env.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/core.h>

#include "base/errno_error.h"
#include "base/try.h"

namespace litestream {

using Path = std::filesystem::path;
using NodePtr = MemoryDisk::NodePtr;
using Place = MemoryDisk::Place;

namespace {

Error Fail(int error_number, EnvCall call, const Path& path) {
  return ErrnoError(error_number, ToString(call), path);
}

Error Injected(const EnvFault& fault, EnvCall call, const Path& path) {
  return {fault.code,
          fmt::format("{} {}: {} (injected)", ToString(call), path.native(), ToString(fault.code))};
}

// The error for a place that must exist.
std::optional<Error> Missing(const Place& at, EnvCall call, const Path& path) {
  if (at.error_number != 0) return Fail(at.error_number, call, path);
  if (!at.node) return Fail(ENOENT, call, path);
  return std::nullopt;
}

bool IsInside(const Path& path, const Path& directory) {
  return path != directory && std::ranges::mismatch(directory, path).in1 == directory.end();
}

}  // namespace

std::string_view ToString(EnvCall call) {
  constexpr std::array<std::string_view, 17> kNames = {"open",
                                                       "read",
                                                       "write",
                                                       "truncate",
                                                       "allocate",
                                                       "fsync",
                                                       "fdatasync",
                                                       "stat",
                                                       "set time of",
                                                       "rename",
                                                       "remove",
                                                       "remove tree",
                                                       "create directory",
                                                       "list",
                                                       "fsync directory",
                                                       "lock",
                                                       "watch"};
  return kNames[static_cast<std::size_t>(call)];
}

// --- Files ---

class MemoryEnv::OpenFile final : public File {
 public:
  OpenFile(MemoryEnv& env, NodePtr node, Path path, bool write, std::uint64_t epoch)
      : env_(env), node_(std::move(node)), path_(std::move(path)), write_(write), epoch_(epoch) {}

  Result<std::size_t> ReadAt(std::span<std::byte> out, std::uint64_t offset_bytes) override {
    LS_TRY(Begin(EnvCall::kRead, offset_bytes, out.size()));
    MutexLock lock(env_.mu_);
    LS_TRY(Check(EnvCall::kRead, false));
    if (node_->IsDirectory()) return Fail(EISDIR, EnvCall::kRead, path_);
    const std::vector<std::byte>& content = node_->content;
    if (offset_bytes >= content.size()) return std::size_t{0};
    const std::size_t n = std::min<std::size_t>(out.size(), content.size() - offset_bytes);
    std::memcpy(out.data(), content.data() + offset_bytes, n);
    return n;
  }

  Result<void> WriteAt(std::span<const std::byte> bytes, std::uint64_t offset_bytes) override {
    const auto fault = env_.AskFault({.call = EnvCall::kWrite,
                                      .path = path_,
                                      .offset_bytes = offset_bytes,
                                      .length_bytes = bytes.size()});
    const bool writes = !bytes.empty();  // No call to the system otherwise.
    if (fault) bytes = bytes.first(std::min(fault->written_bytes, bytes.size()));
    Deliveries deliveries;
    {
      MutexLock lock(env_.mu_);
      LS_TRY(Check(EnvCall::kWrite, writes));
      if (offset_bytes > MemoryDisk::kMaxFileBytes - bytes.size()) {
        return Fail(EFBIG, EnvCall::kWrite, path_);
      }
      if (!bytes.empty()) {
        env_.disk_.Write(*node_, bytes, offset_bytes, env_.Now());
        NoteNode(*node_, FileEvent::kModified, deliveries);
      }
    }
    env_.Deliver(deliveries);
    if (fault) return Injected(*fault, EnvCall::kWrite, path_);
    return {};
  }

  Result<void> Truncate(std::uint64_t size_bytes) override {
    return Resize(EnvCall::kTruncate, size_bytes, false);
  }
  Result<void> Allocate(std::uint64_t size_bytes) override {
    return Resize(EnvCall::kAllocate, size_bytes, true);
  }
  Result<void> Sync() override { return SyncAs(EnvCall::kSync); }
  Result<void> SyncData() override { return SyncAs(EnvCall::kSyncData); }
  void StartWriteback(std::uint64_t /*offset_bytes*/, std::uint64_t /*length_bytes*/) override {}

  Result<FileStat> Stat() override {
    LS_TRY(Begin(EnvCall::kStat));
    MutexLock lock(env_.mu_);
    LS_TRY(Check(EnvCall::kStat, false));
    return node_->Stat();
  }

  Result<void> SetModified(NanoTime at) override {
    LS_TRY(Begin(EnvCall::kSetModified));
    MutexLock lock(env_.mu_);
    LS_TRY(Check(EnvCall::kSetModified, false));
    node_->stat.modified_at = at;
    node_->stat.changed_at = env_.Now();
    return {};
  }

 private:
  Result<void> Begin(EnvCall call, std::uint64_t offset_bytes = 0, std::uint64_t length_bytes = 0) {
    const auto fault = env_.AskFault(
        {.call = call, .path = path_, .offset_bytes = offset_bytes, .length_bytes = length_bytes});
    if (fault) return Injected(*fault, call, path_);
    return {};
  }

  Result<void> Check(EnvCall call, bool write) const LS_REQUIRES(env_.mu_) {
    if (epoch_ != env_.epoch_) return Fail(EIO, call, path_);
    if (write && !write_) return Fail(call == EnvCall::kTruncate ? EINVAL : EBADF, call, path_);
    return {};
  }

  Result<void> Resize(EnvCall call, std::uint64_t size_bytes, bool only_grow) {
    LS_TRY(Begin(call, 0, size_bytes));
    Deliveries deliveries;
    {
      MutexLock lock(env_.mu_);
      LS_TRY(Check(call, true));
      if (size_bytes > MemoryDisk::kMaxFileBytes) return Fail(EFBIG, call, path_);
      const std::uint64_t now_bytes = node_->content.size();
      if (size_bytes == now_bytes || (only_grow && size_bytes < now_bytes)) return {};
      env_.disk_.Resize(*node_, size_bytes, env_.Now());
      NoteNode(*node_, FileEvent::kModified, deliveries);
    }
    env_.Deliver(deliveries);
    return {};
  }

  Result<void> SyncAs(EnvCall call) {
    const auto fault = env_.AskFault({.call = call, .path = path_});
    MutexLock lock(env_.mu_);
    LS_TRY(Check(call, false));
    if (fault) {
      env_.disk_.FailSync(*node_);
      return Injected(*fault, call, path_);
    }
    env_.disk_.Sync(*node_);
    return {};
  }

  MemoryEnv& env_;
  const NodePtr node_;
  const Path path_;
  const bool write_;
  const std::uint64_t epoch_;
};

class MemoryEnv::HeldLock final : public FileLock {
 public:
  HeldLock(MemoryEnv& env, NodePtr node, std::uint64_t epoch)
      : env_(env), node_(std::move(node)), epoch_(epoch) {}
  ~HeldLock() override {
    MutexLock lock(env_.mu_);
    if (epoch_ == env_.epoch_) node_->locked = false;
  }

 private:
  MemoryEnv& env_;
  const NodePtr node_;
  const std::uint64_t epoch_;
};

// --- The environment itself ---

MemoryEnv::MemoryEnv(const Clock& clock, std::uint64_t seed) : clock_(clock), random_(seed) {}

void MemoryEnv::SetFault(FaultFunction fault) {
  std::shared_ptr<const FaultFunction> shared;
  if (fault) shared = std::make_shared<const FaultFunction>(std::move(fault));
  MutexLock lock(mu_);
  fault_.swap(shared);
}

std::uint64_t MemoryEnv::call_count() {
  MutexLock lock(mu_);
  return calls_;
}

std::optional<EnvFault> MemoryEnv::AskFault(EnvCallInfo info) {
  std::shared_ptr<const FaultFunction> fault;
  {
    MutexLock lock(mu_);
    info.number = ++calls_;
    fault = fault_;
  }
  if (!fault) return std::nullopt;
  return (*fault)(info);
}

Result<void> MemoryEnv::Begin(EnvCall call, const Path& path) {
  const auto fault = AskFault({.call = call, .path = path});
  if (fault) return Injected(*fault, call, path);
  return {};
}

void MemoryEnv::Crash(const KeepFunction& keep) {
  MutexLock lock(mu_);
  ++epoch_;
  disk_.Crash(keep);
}

void MemoryEnv::Crash(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::uint64_t kept_of_8 = random() % 9;
  Crash([&random, kept_of_8](const UnsyncedChange&) { return random() % 8 < kept_of_8; });
}

Result<std::unique_ptr<File>> MemoryEnv::Open(const Path& path, const OpenOptions& options) {
  constexpr EnvCall kCall = EnvCall::kOpen;
  LS_TRY(Begin(kCall, path));
  Deliveries deliveries;
  std::unique_ptr<File> file;
  {
    MutexLock lock(mu_);
    const Place at = disk_.Look(path);
    if (at.error_number != 0) return Fail(at.error_number, kCall, path);
    NodePtr node = at.node;
    if (node) {
      if (options.create && options.exclusive) return Fail(EEXIST, kCall, path);
      if (node->IsDirectory() && (options.write || options.create || options.truncate)) {
        return Fail(EISDIR, kCall, path);
      }
      if (options.truncate && !node->content.empty()) {
        disk_.Resize(*node, 0, Now());
        NoteNode(*node, FileEvent::kModified, deliveries);
      }
    } else {
      if (!options.create) return Fail(ENOENT, kCall, path);
      node = disk_.Create(at, FileType::kRegular, options.owner, Now());
      NoteEntry(at, deliveries);
    }
    file = std::make_unique<OpenFile>(*this, std::move(node), path, options.write, epoch_);
  }
  Deliver(deliveries);
  return file;
}

Result<FileStat> MemoryEnv::Stat(const Path& path) {
  LS_TRY(Begin(EnvCall::kStat, path));
  MutexLock lock(mu_);
  const Place at = disk_.Look(path);
  if (auto error = Missing(at, EnvCall::kStat, path)) return std::move(*error);
  return at.node->Stat();
}

Result<void> MemoryEnv::Rename(const Path& from, const Path& to) {
  return Move(from, to, true);
}

Result<void> MemoryEnv::RenameNoReplace(const Path& from, const Path& to) {
  return Move(from, to, false);
}

Result<void> MemoryEnv::Move(const Path& from, const Path& to, bool replace) {
  constexpr EnvCall kCall = EnvCall::kRename;
  LS_TRY(Begin(kCall, to));
  Deliveries deliveries;
  {
    MutexLock lock(mu_);
    const Place source = disk_.Look(from);
    const Place target = disk_.Look(to);
    if (auto error = Missing(source, kCall, from)) return std::move(*error);
    if (target.error_number != 0) return Fail(target.error_number, kCall, to);
    if (target.node && !replace) return Fail(EEXIST, kCall, to);
    if (IsInside(target.path, source.path)) return Fail(EINVAL, kCall, to);
    if (IsInside(source.path, target.path)) return Fail(ENOTEMPTY, kCall, to);
    if (target.node) {
      if (source.node == target.node) return {};
      if (target.node->IsDirectory() != source.node->IsDirectory()) {
        return Fail(target.node->IsDirectory() ? EISDIR : ENOTDIR, kCall, to);
      }
      if (!target.node->entries.empty()) return Fail(ENOTEMPTY, kCall, to);
    }
    disk_.Rename(source, target, Now());
    NoteEntry(source, deliveries);
    NoteEntry(target, deliveries);
    NoteNode(*source.node, FileEvent::kGone, deliveries);
    if (target.node) NoteNode(*target.node, FileEvent::kGone, deliveries);
  }
  Deliver(deliveries);
  return {};
}

Result<void> MemoryEnv::Remove(const Path& path) {
  LS_TRY(Begin(EnvCall::kRemove, path));
  Deliveries deliveries;
  {
    MutexLock lock(mu_);
    const Place at = disk_.Look(path);
    if (auto error = Missing(at, EnvCall::kRemove, path)) return std::move(*error);
    if (at.node->IsDirectory()) return Fail(EISDIR, EnvCall::kRemove, path);
    disk_.Remove(at, Now());
    NoteEntry(at, deliveries);
    NoteNode(*at.node, FileEvent::kGone, deliveries);
  }
  Deliver(deliveries);
  return {};
}

Result<void> MemoryEnv::RemoveTree(const Path& path) {
  LS_TRY(Begin(EnvCall::kRemoveTree, path));
  Deliveries deliveries;
  {
    MutexLock lock(mu_);
    const Place at = disk_.Look(path);
    if (at.error_number != 0 || !at.node) return {};
    if (!at.directory) return Fail(EBUSY, EnvCall::kRemoveTree, path);
    RemoveTreeAt(at, deliveries);
  }
  Deliver(deliveries);
  return {};
}

void MemoryEnv::RemoveTreeAt(const Place& at, Deliveries& deliveries) {
  const std::map<std::string, NodePtr> children = at.node->entries;
  for (const auto& [name, child] : children) {
    RemoveTreeAt({.directory = at.node, .name = name, .node = child, .path = at.path / name},
                 deliveries);
  }
  disk_.Remove(at, Now());
  NoteEntry(at, deliveries);
  NoteNode(*at.node, FileEvent::kGone, deliveries);
}

Result<void> MemoryEnv::CreateDirectory(const Path& path, const FileOwner& owner) {
  constexpr EnvCall kCall = EnvCall::kCreateDirectory;
  LS_TRY(Begin(kCall, path));
  Deliveries deliveries;
  {
    MutexLock lock(mu_);
    const Place at = disk_.Look(path);
    if (at.error_number != 0) return Fail(at.error_number, kCall, path);
    if (at.node) return Fail(EEXIST, kCall, path);
    disk_.Create(at, FileType::kDirectory, owner, Now());
    NoteEntry(at, deliveries);
  }
  Deliver(deliveries);
  return {};
}

Result<std::vector<DirectoryEntry>> MemoryEnv::List(const Path& path) {
  LS_TRY(Begin(EnvCall::kList, path));
  MutexLock lock(mu_);
  const Place at = disk_.Look(path);
  if (auto error = Missing(at, EnvCall::kList, path)) return std::move(*error);
  if (!at.node->IsDirectory()) return Fail(ENOTDIR, EnvCall::kList, path);
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, node] : at.node->entries) {
    entries.push_back({.name = name, .type = node->stat.type});
  }
  return entries;
}

Result<void> MemoryEnv::SyncDirectory(const Path& path) {
  LS_TRY(Begin(EnvCall::kSyncDirectory, path));
  MutexLock lock(mu_);
  const Place at = disk_.Look(path);
  if (auto error = Missing(at, EnvCall::kSyncDirectory, path)) return std::move(*error);
  if (!at.node->IsDirectory()) return Fail(ENOTDIR, EnvCall::kSyncDirectory, path);
  disk_.SyncDirectory(*at.node);
  return {};
}

Result<std::unique_ptr<FileLock>> MemoryEnv::Lock(const Path& path, const FileOwner& owner) {
  constexpr EnvCall kCall = EnvCall::kLock;
  LS_TRY(Begin(kCall, path));
  Deliveries deliveries;
  std::unique_ptr<FileLock> held;
  {
    MutexLock lock(mu_);
    const Place at = disk_.Look(path);
    if (at.error_number != 0) return Fail(at.error_number, kCall, path);
    NodePtr node = at.node;
    if (!node) {
      node = disk_.Create(at, FileType::kRegular, owner, Now());
      NoteEntry(at, deliveries);
    }
    if (node->IsDirectory()) return Fail(EISDIR, kCall, path);
    if (node->locked) {
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("lock {}: held by another process", path.native()));
    }
    node->locked = true;
    held = std::make_unique<HeldLock>(*this, std::move(node), epoch_);
  }
  Deliver(deliveries);
  return held;
}

std::string MemoryEnv::BootId() {
  MutexLock lock(mu_);
  return fmt::format("boot {}", epoch_);
}

void MemoryEnv::Random(std::span<std::byte> out) {
  MutexLock lock(mu_);
  for (std::byte& b : out) b = static_cast<std::byte>(random_() >> 56U);
}

// --- Watches ---

class MemoryEnv::Watch final : public FileWatch {
 public:
  Watch(MemoryEnv& env, WatcherPtr watcher, std::uint64_t epoch)
      : env_(env), watcher_(std::move(watcher)), epoch_(epoch) {}
  ~Watch() override {
    {
      MutexLock lock(env_.mu_);
      env_.Disarm(watcher_);
    }
    watcher_->gate.Close();
  }
  Result<void> Rearm() override {
    if (watcher_->directory) return {};
    return env_.Arm(watcher_, epoch_);
  }

 private:
  MemoryEnv& env_;
  const WatcherPtr watcher_;
  const std::uint64_t epoch_;
};

Result<std::unique_ptr<FileWatch>> MemoryEnv::WatchFile(const Path& path,
                                                        FileEventCallback callback) {
  return AddWatch(std::make_shared<Watcher>(path, false, std::move(callback)));
}

Result<std::unique_ptr<FileWatch>> MemoryEnv::WatchDirectory(const Path& path,
                                                             FileEventCallback callback) {
  return AddWatch(std::make_shared<Watcher>(path, true, std::move(callback)));
}

Result<std::unique_ptr<FileWatch>> MemoryEnv::AddWatch(WatcherPtr watcher) {
  std::uint64_t epoch = 0;
  {
    MutexLock lock(mu_);
    epoch = epoch_;
  }
  LS_TRY(Arm(watcher, epoch));
  {
    MutexLock lock(mu_);
    std::erase_if(watchers_, [](const auto& other) { return other.expired(); });
    watchers_.push_back(watcher);
  }
  return std::make_unique<Watch>(*this, std::move(watcher), epoch);
}

Result<void> MemoryEnv::Arm(const WatcherPtr& watcher, std::uint64_t epoch) {
  constexpr EnvCall kCall = EnvCall::kWatch;
  LS_TRY(Begin(kCall, watcher->path));
  MutexLock lock(mu_);
  if (epoch != epoch_) return Fail(EIO, kCall, watcher->path);
  const Place at = disk_.Look(watcher->path);
  if (auto error = Missing(at, kCall, watcher->path)) return std::move(*error);
  if (at.node->IsDirectory() != watcher->directory) {
    return Fail(EINVAL, kCall, watcher->path);
  }
  Disarm(watcher);
  at.node->watches.push_back(watcher);
  watcher->node = at.node;
  return {};
}

void MemoryEnv::Disarm(const WatcherPtr& watcher) {
  if (const NodePtr node = watcher->node.lock()) std::erase(node->watches, watcher);
}

void MemoryEnv::NoteEntry(const Place& at, Deliveries& deliveries) {
  for (const auto& watch : at.directory->watches) {
    deliveries.push_back({.watcher = std::static_pointer_cast<Watcher>(watch),
                          .event = FileEvent::kEntry,
                          .name = at.name});
  }
}

void MemoryEnv::NoteNode(MemoryDisk::Node& node, FileEvent event, Deliveries& deliveries) {
  for (const auto& watch : std::exchange(node.watches, {})) {
    deliveries.push_back(
        {.watcher = std::static_pointer_cast<Watcher>(watch), .event = event, .name = {}});
  }
}

void MemoryEnv::LoseEvents(bool lose) {
  losing_events_ = lose;
  if (lose) return;
  Deliveries deliveries;
  {
    MutexLock lock(mu_);
    for (const auto& watcher : watchers_) {
      if (WatcherPtr alive = watcher.lock()) {
        deliveries.push_back(
            {.watcher = std::move(alive), .event = FileEvent::kOverflow, .name = {}});
      }
    }
  }
  Deliver(deliveries);
}

void MemoryEnv::Deliver(const Deliveries& deliveries) {
  if (losing_events_) return;
  for (const Delivery& d : deliveries) d.watcher->gate.Call(d.event, d.name);
}

}  // namespace litestream
