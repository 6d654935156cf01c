#include "tests/simulation/simulation.h"

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
constexpr int kRestoresAtTheEnd = 12;

void CheckCaughtUp(World& world, Town& town) {
  if (world.failed() || town.model().newest() == 0) return;
  const auto newest = town.checker().NewestState();
  const Model::Number last = town.model().newest();
  if (!newest) {
    world.Fail("nothing can be restored although all was quiet");
    return;
  }
  const Image& got = town.model().state(*newest);
  const Image& want = town.model().state(last);
  if (Same(got, want)) return;
  world.Fail(fmt::format("did not catch up: the replica has state {}, the database is at {}: {}",
                         *newest, last, Difference(got, want)));
}

}  // namespace

RunResult RunSimulation(const RunOptions& options) {
  SeedSqlite(options.seed);
  const Plan plan = DrawPlan(options.seed);
  World world(options.seed, options.trace_events);
  world.SetSkipped(options.skipped_faults);
  RunResult result;
  result.seed = options.seed;
  {
    Town town(world, plan, options.log);
    town.Open();
    world.Run(options.busy.count());
    if (!world.failed()) {
      town.Calm();
      world.Run(world.now_ns() + kCalmNs);
      town.Close();
      world.Run(world.now_ns() + kCatchUpNs);
      CheckCaughtUp(world, town);
      town.checker().CheckDurable();
      Random dice(Mix(options.seed, 9));
      if (!world.failed()) town.checker().CheckRestores(dice, kRestoresAtTheEnd);
      const std::uint64_t requests = town.store().requests();
      world.Run(world.now_ns() + kSilenceNs);
      if (!world.failed() && town.store().requests() != requests) {
        world.Fail(fmt::format("{} requests although nothing happened",
                               town.store().requests() - requests));
      }
    }
    result.failure = world.failure();
    if (world.failed() || options.log) result.trace = world.trace().Last(options.trace_events);
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
