#include "tests/simulation/simulation.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "format/names.h"
#include "replica/catalogue.h"
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
// To compare what is known of a replica with it: a listing of each level, and looks at the file
// that it ends with: what it is, whether it is ours, what it leads to.
constexpr std::uint64_t kValidationRequests = 13;
// The newest one stays; a few others may belong to it.
constexpr std::ptrdiff_t kMostLevel0Files = 3;
constexpr std::chrono::minutes kRetentionLate{3};
// Who takes the lease after another asks for it, looks who has it, and lists what there is; and
// once more when he has opened the database.
constexpr std::uint64_t kTakeOverRequests = 35;

void CheckCaughtUp(World& world, Model& model, Checker& checker) {
  if (world.failed() || model.newest() == 0) return;
  // Deleted while nobody replicated, and with it what nobody had captured.
  if (!model.IsThere()) return;
  if (checker.has_rested_since_cut()) return;
  const auto newest = checker.NewestState();
  const Model::Number last = model.newest();
  if (!newest) {
    world.Fail("nothing can be restored although all was quiet");
    return;
  }
  if (model.Equal(*newest, last)) return;
  world.Fail(fmt::format("did not catch up: the replica has state {}, the database is at {}: {}",
                         *newest, last, Difference(model.state(*newest), model.state(last))));
}

// Nobody reads any more, so all that is due is checkpointed.
void CheckWalIsSmall(World& world, Town& town, const Plan& plan) {
  if (world.failed()) return;
  const std::uint32_t left = town.model().FramesToCheckpoint();
  const bool by_time = plan.checkpoint.interval.count() > 0;
  if (left == 0 || (!by_time && left < plan.checkpoint.min_pages)) return;
  world.Fail(fmt::format("{} frames were never checkpointed", left));
}

// What level 0 holds is merged, and then removed.
void CheckLevel0IsSmall(World& world, const Plan& plan, Town::Site& site) {
  const bool all_works = plan.upkeep.retention.enabled && !plan.store_faults.lies_about_delete &&
                         !plan.clock_jumps && !plan.HistoryIsCut();
  if (world.failed() || plan.upkeep.levels.empty() || !all_works) return;
  const auto files = site.store.Look()->List(Context::Background(), kLevel0, {});
  if (!files.ok()) return;
  // What retention keeps for its time, and what it takes to look whether that is over.
  const WallTime old = world.wall() - plan.upkeep.retention.l0_retention - kRetentionLate;
  const auto left = std::ranges::count_if(
      files.value(), [&](const FileInfo& file) { return file.created_at < old; });
  if (left > kMostLevel0Files) world.Fail(fmt::format("{} files are left in level 0", left));
}

// What a level holds, the next one has, or a snapshot stands for it.
void CheckLevelsAreLevel(World& world, Model& model, const Plan& plan, Town::Site& site) {
  if (world.failed() || plan.upkeep.levels.empty() || !model.IsThere()) return;
  if (site.checker.has_rested_since_cut()) return;
  const auto listing = ListReplica(Context::Background(), *site.store.Look(), false);
  if (!listing.ok()) return;
  const Catalogue catalogue = Catalogue::FromListing(listing.value());
  const Txid snapshot = catalogue.newest(kSnapshotLevel);
  const auto complain = [&](std::string_view who, Txid ends, Txid at) {
    world.Fail(fmt::format("{} of {} ends with {}, and what it is made of with {}", who,
                           site.store.name(), FormatTxid(ends), FormatTxid(at)));
  };
  for (std::uint8_t n = 1; n <= plan.upkeep.levels.size(); ++n) {
    const Txid below = catalogue.newest(Level{static_cast<std::uint8_t>(n - 1)});
    const Txid newest = catalogue.newest(Level{n});
    if (below > std::max(newest, snapshot)) complain(fmt::format("level {}", n), newest, below);
  }
  if (plan.upkeep.snapshot_interval < Nanos(kCatchUpNs) && snapshot < catalogue.newest()) {
    complain("the newest snapshot", snapshot, catalogue.newest());
  }
}

