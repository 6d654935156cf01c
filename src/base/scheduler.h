#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "litestream/clock.h"
#include "litestream/context.h"
#include "litestream/types.h"

namespace litestream {

// Which threads run a task. Captures must not queue behind uploads, nor uploads behind merges and
// snapshots, which may take long. What follows directories has a thread of its own: a thousand
// captures may be due at once.
enum class Pool : unsigned char { kCapture, kIo, kUpkeep, kDirectory };

// When a task wants to run again: at `at`, or (unset) only when woken. A time in the past means as
// soon as the others had their turn.
struct NextRun {
  std::optional<MonoTime> at;
  static NextRun WhenWoken() { return {}; }
  static NextRun At(MonoTime time) { return {.at = time}; }
};

// A task does bounded work and returns. It never runs concurrently with itself. It must not wait
// longer than 50 ms for anything; it says when it wants to run again instead.
using TaskFunction = std::function<NextRun(const Context& ctx)>;

// Handle of a running task.
class Task {
 public:
  // Stops it.
  virtual ~Task() = default;
  // Asks the task to stop, and waits until it is not running. It is not run again; Wake does
  // nothing from then on.
  virtual void Stop() = 0;
  // Run soon, whatever NextRun said. A wake during a run causes another run. Cheap; callable from
  // any thread and with any lock below LockRank::kScheduler held.
  virtual void Wake() = 0;
};

// Runs tasks: the real one on a fixed number of threads, the test one in the caller's thread in an
// order that a seed decides, with a clock that jumps from event to event.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  // Starts a task; its first run is soon. Tasks must end before the scheduler.
  virtual std::unique_ptr<Task> Start(Pool pool, std::string name, TaskFunction function) = 0;
  virtual const Clock& clock() const = 0;
};

struct PoolSizes {
  int capture_threads = 0;  // 0: one per core.
  int io_threads = 0;       // 0: 8.
  int upkeep_threads = 0;   // 0: 2.
};
std::unique_ptr<Scheduler> MakePoolScheduler(const PoolSizes& sizes,
                                             const Clock& clock = Clock::Real());

}  // namespace litestream
