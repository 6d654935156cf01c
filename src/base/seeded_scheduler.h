#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/manual_clock.h"
#include "base/scheduler.h"
#include "base/sync.h"

namespace litestream {

// Runs all tasks in the thread that calls it. The seed decides which of the ready tasks is next, so
// a failing order can be repeated; the clock moves only when nothing is left to do. Borrows it.
//
// Tasks may be started, woken and ended by tasks, also by themselves.
class SeededScheduler final : public Scheduler {
 public:
  // A guard against tasks that never come to rest.
  static constexpr std::size_t kDefaultMaxRuns = 1'000'000;

  SeededScheduler(std::uint64_t seed, ManualClock& clock);

  std::unique_ptr<Task> Start(Pool pool, std::string name, TaskFunction function) override;
  const Clock& clock() const override { return clock_; }

  // Runs one task that is ready or due. False if there is none.
  bool RunOne();
  // Runs until no task is ready or due at the present time. Returns the number of runs; if that is
  // `max_runs`, it was cut short.
  std::size_t RunUntilIdle(std::size_t max_runs = kDefaultMaxRuns);
  // The same for a stretch of time: when all is quiet, the clock jumps to the next timer, and in
  // the end to the end of the stretch.
  std::size_t RunFor(std::chrono::nanoseconds duration, std::size_t max_runs = kDefaultMaxRuns);

 private:
  struct Job;
  class Handle;

  std::shared_ptr<Job> Pick();
  void Wake(Job& job);
  // False if it is running, which is then our caller.
  bool End(Job& job);

  ManualClock& clock_;
  Mutex mu_{LockRank::kScheduler};
  std::mt19937_64 random_ LS_GUARDED_BY(mu_);
  // In the order of their start. Shared, because a task may end itself while it runs.
  std::vector<std::shared_ptr<Job>> jobs_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
