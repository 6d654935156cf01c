#include "tests/simulation/process.h"

#include <utility>

#include "tests/simulation/vfs.h"

namespace litestream::sim {
namespace {

// Not zero, so that code may go back from it.
constexpr MonoTime kMonoStart{std::chrono::hours(24)};
constexpr std::uint64_t kAlways = 1'000'000;

}  // namespace

class Process::ProcessClock final : public Clock {
 public:
  explicit ProcessClock(Process& process) : process_(process) {}
  WallTime Now() const override { return process_.world_.wall(); }
  MonoTime Monotonic() const override {
    return kMonoStart + Nanos(process_.world_.now_ns() + process_.dead_ns_);
  }
  void Wait(const std::stop_token& stop, Nanos duration) const override {
    process_.Sleep(duration, stop);
  }

 private:
  Process& process_;
};

Process::Process(World& world, std::uint32_t pid, std::string name, std::uint64_t seed,
                 const FaultRates& rates)
    : world_(world),
      pid_(pid),
      name_(std::move(name)),
      seed_(seed),
      rates_(rates),
      dice_(Mix(seed, 1)),
      clock_(std::make_unique<ProcessClock>(*this)),
      env_(MakeProcessEnv(*this)),
      scheduler_(MakeProcessScheduler(*this)),
      vfs_(std::make_unique<Vfs>(*this)) {}

Process::~Process() = default;

Env& Process::env() {
  return *env_;
}

const Clock& Process::clock() const {
  return *clock_;
}

Scheduler& Process::scheduler() {
  return *scheduler_;
}

Vfs& Process::vfs() {
  return *vfs_;
}

void Process::RequestStop() {
  world_.Note(name_, "stop", "");
  stop_.request_stop();
}

std::int64_t Process::Latency(Cost cost, Random& dice) {
  std::int64_t ns = 0;
  switch (cost) {
    case Cost::kInstant:
      ns = 200 + static_cast<std::int64_t>(dice.Below(800));
      break;
    case Cost::kRead:
    case Cost::kWrite:
    case Cost::kOpen:
    case Cost::kOther:
      ns = 1'000 + static_cast<std::int64_t>(dice.Below(9'000));
      break;
    case Cost::kSync:
      ns = 100'000 + static_cast<std::int64_t>(
                         dice.Below(static_cast<std::uint64_t>(rates_.slowest_sync.count())));
      break;
  }
  if (world_.faults_enabled() && rates_.stall > 0 && dice.PerMillion(rates_.stall)) {
    // Mostly short: the length is drawn evenly over its magnitude.
    std::int64_t stall = rates_.longest_stall.count() >> dice.Below(12);
    stall = static_cast<std::int64_t>(dice.Below(static_cast<std::uint64_t>(stall) + 1));
    if (Happens(Mix(seed_, Mix(calls_, 77)), "stall")) {
      stalled_ns_ += stall;
      ns += stall;
    }
  }
  return ns;
}

bool Process::Happens(std::uint64_t key, std::string_view what) {
  if (!world_.Happens(Mix(seed_, key), name_, what)) return false;
  ++injected_;
  return true;
}

std::optional<EnvFault> Process::Enter(std::string_view what, std::string_view text, Cost cost,
                                       std::uint64_t a, std::uint64_t b) {
  if (dead_) return EnvFault{};
  ++calls_;
  world_.Observe();
  world_.Note(name_, what, text, a, b);
  Random dice(Mix(seed_, calls_));
  if (calls_ >= crash_at_) {
    crash_at_ = UINT64_MAX;
    if (world_.faults_enabled() && Happens(Mix(calls_, 99), "crash")) world_.Crash(pid_);
  }
  world_.SleepUntil(world_.now_ns() + Latency(cost, dice), false);
  if (!dead_ && cost == Cost::kSync && std::exchange(crash_in_sync_, false) &&
      world_.faults_enabled() && Happens(Mix(calls_, 98), "crash in sync")) {
    world_.Crash(pid_);
    world_.SleepUntil(world_.now_ns(), false);
  }
  if (!dead_ && cost == Cost::kSync && power_in_sync_ && text.ends_with(power_in_sync_->first)) {
    const auto failure = std::exchange(power_in_sync_, std::nullopt);
    if (world_.faults_enabled() && Happens(Mix(calls_, 97), "power failure in sync")) {
      world_.PowerFailure(failure->second);
      world_.SleepUntil(world_.now_ns(), false);
    }
  }
  if (dead_) return EnvFault{};
  if (!world_.faults_enabled() || cost == Cost::kInstant) return std::nullopt;
  const auto happens = [&](std::uint64_t rate, std::string_view kind) {
    return rate > 0 && dice.PerMillion(rate) && Happens(Mix(calls_, HashOf(kind)), kind);
  };
  if (cost == Cost::kWrite) {
    const std::size_t part = dice.OneIn(2) ? 0 : dice.Below(b + 1);
    if (world_.disk_full()) {
      ++injected_;
      return EnvFault{.code = ErrorCode::kNoSpace, .written_bytes = part};
    }
    if (happens(rates_.no_space, "no space")) {
      return EnvFault{.code = ErrorCode::kNoSpace, .written_bytes = part};
    }
    if (happens(rates_.io_error, "write error")) return EnvFault{.written_bytes = part};
  }
  if (cost == Cost::kSync && happens(rates_.sync_error, "sync error")) return EnvFault{};
  if (cost == Cost::kOpen && happens(rates_.open_error, "open error")) return EnvFault{};
  if (calls_ >= outage_at_) {
    outage_at_ = UINT64_MAX;
    outage_until_ns_ = world_.now_ns() + outage_ns_;
  }
  // A sync that fails loses what others have written, and does not tell them; that is another
  // fault.
  const bool outage = world_.now_ns() < outage_until_ns_ && cost != Cost::kSync;
  if (outage && happens(kAlways, "outage")) return EnvFault{};
  if ((cost == Cost::kRead || cost == Cost::kOther) && happens(rates_.io_error, "io error")) {
    return EnvFault{};
  }
  return std::nullopt;
}

std::size_t Process::ReadLength(std::size_t bytes) {
  if (dead_ || !world_.faults_enabled() || rates_.short_read == 0) return bytes;
  Random dice(Mix(seed_, Mix(calls_, 78)));
  if (!dice.PerMillion(rates_.short_read) || !Happens(Mix(calls_, 78), "short read")) return bytes;
  return dice.Below(bytes + 1);
}

void Process::Sleep(Nanos duration, const std::stop_token& stop) {
  if (dead_) {
    dead_ns_ += duration.count() > 0 ? duration.count() : 0;
    // It may wait for another thread, which has to unwind first.
    world_.SleepUntil(world_.now_ns() + 1, true);
    return;
  }
  if (stop.stop_requested()) return;
  const std::int64_t until = world_.now_ns() + (duration.count() > 0 ? duration.count() : 0);
  Thread& self = *world_.current();
  const std::stop_callback wake(stop, [this, &self] { world_.Wake(self); });
  do {
    world_.SleepUntil(until, true);
  } while (!dead_ && world_.now_ns() < until && !stop.stop_requested());
}

Thread& Process::Spawn(std::string name, std::function<void()> body) {
  return world_.Spawn(*this, std::move(name), std::move(body));
}

void Process::Die() {
  dead_ = true;
  for (Resource* const resource : std::exchange(resources_, {})) resource->OwnerDied();
  world_.locks().Die(pid_);
  stop_.request_stop();
}

}  // namespace litestream::sim
