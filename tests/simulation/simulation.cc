#include "tests/simulation/simulation.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "tests/simulation/town.h"
#include "tests/simulation/vfs.h"

namespace litestream::sim {
namespace {

// Work without trouble, so that what was held up goes on.
constexpr std::int64_t kCalmNs = 30'000'000'000;
// The longest that an attempt after a failure may wait is 5 minutes, and after it there is work.
constexpr std::int64_t kCatchUpNs = 420'000'000'000;
constexpr std::int64_t kSilenceNs = 600'000'000'000;
constexpr int kRestoresAtTheEnd = 6;
// A run with much work ends earlier: it shows more in its first minutes than others in hours.
constexpr std::uint64_t kMostStoredBytes = 64U << 20U;
constexpr std::int64_t kSliceNs = 5'000'000'000;
// Of all processes together, when nobody wants anything: a test of the WAL now and then, scrubbing.
constexpr std::uint64_t kMostIdleEvents = 20'000;

void CheckCaughtUp(World& world, Town& town) {
  if (world.failed() || town.model().newest() == 0) return;
  const auto newest = town.checker().NewestState();
  const Model::Number last = town.model().newest();
  if (!newest) {
    world.Fail("nothing can be restored although all was quiet");
    return;
  }
  if (town.model().Equal(*newest, last)) return;
  world.Fail(fmt::format("did not catch up: the replica has state {}, the database is at {}: {}",
                         *newest, last,
                         Difference(town.model().state(*newest), town.model().state(last))));
}

// Nobody reads any more, so all that is due is checkpointed.
void CheckWalIsSmall(World& world, Town& town, const Plan& plan) {
  if (world.failed()) return;
  const std::uint32_t left = town.model().FramesToCheckpoint();
  const bool by_time = plan.checkpoint.interval.count() > 0;
  if (left == 0 || (!by_time && left < plan.checkpoint.min_pages)) return;
  world.Fail(fmt::format("{} frames were never checkpointed", left));
}

}  // namespace

RunResult RunSimulation(const RunOptions& options) {
  SeedSqlite(options.seed);
  const Plan plan = DrawPlan(options.seed);
  World world(options.seed, options.trace_events);
  if (options.script) world.SetScript(*options.script);
  RunResult result;
  result.seed = options.seed;
  {
    Town town(world, plan, options.log);
    town.Open();
    while (!world.failed() && world.now_ns() < options.busy.count() &&
           town.checker().stored_bytes() < kMostStoredBytes) {
      world.Run(std::min(options.busy.count(), world.now_ns() + kSliceNs));
    }
    result.busy_ns = world.now_ns();
    if (!world.failed()) {
      town.Calm();
      world.Run(world.now_ns() + kCalmNs);
      town.Close();
      world.Run(world.now_ns() + kCatchUpNs);
      CheckCaughtUp(world, town);
      CheckWalIsSmall(world, town, plan);
      town.checker().CheckDurable();
      Random dice(Mix(options.seed, 9));
      if (!world.failed()) town.checker().CheckRestores(dice, kRestoresAtTheEnd);
      const std::uint64_t requests = town.store().requests();
      const std::uint64_t events = world.trace().count();
      world.Run(world.now_ns() + kSilenceNs);
      if (!world.failed() && world.trace().count() - events > kMostIdleEvents) {
        world.Fail(
            fmt::format("{} calls although nothing happened", world.trace().count() - events));
      }
      if (!world.failed() && town.store().requests() != requests) {
        world.Fail(fmt::format("{} requests although nothing happened",
                               town.store().requests() - requests));
      }
    }
    result.failure = world.failure();
    if (world.failed() || options.keep_trace)
      result.trace = world.trace().Last(options.trace_events);
    result.hash = world.trace().hash();
    result.events = world.trace().count();
    result.simulated_ns = world.now_ns();
    result.commits = town.model().newest();
    result.stored_files = town.checker().files_checked();
    result.restores = town.checker().restores_compared();
    result.faults = world.faults();
    world.End();
  }
  return result;
}

}  // namespace litestream::sim
