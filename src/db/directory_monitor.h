#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "base/sync.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// The functions are called from Start and from the monitor's task, one at a time; they must return
// at once. Paths begin with `directory` as it is given here.
struct DirectoryMonitorOptions {
  std::string directory;  // Absolute, without a slash at its end.
  bool recursive = false;
  // Whether a file of that name (the last part of its path) may be a database.
  std::function<bool(const std::string& name)> matches;
  // Whether a directory is nobody's business (a replica). Unset: none is. State directories
  // (`*-litestream`) never are.
  std::function<bool(const std::string& path)> skips;
  // A database is there. After an error it is asked again at the next rescan or write.
  std::function<Result<void>(const std::string& path)> add;
  // One that was added is there no more, or is no database any more.
  std::function<void(const std::string& path)> remove;
  // How long a new or written file is left alone before it is looked at.
  std::chrono::nanoseconds settle_time = std::chrono::milliseconds(250);
  // How often everything is looked at without an event: for network file systems, and for what
  // could not be watched.
  std::chrono::nanoseconds rescan_interval = std::chrono::seconds(60);
};

// Knows which databases are in a directory, and tells of those that come and go.
//
// Events are hints: one names a path, and what is at that path is looked at when its turn comes. So
// it does not matter in which order events arrive, how many are lost, or what they say.
//
// Invariants:
// 1. A directory is watched before it is listed: what the list lacks, an event tells. The same for
//    a file that is no database yet: it is watched, then its header is read once more.
// 2. For each path calls of `add` that succeed and calls of `remove` alternate, and tracked() holds
//    the paths between the two.
// 3. No file that this process has attached is opened, under whatever name, and neither is a -wal,
//    -shm or -journal: to close it would drop SQLite's locks.
// 4. A run of the task looks at kSlice paths, or lists one directory, and waits for nothing.
// 5. What is known ends with the directory that it was in; a tree that was renamed is found under
//    its new name as a new one.
// 6. A file that is replaced, and is a database before and after, stays: Database notices that by
//    itself. One that is replaced by something else is removed.
//
// Threads: Start, Stop and the rest by the owner; not while the task runs, but for Stop.
class DirectoryMonitor {
 public:
  static constexpr std::size_t kSlice = 256;
  // Paths that events may name before they are looked at; more count as lost events.
  static constexpr std::size_t kMaxEvents = 65'536;
  // Files that match and are no databases, each with a watch of its own. What is beyond is looked
  // at by rescans only.
  static constexpr std::size_t kMaxWatchedFiles = 4'096;
  // How often the directory is looked for while it is not there.
  static constexpr std::chrono::seconds kLookForDirectory{1};
  // How often a file that is still attached under an older name is looked at, a settle time apart.
  static constexpr int kMaxBusyTries = 40;

  DirectoryMonitor(Env& env, Scheduler& scheduler, DirectoryMonitorOptions options,
                   const Logger& log);
  ~DirectoryMonitor();
  DirectoryMonitor(const DirectoryMonitor&) = delete;
  DirectoryMonitor& operator=(const DirectoryMonitor&) = delete;

  // Watches the directory, then looks at everything that is in it, then follows the events.
  // `added` are databases that the owner has added itself. Once. Errors: of watching and listing
  // (kNotFound, kDenied, kNoSpace for inotify's limit); nothing runs then.
  Result<void> Start(const std::vector<std::string>& added);
  // Waits for a run that is under way. Nothing is added or removed any more.
  void Stop();

  // After Stop, or between two runs.
  std::vector<std::string> tracked() const;
  std::size_t watch_count() const;

 private:
  struct Directory {
    FileIdentity identity;
    std::unique_ptr<FileWatch> watch;  // Unset: it could not be watched.
  };
  // A file that matches and is not added.
  struct Candidate {
    FileStat seen;                     // When it was last looked at.
    std::unique_ptr<FileWatch> watch;  // For its next write.
    bool retry = false;                // Look again at the next occasion, changed or not.
    int busy_tries = 0;
  };
  struct Work {
    enum class Kind : unsigned char { kExamine, kList, kCheck, kRescanEnd };
    Kind kind = Kind::kExamine;
    std::string path;
  };

  NextRun Run(const Context& ctx);
  void TakeEvents();
  void Do(const Work& work);
  void BeginRescan();
  NextRun Next();

  void Examine(const std::string& path);
  void ExamineDirectory(const std::string& path, const FileStat& stat);
  void ExamineFile(const std::string& path, const FileStat& stat);
  void List(const std::string& directory);
  void Check(const std::string& path);
  void NotYet(const std::string& path, const FileStat& stat, const Error& why);
  Result<void> WatchCandidate(const std::string& path, Candidate& candidate);
  void Settle(const std::string& path);
  void Track(const std::string& path, const FileStat& stat);
  void Untrack(const std::string& path);
  void DropDirectory(const std::string& path);
  void QueueKnownBelow(const std::string& directory);

  bool IsRoot(const std::string& path) const { return path == options_.directory; }
  bool MayEnter(const std::string& path) const;
  bool MayBeDatabase(const std::string& path) const;
  FileEventCallback OnDirectory(const std::string& path);
  FileEventCallback OnFile(const std::string& path);
  void Note(const std::string& path, bool watch_spent);
  void Fail(const std::string& path, const Error& error);
  void Complain(const std::string& path, const Error& error);
  MonoTime Now() const { return scheduler_.clock().Monotonic(); }

  Env& env_;
  Scheduler& scheduler_;
  DirectoryMonitorOptions options_;
  Logger log_;

  // Only Start and the task touch these.
  std::map<std::string, Directory> directories_;
  std::map<std::string, FileIdentity> tracked_;
  std::map<std::string, Candidate> candidates_;
  std::deque<Work> work_;
  std::set<std::string> settling_;
  MonoTime settled_at_;  // Of all that settles: set by the first, not moved by the others.
  MonoTime next_rescan_;
  std::optional<MonoTime> look_for_directory_;  // Set while it is not there.
  bool rescanning_ = false;
  std::map<std::string, std::string> complaints_;  // What was logged last of a path.
  bool starting_ = false;
  std::optional<Error> start_error_;

  Mutex mu_{LockRank::kDatabase};
  // What events named, and whether the watch on it was used up by the event.
  std::map<std::string, bool> events_ LS_GUARDED_BY(mu_);
  bool events_lost_ LS_GUARDED_BY(mu_) = false;
  Task* waker_ LS_GUARDED_BY(mu_) = nullptr;

  std::unique_ptr<Task> task_;
};

}  // namespace litestream
