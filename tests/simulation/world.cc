#include "tests/simulation/world.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "tests/simulation/process.h"

namespace litestream::sim {
namespace {

// 2026-01-01 00:00:00 UTC.
constexpr WallTime kWallStart{std::chrono::milliseconds(1'767'225'600'000)};
// A dead process that still runs after so many turns of each of its threads hangs.
constexpr int kMaxUnwindRounds = 10'000;

}  // namespace

// The disk's own, for the times of files.
class World::WorldClock final : public Clock {
 public:
  explicit WorldClock(const World& world) : world_(world) {}
  WallTime Now() const override { return world_.wall(); }
  MonoTime Monotonic() const override { return MonoTime(Nanos(world_.now_ns())); }
  void Wait(const std::stop_token& /*stop*/, Nanos /*duration*/) const override {}

 private:
  const World& world_;
};

World::World(std::uint64_t seed, std::size_t trace_events)
    : seed_(seed),
      order_(Mix(seed, 2)),
      clock_(std::make_unique<WorldClock>(*this)),
      disk_(std::make_unique<MemoryEnv>(*clock_, Mix(seed, 3))),
      trace_(trace_events) {
  disk_->SetFault(
      [this](const EnvCallInfo&) { return std::exchange(next_disk_fault_, std::nullopt); });
}

World::~World() {
  End();
}

void World::End() {
  observer_ = nullptr;
  std::vector<std::uint32_t> all;
  for (const auto& [pid, process] : processes_) all.push_back(pid);
  Kill(all, {});
}

WallTime World::wall() const {
  return kWallStart + wall_jump_ + std::chrono::floor<std::chrono::milliseconds>(Nanos(now_ns_));
}

// --- Threads. ---

Thread& World::Spawn(Process& process, std::string name, std::function<void()> body) {
  auto thread = std::make_unique<Thread>(process, std::move(name), std::move(body));
  Thread& t = *thread;
  const auto free = std::ranges::find(slots_, nullptr);
  t.slot = static_cast<std::size_t>(free - slots_.begin());
  if (free == slots_.end()) slots_.push_back(nullptr);
  slots_[t.slot] = &t;
  process.threads_.push_back(std::move(thread));
  Enqueue(t, now_ns_);
  return t;
}

void World::Enqueue(Thread& thread, std::int64_t at_ns) {
  thread.generation = ++last_generation_;
  if (at_ns == kForever) return;
  queue_.push({.at_ns = std::max(at_ns, now_ns_),
               .tie = order_.Next(),
               .generation = thread.generation,
               .slot = thread.slot});
}

void World::SleepUntil(std::int64_t at_ns, bool interruptible) {
  Thread& self = *current_;
  if (self.process.dead()) {
    if (interruptible) Fiber::Suspend();  // Until the others of its process have had a turn.
    return;
  }
  const bool alone = to_crash_.empty() && power_failures_.empty() && at_ns <= until_ns_ &&
                     !failed() && (queue_.empty() || at_ns < queue_.top().at_ns);
  if (alone) {
    now_ns_ = std::max(now_ns_, at_ns);
    return;
  }
  self.interruptible = interruptible;
  Enqueue(self, at_ns);
  Fiber::Suspend();
  self.interruptible = false;
}

void World::Wake(Thread& thread) {
  if (!thread.interruptible || thread.process.dead()) return;
  thread.interruptible = false;
  // The scheduler of the real machine takes its time, too.
  Enqueue(thread, now_ns_ + static_cast<std::int64_t>(order_.Below(20'000)));
}

bool World::LostSyncedData() const {
  const auto is = [](std::string_view what) {
    return [what](const Fault& fault) { return fault.what.starts_with(what); };
  };
  const auto failed = std::ranges::find_if(faults_, is("sync error"));
  return std::find_if(failed, faults_.end(), is("power failure")) != faults_.end();
}

void World::WaitForExit(std::uint32_t pid) {
  while (Alive(pid) && !current_->process.dead()) {
    exit_waiters_.push_back(current_);
    Park();
    std::erase(exit_waiters_, current_);
  }
}

void World::RunThread(Thread& thread) {
  current_ = &thread;
  thread.fiber.Resume();
  current_ = nullptr;
  if (thread.fiber.done()) EndThread(thread);
}

void World::EndThread(Thread& thread) {
  Process& process = thread.process;
  slots_[thread.slot] = nullptr;
  std::erase_if(process.threads_, [&](const auto& t) { return t.get() == &thread; });
  if (!process.threads_.empty()) return;
  Note(process.name(), process.dead() ? "died" : "exit", "", process.pid());
  if (process.dead()) died_.insert(process.pid());
  locks_.Die(process.pid());
  processes_.erase(process.pid());
  for (Thread* const waiter : std::exchange(exit_waiters_, {})) Wake(*waiter);
}

void World::Run(std::int64_t until_ns) {
  until_ns_ = until_ns;
  while (!failed()) {
    HandleCrashes();
    if (failed() || queue_.empty()) break;
    const Entry entry = queue_.top();
    Thread* const thread = slots_[entry.slot];
    if (thread == nullptr || thread->generation != entry.generation) {
      queue_.pop();
      continue;
    }
    if (entry.at_ns > until_ns) break;
    queue_.pop();
    now_ns_ = std::max(now_ns_, entry.at_ns);
    RunThread(*thread);
  }
  if (!failed()) now_ns_ = std::max(now_ns_, until_ns);
}

// --- Processes. ---

Process& World::Start(std::string name, const FaultRates& rates,
                      std::function<void(Process&)> main) {
  const std::uint32_t pid = ++last_pid_;
  const std::uint32_t incarnation = ++incarnations_[name];
  const std::uint64_t seed = Mix(Mix(seed_, HashOf(name)), incarnation);
  auto made = std::make_unique<Process>(*this, pid, std::move(name), seed, rates);
  Process& process = *made;
  processes_[pid] = std::move(made);
  Note(process.name(), "start", "", pid, incarnation);
  Spawn(process, "main", [main = std::move(main), &process] { main(process); });
  return process;
}

bool World::Alive(std::uint32_t pid) const {
  return processes_.contains(pid);
}

Process* World::Find(std::uint32_t pid) {
  const auto it = processes_.find(pid);
  return it == processes_.end() ? nullptr : it->second.get();
}

void World::Crash(std::uint32_t pid) {
  to_crash_.push_back(pid);
}

void World::PowerFailure(std::uint64_t seed) {
  power_failures_.push_back(seed);
}

void World::HandleCrashes() {
  while (!to_crash_.empty() || !power_failures_.empty()) {
    const auto failures = std::exchange(power_failures_, {});
    auto pids = std::exchange(to_crash_, {});
    if (!failures.empty()) {
      pids.clear();
      for (const auto& [pid, process] : processes_) {
        if (!process->outside_machine()) pids.push_back(pid);
      }
    }
    Kill(std::move(pids), failures);
  }
}

void World::Kill(std::vector<std::uint32_t> pids,
                 const std::vector<std::uint64_t>& power_failures) {
  Observe();
  std::erase_if(pids, [this](std::uint32_t pid) { return !Alive(pid); });
  for (const std::uint32_t pid : pids) {
    Process& process = *processes_[pid];
    if (!process.dead()) process.Die();
  }
  for (const std::uint64_t seed : power_failures) {
    Note("machine", "power failure", "", seed);
    disk_->Crash(seed);
    memory_.ClearAll();
    ++boots_;
    if (on_power_failure_) on_power_failure_();
  }
  for (const std::uint32_t pid : pids) {
    if (Alive(pid)) Unwind(*processes_[pid]);
  }
}

void World::Unwind(Process& process) {
  const std::uint32_t pid = process.pid();
  for (int round = 0; Alive(pid); ++round) {
    if (round == kMaxUnwindRounds) {
      // Nothing can be torn down any more.
      std::fprintf(stderr, "simulator: seed %llu: dead process %s does not end\n%s",
                   static_cast<unsigned long long>(seed_), process.name().c_str(),
                   trace_.Last(50).c_str());
      std::abort();
    }
    std::vector<Thread*> turn;
    for (const auto& thread : process.threads_) turn.push_back(thread.get());
    for (Thread* const thread : turn) {
      if (!Alive(pid)) return;
      const bool there =
          std::ranges::any_of(process.threads_, [&](const auto& t) { return t.get() == thread; });
      if (there) RunThread(*thread);
    }
  }
}

// --- Verdict and faults. ---

void World::Fail(std::string what) {
  if (failed()) return;
  Note("checker", "FAILED", what);
  failure_ = std::move(what);
}

bool World::Happens(std::uint64_t key, std::string_view who, std::string_view what) {
  if (script_ && !script_->contains(key)) return false;
  Note(who, "fault", what);
  faults_.push_back(
      {.key = key, .at_ns = now_ns_, .who = std::string(who), .what = std::string(what)});
  return true;
}

}  // namespace litestream::sim
