#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/memory_env.h"
#include "litestream/clock.h"
#include "tests/simulation/fiber.h"
#include "tests/simulation/posix_locks.h"
#include "tests/simulation/random.h"
#include "tests/simulation/shared_memory.h"
#include "tests/simulation/trace.h"

namespace litestream::sim {

class Process;

inline constexpr std::int64_t kForever = INT64_MAX;

using Nanos = std::chrono::nanoseconds;

// How likely things are that may happen in any call of a process. Per million calls.
struct FaultRates {
  std::uint64_t io_error = 0;    // EIO of a read, write or other call.
  std::uint64_t short_read = 0;  // A read gives less than asked for.
  std::uint64_t no_space = 0;    // ENOSPC of a write.
  std::uint64_t sync_error = 0;  // A sync fails, once; what it should have synced may be lost.
  std::uint64_t open_error = 0;  // EMFILE and its kin.
  std::uint64_t stall = 0;       // The process is not given a processor for a while.
  Nanos longest_stall{0};
  Nanos slowest_sync{3'000'000};  // Of a slow disk more. A commit is published only behind it.
  std::uint64_t lost_event = 0;   // Of a million file events.
};

struct Fault {
  std::uint64_t key = 0;  // Names it in a script: depends on who and which call, not on the rest.
  std::int64_t at_ns = 0;
  std::string who;
  std::string what;
};

// A wal-index that somebody has opened.
struct WalIndex {
  std::uint64_t shm_inode = 0;
  std::uint64_t database_inode = 0;
  std::string database_path;
};

// A thread of a simulated process.
struct Thread {
  Thread(Process& p, std::string n, std::function<void()> body)
      : process(p), name(std::move(n)), fiber(std::move(body)) {}
  Process& process;
  const std::string name;
  Fiber fiber;
  std::size_t slot = 0;
  std::uint64_t generation = 0;  // Of its entry in the queue; others are stale.
  bool interruptible = false;    // Its sleep ends when it is woken.
};

// The machine, its time and everything that runs on it, in one thread of ours. Whoever has the
// earliest time runs until its next call; time and order come from the seed alone.
class World {
 public:
  World(std::uint64_t seed, std::size_t trace_events);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::uint64_t seed() const { return seed_; }
  std::int64_t now_ns() const { return now_ns_; }
  // The time of day, which may jump.
  WallTime wall() const;
  void JumpWall(std::chrono::milliseconds by) { wall_jump_ += by; }
  MemoryEnv& disk() { return *disk_; }
  PosixLocks& locks() { return locks_; }
  SharedMemory& memory() { return memory_; }
  Trace& trace() { return trace_; }
  void Note(std::string_view who, std::string_view what, std::string_view text, std::uint64_t a = 0,
            std::uint64_t b = 0) {
    trace_.Add(now_ns_, who, what, text, a, b);
  }

  // --- Processes. ---
  // `main` is its first thread; when all threads have ended, the process is gone.
  Process& Start(std::string name, const FaultRates& rates, std::function<void(Process&)> main);
  bool Alive(std::uint32_t pid) const;
  Process* Find(std::uint32_t pid);  // Null: it has ended.
  // Happens before anybody runs again: the caller must not go on without a call of Pause.
  void Crash(std::uint32_t pid);
  void PowerFailure(std::uint64_t seed);
  std::uint64_t boots() const { return boots_; }

  // --- For threads. ---
  Thread* current() { return current_; }
  Thread& Spawn(Process& process, std::string name, std::function<void()> body);
  // Lets the current thread sleep, others run. Interruptible: until it is woken at the latest.
  void SleepUntil(std::int64_t at_ns, bool interruptible);
  void Park() { SleepUntil(kForever, true); }
  void Wake(Thread& thread);
  void WaitForExit(std::uint32_t pid);

  // Ends all processes; nothing happens any more.
  void End();

