#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/env.h"
#include "base/memory_env.h"
#include "base/scheduler.h"
#include "tests/simulation/world.h"

namespace litestream::sim {

class Vfs;

// What kind of work a call is: how long it takes, and how it may fail.
enum class Cost : std::uint8_t { kInstant, kRead, kWrite, kSync, kOpen, kOther };

// What the kernel takes back when a process dies.
class Resource {
 public:
  virtual ~Resource() = default;
  virtual void OwnerDied() = 0;
};

// A simulated process: its threads, its view of the machine, its own locks and open files. It dies
// between two calls: from then on every call fails without effect, time flies, and its threads
// run on until they have unwound; nobody else runs meanwhile.
class Process {
 public:
  Process(World& world, std::uint32_t pid, std::string name, std::uint64_t seed,
          const FaultRates& rates);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  World& world() { return world_; }
  std::uint32_t pid() const { return pid_; }
  const std::string& name() const { return name_; }
  bool dead() const { return dead_; }
  Random& dice() { return dice_; }  // For what the process itself decides.

  Env& env();
  const Clock& clock() const;
  Scheduler& scheduler();
  Vfs& vfs();  // Its SQLite; registered while the process lives.

  // It is no process of the machine, and survives its power failures.
  void SetOutsideMachine() { outside_machine_ = true; }
  bool outside_machine() const { return outside_machine_; }

  // Asked to end in an orderly way.
  std::stop_token stopping() const { return stop_.get_token(); }
  void RequestStop();

  // Every call of the system begins here: others may run, the process may die, and an answer makes
  // the call fail.
  std::optional<EnvFault> Enter(std::string_view what, std::string_view text, Cost cost,
                                std::uint64_t a = 0, std::uint64_t b = 0);
  // How many of so many bytes the read that was just entered gives.
  std::size_t ReadLength(std::size_t bytes);
  std::uint64_t calls() const { return calls_; }
  // Dies in the n-th call from now (1: the next).
  void CrashInCall(std::uint64_t n) { crash_at_ = calls_ + n; }
  // Dies when its next sync is done, before anything follows from it: of a commit, the frames are
  // there and nobody has published them.
  void CrashInSync() { crash_in_sync_ = true; }
  // The power fails in its next sync of a file or directory whose name ends like this.
  void FailPowerInSync(std::string name_end, std::uint64_t seed) {
    power_in_sync_ = {std::move(name_end), seed};
  }
  // From the n-th call on the disk is gone for so long.
  void LoseDiskInCall(std::uint64_t n, Nanos duration) {
    outage_at_ = calls_ + n;
    outage_ns_ = duration.count();
  }
  bool DiesInNextCall() const { return calls_ + 1 == crash_at_; }
  // How long it was kept from running by injected stalls, all in all.
  std::int64_t stalled_ns() const { return stalled_ns_; }
  std::uint64_t injected_faults() const { return injected_; }
  const FaultRates& rates() const { return rates_; }
  // Whether the fault with this name may happen now; notes it.
  bool Happens(std::uint64_t key, std::string_view what);

  // Sleeps, for a thread of this process. Ends early when stopped, or at once when dead.
  void Sleep(Nanos duration, const std::stop_token& stop = {});
  Thread& Spawn(std::string name, std::function<void()> body);

  void Add(Resource& resource) { resources_.push_back(&resource); }
  void Drop(Resource& resource) { std::erase(resources_, &resource); }

 private:
  friend class World;
  class ProcessClock;

  void Die();
  std::int64_t Latency(Cost cost, Random& dice);

  World& world_;
  const std::uint32_t pid_;
  const std::string name_;
  const std::uint64_t seed_;
  const FaultRates rates_;
  Random dice_;
  bool dead_ = false;
  bool outside_machine_ = false;
  std::uint64_t calls_ = 0;
  std::uint64_t crash_at_ = UINT64_MAX;
  bool crash_in_sync_ = false;
  std::optional<std::pair<std::string, std::uint64_t>> power_in_sync_;
  std::uint64_t outage_at_ = UINT64_MAX;
  std::int64_t outage_ns_ = 0;
  std::int64_t outage_until_ns_ = 0;
  std::int64_t stalled_ns_ = 0;
  std::uint64_t injected_ = 0;
  mutable std::int64_t dead_ns_ = 0;  // What its clock has run ahead since it died.
  std::stop_source stop_;
  std::vector<Resource*> resources_;
  std::unique_ptr<ProcessClock> clock_;
  std::unique_ptr<Env> env_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Vfs> vfs_;
  std::vector<std::unique_ptr<Thread>> threads_;
};

std::unique_ptr<Env> MakeProcessEnv(Process& process);
std::unique_ptr<Scheduler> MakeProcessScheduler(Process& process);

}  // namespace litestream::sim