// Each request belongs to a change: levels, a snapshot and retention may come to the end of what
// was done before. Or to a comparison that was asked for.
void CheckSilence(World& world, Town& town, const Plan& plan) {
  std::uint64_t requests = 0;
  std::uint64_t most = 0;
  for (const auto& site : town.sites()) {
    requests -= site->store.requests();
    most -= site->store.cost_of_changes();
  }
  const std::uint64_t events = world.trace().count();
  world.Run(world.now_ns() + kSilenceNs);
  if (world.failed()) return;
  const Nanos interval = plan.upkeep.validation_interval;
  for (const auto& site : town.sites()) {
    requests += site->store.requests();
    most += site->store.cost_of_changes();
    // What one had to do comes to its end behind the other.
    if (plan.rival) most += 2 * kTakeOverRequests;
    if (plan.upkeep.levels.empty() || interval.count() == 0) continue;
    most += (static_cast<std::uint64_t>(kSilenceNs / interval.count()) + 1) * kValidationRequests *
            (plan.rival ? 2 : 1);
  }
  const std::uint64_t calls = world.trace().count() - events;
  if (calls > kMostIdleEvents) {
    world.Fail(fmt::format("{} calls although nothing happened", calls));
  }
  if (requests > most) {
    world.Fail(
        fmt::format("{} requests to the store, and what happened is worth {}", requests, most));
  }
}

// The end of all trouble, and of all work: everything catches up, and then nothing happens.
void CheckTheEnd(World& world, Town& town, const Plan& plan, std::uint64_t seed) {
  town.Calm();
  world.Run(world.now_ns() + kCalmNs);
  town.Close();
  world.Run(world.now_ns() + kCatchUpNs);
  CheckWalIsSmall(world, town, plan);
  for (const auto& site : town.sites()) {
    CheckCaughtUp(world, town.model(), site->checker);
    site->checker.CheckDurable();
    Random dice(Mix(seed, 9));
    if (!world.failed()) site->checker.CheckRestores(dice, kRestoresAtTheEnd);
  }
  CheckSilence(world, town, plan);
  for (const auto& site : town.sites()) {
    CheckLevel0IsSmall(world, plan, *site);
    CheckLevelsAreLevel(world, town.model(), plan, *site);
    if (!world.failed()) site->catalogue.Check("at the end");
  }
}

std::uint64_t StoredBytes(Town& town) {
  std::uint64_t bytes = 0;
  for (const auto& site : town.sites()) bytes += site->checker.stored_bytes();
  return bytes;
}

}  // namespace

RunResult RunSimulation(const RunOptions& options) {
  SeedSqlite(options.seed);
  const Plan plan = DrawPlan(options.seed);
  World world(options.seed, options.trace_events);
  if (options.script) world.SetScript(*options.script);
  RunResult result;
  result.seed = options.seed;
  Town town(world, plan, options.log);
  town.Open();
  while (!world.failed() && world.now_ns() < options.busy.count() &&
         StoredBytes(town) < kMostStoredBytes) {
    world.Run(std::min(options.busy.count(), world.now_ns() + kSliceNs));
  }
  result.busy_ns = world.now_ns();
  if (!world.failed()) CheckTheEnd(world, town, plan, options.seed);
  result.failure = world.failure();
  if (world.failed() || options.keep_trace) {
    result.trace = world.trace().Last(options.trace_events);
  }
  result.hash = world.trace().hash();
  result.events = world.trace().count();
  result.simulated_ns = world.now_ns();
  result.commits = town.model().newest();
  for (const auto& site : town.sites()) {
    result.stored_files += site->checker.files_checked();
    result.restores += site->checker.restores_compared();
  }
  result.faults = world.faults();
  // Before the town goes, that its processes live in.
  world.End();
  return result;
}

}  // namespace litestream::sim
