#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/callback_gate.h"
#include "base/env.h"
#include "base/fd.h"
#include "base/sync.h"

namespace litestream {

// All watches of the process on one inotify descriptor, read by one thread, both made by the first
// watch. The watches that it hands out must go before it does.
//
// The kernel has one watch per inode and descriptor, named by a number (wd). So the table says for
// each wd which of our watches stand on it; they may have come through different paths.
class PosixWatcher {
 public:
  PosixWatcher() = default;
  PosixWatcher(const PosixWatcher&) = delete;
  PosixWatcher& operator=(const PosixWatcher&) = delete;

  Result<std::unique_ptr<FileWatch>> WatchFile(const std::filesystem::path& path,
                                               FileEventCallback callback);
  Result<std::unique_ptr<FileWatch>> WatchDirectory(const std::filesystem::path& path,
                                                    FileEventCallback callback);
  Result<std::unique_ptr<FileWatch>> WatchEntries(const std::filesystem::path& path,
                                                  std::vector<std::string> names,
                                                  FileEventCallback callback);

 private:
  class Handle;
  struct Watch {
    Watch(std::string p, bool dir, std::vector<std::string> entries, FileEventCallback callback)
        : path(std::move(p)),
          directory(dir),
          names(std::move(entries)),
          gate(std::move(callback)) {}
    const std::string path;  // There are many; a std::filesystem::path is six times as large.
    const bool directory;
    const std::vector<std::string> names;  // Of a directory: only these entries; none: all.
    CallbackGate gate;
    // Guarded by the watcher's mutex.
    int wd = -1;  // -1: not armed.
    FileIdentity identity;
  };
  // Shared, because an event may be on its way to a watch while its owner destroys it.
  using WatchPtr = std::shared_ptr<Watch>;
  // One kernel watch.
  struct Mark {
    std::vector<WatchPtr> watches;  // On the file, or on all entries.
    std::unordered_map<std::string, std::vector<WatchPtr>> named;
    bool empty() const { return watches.empty() && named.empty(); }
  };
  struct Event {
    int wd = -1;
    unsigned mask = 0;
    std::string name;
  };

  Result<std::unique_ptr<FileWatch>> Add(const WatchPtr& watch);
  Result<void> Start() LS_REQUIRES(mu_);
  Result<void> Arm(const WatchPtr& watch);
  void Disarm(Watch& watch) LS_REQUIRES(mu_);
  std::vector<WatchPtr> WatchesOf(const Event& event, bool& entry) LS_REQUIRES(mu_);
  void Remove(Watch& watch);
  void Run(const std::stop_token& stop);
  void Dispatch(const Event& event);
  void DispatchSelf(const Event& event, const WatchPtr& watch);
  void DispatchOverflow();

  Mutex mu_{LockRank::kWatcher};
  Fd inotify_;  // Set once, under mu_, before the thread starts.
  Fd wake_;
  std::unordered_map<int, Mark> by_wd_ LS_GUARDED_BY(mu_);
  std::unordered_map<Watch*, WatchPtr> all_ LS_GUARDED_BY(mu_);
  std::jthread thread_;
};

}  // namespace litestream