  // Runs until `until_ns`, or until there is nothing to do or something has failed.
  void Run(std::int64_t until_ns);

  // --- Verdict. ---
  // The first one counts.
  void Fail(std::string what);
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }

  // --- Faults. ---
  void SetFaultsEnabled(bool enabled) { faults_enabled_ = enabled; }
  bool faults_enabled() const { return faults_enabled_; }
  // A script: only faults with these keys happen.
  void SetScript(std::set<std::uint64_t> keys) { script_ = std::move(keys); }
  // Notes the fault; false if it must not happen.
  bool Happens(std::uint64_t key, std::string_view who, std::string_view what);
  const std::vector<Fault>& faults() const { return faults_; }
  // A sync failed, and later the power: what the kernel could not write is gone, and whoever synced
  // again was told that it is there. (SQLite's own files suffer, too.)
  bool LostSyncedData() const;
  void FillDiskUntil(std::int64_t at_ns) { disk_full_until_ns_ = at_ns; }
  bool disk_full() const { return faults_enabled_ && now_ns_ < disk_full_until_ns_; }
  // The next call of the disk fails like this.
  void FailNextDiskCall(const EnvFault& fault) { next_disk_fault_ = fault; }

  void SetOnWalIndex(std::function<void(const WalIndex&)> then) { on_wal_index_ = std::move(then); }
  void OnWalIndex(const WalIndex& index) {
    if (on_wal_index_) on_wal_index_(index);
  }
  // Killed, and not ended by itself.
  bool HasDied(std::uint32_t pid) const { return died_.contains(pid); }
  // The disk has lost what was not synced, the dead have not unwound yet.
  void SetOnPowerFailure(std::function<void()> then) { on_power_failure_ = std::move(then); }
  // Called before anybody else may run: the model looks at what is published.
  void SetObserver(std::function<void()> observer) { observer_ = std::move(observer); }
  void Observe() {
    if (observer_) observer_();
  }

 private:
  friend class Process;
  class WorldClock;
  struct Entry {
    std::int64_t at_ns;
    std::uint64_t tie;
    std::uint64_t generation;
    std::size_t slot;
    bool operator>(const Entry& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : tie > other.tie;
    }
  };

  void Enqueue(Thread& thread, std::int64_t at_ns);
  void RunThread(Thread& thread);
  void HandleCrashes();
  void Kill(std::vector<std::uint32_t> pids, const std::vector<std::uint64_t>& power_failures);
  void Unwind(Process& process);
  void EndThread(Thread& thread);

  const std::uint64_t seed_;
  Random order_;
  std::int64_t now_ns_ = 0;
  std::int64_t until_ns_ = 0;
  std::chrono::milliseconds wall_jump_{0};
  std::unique_ptr<WorldClock> clock_;
  std::unique_ptr<MemoryEnv> disk_;
  PosixLocks locks_;
  SharedMemory memory_;
  Trace trace_;
  std::string failure_;
  std::vector<Fault> faults_;
  std::optional<std::set<std::uint64_t>> script_;
  std::set<std::uint32_t> died_;
  bool faults_enabled_ = true;
  std::int64_t disk_full_until_ns_ = 0;
  std::uint64_t boots_ = 0;
  std::function<void()> observer_;
  std::function<void()> on_power_failure_;
  std::function<void(const WalIndex&)> on_wal_index_;

  std::map<std::uint32_t, std::unique_ptr<Process>> processes_;
  std::uint32_t last_pid_ = 0;
  std::map<std::string, std::uint32_t> incarnations_;
  std::vector<std::uint32_t> to_crash_;
  std::vector<std::uint64_t> power_failures_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
  std::vector<Thread*> slots_;  // Null: free.
  std::uint64_t last_generation_ = 0;
  Thread* current_ = nullptr;
  std::vector<Thread*> exit_waiters_;
  std::optional<EnvFault> next_disk_fault_;
};

}  // namespace litestream::sim
