#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/callback_gate.h"
#include "base/env.h"
#include "base/memory_disk.h"
#include "base/sync.h"

namespace litestream {

enum class EnvCall : std::uint8_t {
  kOpen,
  kRead,
  kWrite,
  kTruncate,
  kAllocate,
  kSync,
  kSyncData,
  kStat,
  kSetModified,
  kRename,
  kRemove,
  kRemoveTree,
  kCreateDirectory,
  kList,
  kSyncDirectory,
  kLock,
  kWatch,
};
std::string_view ToString(EnvCall call);

struct EnvCallInfo {
  EnvCall call = EnvCall::kOpen;
  std::filesystem::path path;  // For a rename: the new one.
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
  std::uint64_t number = 0;  // The how many'th call of this environment: 1, 2, ...
};

struct EnvFault {
  ErrorCode code = ErrorCode::kIo;
  // Of a failing write, so many bytes get into the file first.
  std::size_t written_bytes = 0;
};
// Asked before every call; an answer makes it fail. It may call the environment's Crash.
using FaultFunction = std::function<std::optional<EnvFault>(const EnvCallInfo&)>;

// Files in memory, for tests and the simulator. Relative paths begin at "/". Events are delivered
// in the thread that causes them, when its call is done. There are no permissions and no umask.
// Inode numbers are never used again. Borrows the clock, and must outlive what it hands out.
class MemoryEnv final : public Env {
 public:
  MemoryEnv(const Clock& clock, std::uint64_t seed);

  void SetFault(FaultFunction fault);  // An empty one: no faults.
  std::uint64_t call_count();

  // While true, no event is delivered; then every watch is told kOverflow, as by a kernel whose
  // queue ran over.
  void LoseEvents(bool lose);

  // The power fails and comes back. What is open then fails for ever with kIo, locks are free, and
  // watches have ended without a word.
  void Crash(const KeepFunction& keep);
  // The same, with the fate of each unsynced change drawn from the seed: now and then all are kept,
  // or lost, else any share of them.
  void Crash(std::uint64_t seed);

  Result<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                     const OpenOptions& options) override;
  Result<FileStat> Stat(const std::filesystem::path& path) override;
  Result<void> Rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  Result<void> RenameNoReplace(const std::filesystem::path& from,
                               const std::filesystem::path& to) override;
  Result<void> Remove(const std::filesystem::path& path) override;
  Result<void> RemoveTree(const std::filesystem::path& path) override;
  Result<void> CreateDirectory(const std::filesystem::path& path, const FileOwner& owner) override;
  Result<std::vector<DirectoryEntry>> List(const std::filesystem::path& path) override;
  Result<void> SyncDirectory(const std::filesystem::path& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::filesystem::path& path,
                                         const FileOwner& owner) override;
  Result<std::unique_ptr<FileWatch>> WatchFile(const std::filesystem::path& path,
                                               FileEventCallback callback) override;
  Result<std::unique_ptr<FileWatch>> WatchDirectory(const std::filesystem::path& path,
                                                    FileEventCallback callback) override;
  void Random(std::span<std::byte> out) override;
  std::string BootId() override;  // Another one after each Crash.
  const Clock& clock() const override { return clock_; }

 private:
  class OpenFile;
  class HeldLock;
  class Watch;
  struct Watcher {
    Watcher(std::filesystem::path p, bool dir, FileEventCallback callback)
        : path(std::move(p)), directory(dir), gate(std::move(callback)) {}
    const std::filesystem::path path;
    const bool directory;
    CallbackGate gate;
    std::weak_ptr<MemoryDisk::Node>
        node;  // Guarded by the environment's mutex. Where it is listed.
  };
  // Shared, because an event may be on its way to it while its owner destroys it.
  using WatcherPtr = std::shared_ptr<Watcher>;
  struct Delivery {
    WatcherPtr watcher;
    FileEvent event = FileEvent::kModified;
    std::string name;
  };
  // Collected under the lock, delivered without it.
  using Deliveries = std::vector<Delivery>;

  std::optional<EnvFault> AskFault(EnvCallInfo info);
  // An error if the call is to fail.
  Result<void> Begin(EnvCall call, const std::filesystem::path& path);
  Result<void> Move(const std::filesystem::path& from, const std::filesystem::path& to,
                    bool replace);
  Result<std::unique_ptr<FileWatch>> AddWatch(WatcherPtr watcher);
  Result<void> Arm(const WatcherPtr& watcher, std::uint64_t epoch);
  void Disarm(const WatcherPtr& watcher) LS_REQUIRES(mu_);
  void RemoveTreeAt(const MemoryDisk::Place& at, Deliveries& deliveries) LS_REQUIRES(mu_);
  NanoTime Now() const { return clock_.Now(); }

  static void NoteEntry(const MemoryDisk::Place& at, Deliveries& deliveries);
  // The file was written, or (gone) lost its name: its one-shot watches have done their work.
  static void NoteNode(MemoryDisk::Node& node, FileEvent event, Deliveries& deliveries);
  void Deliver(const Deliveries& deliveries);

  const Clock& clock_;
  Mutex mu_{LockRank::kEnv};
  MemoryDisk disk_ LS_GUARDED_BY(mu_);
  std::mt19937_64 random_ LS_GUARDED_BY(mu_);
  std::uint64_t epoch_ LS_GUARDED_BY(mu_) = 0;  // How many crashes there were.
  std::uint64_t calls_ LS_GUARDED_BY(mu_) = 0;
  std::atomic<bool> losing_events_ = false;
  std::vector<std::weak_ptr<Watcher>> watchers_ LS_GUARDED_BY(mu_);
  // Shared with those who are calling it while it is replaced.
  std::shared_ptr<const FaultFunction> fault_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
