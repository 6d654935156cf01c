#include "tests/simulation/plan.h"

#include <algorithm>
#include <array>

namespace litestream::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

template <typename T, std::size_t kSize>
T OneOf(Random& dice, const std::array<T, kSize>& choices) {
  return choices[dice.Below(kSize)];
}

void DrawApplications(Plan& plan, Random& dice) {
  plan.page_size = OneOf(dice, std::array{512, 1024, 1024, 4096});
  plan.auto_vacuum = OneOf(dice, std::array{"none", "none", "full", "incremental"});
  plan.applications = OneOf(dice, std::array{1, 1, 2, 3});
  plan.readers = static_cast<int>(dice.Below(3));
  plan.auto_checkpoint = OneOf(dice, std::array{0, 20, 100, 1000});
  plan.full_sync = dice.OneIn(2);
  plan.journal_size_limit = OneOf(dice, std::array{-1, -1, 0, 20'000});
  plan.think = OneOf(dice, std::array{milliseconds(50), milliseconds(200), milliseconds(1000),
                                      milliseconds(5000)});
  plan.longest_read =
      OneOf(dice, std::array{milliseconds(20), milliseconds(2'000), milliseconds(60'000)});
  plan.most_pages = OneOf(dice, std::array{20, 100, 200});
  plan.huge_transactions = dice.OneIn(3);
  plan.vacuum = dice.OneIn(3);
  plan.checkpoints = dice.OneIn(3);
  plan.restarts = dice.OneIn(3);
  plan.reopen = dice.OneIn(3);
}

void DrawReplicator(Plan& plan, Random& dice) {
  plan.monitor_interval = OneOf(dice, std::array{milliseconds(10), milliseconds(1000)});
  plan.sync_interval = OneOf(dice, std::array{milliseconds(10), milliseconds(1000)});
  plan.checkpoint.min_pages = OneOf(dice, std::array{5U, 50U, 1000U});
  plan.checkpoint.truncate_pages = OneOf(dice, std::array<std::int64_t, 3>{-1, 200, 121'359});
  plan.checkpoint.interval = OneOf(dice, std::array{seconds(0), seconds(5), seconds(60)});
  plan.max_sync_wal_bytes = OneOf(dice, std::array<std::uint64_t, 3>{20'000, 200'000, 64U << 20U});
  plan.scrub_interval = OneOf(dice, std::array{seconds(30), seconds(86'400)});
  plan.local_retention = OneOf(dice, std::array{seconds(1), seconds(300)});
  plan.rival = dice.OneIn(4);
  plan.second_replica = dice.OneIn(4);
}

void DrawUpkeep(UpkeepOptions& upkeep, Random& dice) {
  if (dice.OneIn(3)) return;
  // A minute here stands for an hour.
  upkeep.levels = {OneOf(dice, std::array{seconds(1), seconds(5)}), seconds(10), seconds(60)};
  upkeep.levels.resize(1 + dice.Below(3));
  upkeep.snapshot_interval = OneOf(dice, std::array{seconds(20), seconds(60), seconds(86'400)});
  upkeep.retention.enabled = !dice.OneIn(8);
  upkeep.retention.l0_retention = OneOf(dice, std::array{seconds(30), seconds(300)});
  upkeep.retention.snapshot_retention = OneOf(dice, std::array{seconds(60), seconds(86'400)});
  if (dice.OneIn(4)) upkeep.retention.keep = {.hourly = 2, .daily = 1};
  upkeep.bounds.max_files = OneOf(dice, std::array<std::size_t, 3>{2, 20, 256});
}

void DrawLimits(LimitOptions& limits, Random& dice) {
  limits.uploads = OneOf(dice, std::array{1, 2, 8});
  if (dice.OneIn(2)) limits.requests_per_second = OneOf(dice, std::array{20U, 200U});
  if (dice.OneIn(2)) limits.upload_bytes_per_second = OneOf(dice, std::array{200'000U, 5'000'000U});
  if (dice.OneIn(4)) limits.download_bytes_per_second = 500'000;
}

void DrawTrouble(Plan& plan, Random& dice) {
  plan.chaos = OneOf(dice, std::array{seconds(5), seconds(20), seconds(60)});
  // One disk for all.
  plan.application_faults.slowest_sync = plan.replicator_faults.slowest_sync = OneOf(
      dice, std::array{milliseconds(3), milliseconds(3), milliseconds(30), milliseconds(300)});
  plan.crash_replicator = dice.OneIn(2);
  plan.stop_replicator = dice.OneIn(2);
  plan.crash_application = dice.OneIn(2);
  plan.power_failure = dice.OneIn(3);
  plan.disk_full = dice.OneIn(4);
  plan.clock_jumps = dice.OneIn(4);
  plan.store_breaks = dice.OneIn(3);
  plan.store_wiped = dice.OneIn(10);
  plan.store_expires = dice.OneIn(10);
  plan.meta_lost = dice.OneIn(8);
  plan.change_journal_mode = dice.OneIn(4);
  plan.change_page_size = dice.OneIn(6);
  plan.replace_database = dice.OneIn(6);
  plan.delete_database = dice.OneIn(6);
  plan.delete_wal = dice.OneIn(6);
  plan.restore_over = dice.OneIn(6);
  plan.take_turns = dice.OneIn(4);
}

void DrawFaults(FaultRates& rates, Random& dice) {
  if (dice.OneIn(4)) rates.io_error = OneOf(dice, std::array{10U, 100U, 1000U});
  if (dice.OneIn(4)) rates.no_space = OneOf(dice, std::array{10U, 100U, 1000U});
  if (dice.OneIn(4)) rates.sync_error = OneOf(dice, std::array{100U, 1000U, 10'000U});
  if (dice.OneIn(6)) rates.open_error = OneOf(dice, std::array{100U, 1000U});
  if (dice.OneIn(6)) {
    rates.stall = OneOf(dice, std::array{20U, 200U});
    rates.longest_stall = OneOf(dice, std::array{milliseconds(50), milliseconds(5'000)});
  }
  if (dice.OneIn(4)) rates.lost_event = OneOf(dice, std::array{1'000U, 100'000U, 1'000'000U});
}

// Long enough for leases to run out, for strangers to come and go, and for what the replica holds
// to be saved.
void DrawRests(Plan& plan, Random& dice) {
  if (!dice.OneIn(3)) return;
  plan.work = OneOf(dice, std::array{seconds(5), seconds(20)});
  plan.rest = OneOf(dice, std::array{seconds(20), seconds(50), seconds(100)});
}

// What is known of the replica is compared with it.
void DrawValidation(UpkeepOptions& upkeep, Random& dice) {
  if (!dice.OneIn(3)) return;
  upkeep.validation_interval = OneOf(dice, std::array{seconds(5), seconds(30)});
}

void DrawStreaming(Plan& plan, Random& dice) {
  if (!dice.OneIn(2)) return;
  plan.stream_above_bytes = OneOf(dice, std::array<std::uint64_t, 2>{0, 30'000});
  plan.store_faults.slow_body =
      OneOf(dice, std::array{milliseconds(0), milliseconds(30), milliseconds(300)});
  if (!dice.OneIn(2) || plan.upkeep.levels.empty()) return;
  // Most of the time one is under way. And what changes comes into the database file meanwhile:
  // before that no page is another one than it was.
  plan.upkeep.snapshot_interval = seconds(5);
  plan.checkpoint.min_pages = 5;
}

void DrawStore(StoreFaults& faults, Random& dice) {
  if (dice.OneIn(3)) faults.fail_before = OneOf(dice, std::array{1'000U, 100'000U});
  if (dice.OneIn(3)) faults.fail_after = OneOf(dice, std::array{1'000U, 100'000U});
  if (dice.OneIn(3)) faults.half_body = OneOf(dice, std::array{1'000U, 100'000U});
  if (dice.OneIn(4)) faults.slow = OneOf(dice, std::array{1'000U, 50'000U});
  faults.late_list = dice.OneIn(8);
  faults.unsorted_list = dice.OneIn(8);
  faults.lies_about_delete = dice.OneIn(8);
}

}  // namespace

Plan DrawPlan(std::uint64_t seed) {
  Random dice(Mix(seed, 1001));
  Plan plan;
  DrawApplications(plan, dice);
  DrawReplicator(plan, dice);
  // Some runs have no trouble at all: they show what is promised to everybody.
  if (dice.OneIn(5)) {
    DrawUpkeep(plan.upkeep, dice);
    plan.park = dice.OneIn(2);
    DrawStreaming(plan, dice);
    DrawRests(plan, dice);
    DrawValidation(plan.upkeep, dice);
    return plan;
  }
  DrawTrouble(plan, dice);
  if (dice.OneIn(2)) DrawFaults(plan.replicator_faults, dice);
  if (dice.OneIn(4)) {
    plan.replicator_faults.short_read = plan.application_faults.short_read =
        OneOf(dice, std::array{1000U, 100'000U});
  }
  if (dice.OneIn(4)) DrawFaults(plan.application_faults, dice);
  if (dice.OneIn(2)) DrawStore(plan.store_faults, dice);
  // Without our directory the listing is all that says where the history ends. If it lies as well,
  // a second history begins in the middle of the first; that is not promised to work.
  if (plan.store_faults.late_list) plan.meta_lost = false;
  // Captures of some pages each, on such a disk, keep up with nobody.
  if (plan.replicator_faults.slowest_sync > milliseconds(30)) {
    plan.max_sync_wal_bytes = std::max<std::uint64_t>(plan.max_sync_wal_bytes, 2'000'000);
  }
  // What came later is drawn last, so that it changes nothing else.
  plan.grow_by_hand = dice.OneIn(8);
  plan.backups = dice.OneIn(8);
  plan.outages = dice.OneIn(6);
  DrawUpkeep(plan.upkeep, dice);
  plan.park = dice.OneIn(2);
  if (dice.OneIn(6)) DrawLimits(plan.limits.emplace(), dice);
  DrawStreaming(plan, dice);
  // A lease ends by the time of day of who wants it, and with a replica that is emptied.
  plan.stranger = dice.OneIn(2) && !plan.clock_jumps && !plan.store_wiped;
  if (dice.OneIn(4)) plan.local_retention_bytes = OneOf(dice, std::array{5'000U, 50'000U});
  DrawRests(plan, dice);
  DrawValidation(plan.upkeep, dice);
  return plan;
}

}  // namespace litestream::sim
