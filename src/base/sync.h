#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#if defined(__clang__)
#define LS_TSA(x) __attribute__((x))
#else
#define LS_TSA(x)
#endif
#define LS_GUARDED_BY(m) LS_TSA(guarded_by(m))
#define LS_REQUIRES(...) LS_TSA(requires_capability(__VA_ARGS__))
#define LS_EXCLUDES(...) LS_TSA(locks_excluded(__VA_ARGS__))

namespace litestream {

// Locks are taken in ascending rank. A thread that holds a lock may take only one of a higher rank;
// debug builds abort otherwise.
enum class LockRank : int {
  kStore = 10,      // db/: the set of databases
  kDatabase = 20,   // db/: one database's published state
  kReplica = 30,    // db/: one replica's queue and health
  kLimiter = 35,    // storage/: whose turn it is
  kScheduler = 40,  // base/: ready queues and timers
  kTask = 50,       // base/: one task's state
  kWatcher = 60,    // base/: the table of watches
  kStorage = 70,    // storage/, backend/: clients
  kEnv = 80,        // base/: the in-memory file system
  kMetrics = 90,    // base/: counters
  kLog = 100,       // base/: the log sink
  kLeaf = 110,      // anything that calls nothing
};

class LS_TSA(capability("mutex")) Mutex {
 public:
  explicit Mutex(LockRank rank = LockRank::kLeaf) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void lock() LS_TSA(acquire_capability());
  void unlock() LS_TSA(release_capability());

 private:
  std::mutex mu_;
  LockRank rank_;
};

class LS_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mu) LS_TSA(acquire_capability(mu)) : mu_(mu) { mu_.lock(); }
  ~MutexLock() LS_TSA(release_capability()) { mu_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

class CondVar {
 public:
  void NotifyAll() { cv_.notify_all(); }
  void NotifyOne() { cv_.notify_one(); }

  // Returns true when `ready()` holds; false when `stop` was requested or `timeout` passed.
  template <typename Ready>
  bool WaitFor(Mutex& mu, const std::stop_token& stop, std::chrono::nanoseconds timeout,
               Ready ready) LS_REQUIRES(mu) {
    return cv_.wait_for(mu, stop, timeout, std::move(ready));
  }
  // The same without a timeout.
  template <typename Ready>
  bool Wait(Mutex& mu, const std::stop_token& stop, Ready ready) LS_REQUIRES(mu) {
    return cv_.wait(mu, stop, std::move(ready));
  }

 private:
  std::condition_variable_any cv_;
};

}  // namespace litestream
