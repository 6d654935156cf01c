// Retention against PlanRestore: random listings, and random lives of a replica with passes all
// along.

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "replica/restore_points.h"
#include "replica/retention.h"
#include "replica/verify.h"
#include "storage/memory_client.h"
#include "tests/support/byte_streams.h"
#include "tests/support/model_replica.h"
#include "tests/support/replica_listing.h"

namespace litestream {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::At;
using testing::Info;
using testing::ListedFile;
using testing::Listing;

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kHour = 60 * kMinute;

ReplicaListing Without(ReplicaListing listing, const std::vector<RetentionVerdict>& removed) {
  std::set<FileId> gone;
  for (const RetentionVerdict& verdict : removed) gone.insert(verdict.file.id);
  for (auto& level : listing.levels) {
    std::erase_if(level, [&](const FileInfo& file) { return gone.contains(file.id); });
  }
  return listing;
}

std::string Text(const ReplicaListing& listing, WallTime now) {
  std::string text;
  for (const auto& level : listing.levels) {
    for (const FileInfo& f : level) {
      text += fmt::format("\n{}:{}-{} {} h ago", f.id.level.value, f.id.txids.min.value,
                          f.id.txids.max.value, (now - f.created_at) / hours(1));
    }
  }
  return text;
}

std::size_t CountFiles(const ReplicaListing& listing) {
  std::size_t count = 0;
  for (const auto& level : listing.levels) count += level.size();
  return count;
}

// Where a restore to a moment leads; 0: nowhere.
Txid ReachedAt(const ReplicaListing& listing, WallTime moment) {
  const auto plan = PlanRestore(listing, {.txid = {}, .before = moment});
  return plan.ok() ? plan.value().max_txid() : Txid{};
}

// What a pass promises about levels and points, whatever the replica looks like.
void ExpectPromises(const ReplicaListing& before, const RetentionPlan& plan,
                    const RetentionPolicy& policy, WallTime now) {
  const ReplicaListing after = Without(before, plan.remove);
  ASSERT_EQ(plan.remove.size() + plan.keep.size(), CountFiles(before));
  for (std::size_t level = 0; level < before.levels.size(); ++level) {
    ASSERT_EQ(before.levels[level].empty(), after.levels[level].empty());
  }
  ASSERT_EQ(before.newest(), after.newest());
  const auto points = FindRestorePoints(before).points;
  if (points.empty()) return;
  const Txid base = plan.base ? plan.base->id.txids.max : Txid{};
  for (const RestorePoint& point : points) {
    if (point.txid < base) continue;
    if (PlanRestore(after, {.txid = point.txid, .before = {}}).ok()) continue;
    // A point within a merged file, and long ago.
    ASSERT_NE(point.txid, points.back().txid);
    ASSERT_EQ(point.level, kLevel0) << "TXID " << point.txid.value;
    bool merged = false;
    for (const FileInfo& file : after.levels[1]) {
      merged = merged || (file.id.txids.min <= point.txid && file.id.txids.max > point.txid);
    }
    ASSERT_TRUE(merged) << "TXID " << point.txid.value;
    for (const FileInfo& file : before.levels[0]) {
      if (file.id.txids.max != point.txid) continue;
      ASSERT_LT(file.created_at, now - policy.l0_retention);
    }
  }
  // Of level 0 a front part goes.
  ASSERT_TRUE(std::ranges::equal(after.levels[0],
                                 std::span(before.levels[0]).last(after.levels[0].size()), {},
                                 &FileInfo::id, &FileInfo::id));
  if (!plan.base) return;
  ASSERT_GE(ReachedAt(after, plan.window_start), plan.base->id.txids.max);
}

void ExpectMoments(const ReplicaListing& before, const RetentionPlan& plan, WallTime from,
                   WallTime to, milliseconds step) {
  const ReplicaListing after = Without(before, plan.remove);
  // Before there is a base, merging may have hidden the very first moments.
  ReplicaListing held = before;
  if (!plan.base) held.levels[0].clear();
  for (WallTime moment = from; moment <= to; moment += step) {
    if (ReachedAt(held, moment) == Txid{}) continue;
    ASSERT_NE(ReachedAt(after, moment), Txid{}) << moment.time_since_epoch().count();
  }
}

RetentionPolicy RandomPolicy(std::mt19937_64& rng, milliseconds window, milliseconds level0) {
  RetentionPolicy policy;
  policy.snapshot_retention =
      milliseconds(1 + static_cast<std::int64_t>(rng() % 4)) * window.count();
  policy.l0_retention = milliseconds(static_cast<std::int64_t>(rng() % 4)) * level0.count();
  const auto tier = [&] { return rng() % 2 == 0 ? 0 : static_cast<int>(rng() % 5); };
  policy.keep = {.hourly = tier(), .daily = tier(), .weekly = tier(), .monthly = tier()};
  return policy;
}

// --- Listings that nobody would write. ---

ReplicaListing RandomListing(std::mt19937_64& rng) {
  constexpr std::uint64_t kTxids = 16;
  std::vector<ListedFile> files;
  const bool orderly = rng() % 2 == 0;
  const auto time = [&](std::uint64_t max) {
    if (rng() % 16 == 0) return std::int64_t{0};
    const auto step = static_cast<std::int64_t>(orderly ? max * 3 + rng() % 3 : rng() % 60);
    return 100 * 24 * kHour + step * kHour;
  };
  for (std::uint64_t i = rng() % 6; i > 0; --i) {
    const std::uint64_t max = 1 + rng() % kTxids;
    files.push_back({9, rng() % 16 == 0 ? 2U : 1U, std::max<std::uint64_t>(2, max), time(max)});
  }
  for (std::uint64_t i = rng() % 30; i > 0; --i) {
    const std::uint64_t min = 1 + rng() % kTxids;
    const std::uint64_t max = std::min(kTxids, min + rng() % 4);
    files.push_back({static_cast<int>(rng() % 3), min, max, time(max)});
  }
  // No file twice.
  ReplicaListing listing = Listing(files);
  for (auto& level : listing.levels) {
    const auto same = [](const FileInfo& a, const FileInfo& b) { return a.id == b.id; };
    level.erase(std::unique(level.begin(), level.end(), same), level.end());
  }
  return listing;
}

TEST(RetentionProperty, AnyListing) {
  std::size_t removed = 0;
  for (std::uint64_t seed = 1; seed <= 10'000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 rng(seed);
    ReplicaListing listing = RandomListing(rng);
    const RetentionPolicy policy = RandomPolicy(rng, hours(3), hours(2));
    WallTime now = At(100 * 24 * kHour + static_cast<std::int64_t>(rng() % 90) * kHour);
    for (int pass = 0; pass < 6; ++pass) {
      const auto plan = PlanRetention(listing, policy, now);
      ASSERT_TRUE(plan.ok()) << plan.error().message() << Text(listing, now);
      ExpectPromises(listing, plan.value(), policy, now);
      ExpectMoments(listing, plan.value(), plan.value().window_start, now, minutes(30));
      if (::testing::Test::HasFatalFailure()) return;
      removed += plan.value().remove.size();
      listing = Without(listing, plan.value().remove);
      now += hours(rng() % 20);
    }
  }
  EXPECT_GT(removed, 5'000U);  // It is not all kept.
}

// --- A replica that lives. ---

struct Life {
  bool outages = false;         // Captures go missing, and a snapshot follows.
  bool full_images = false;     // Files of level 0 that hold every page, promoted to snapshots.
  bool jumps = false;           // The clock is set forward and back.
  bool late_snapshots = false;  // Snapshots have the time at which they were made, as stock's.
  bool stalls = false;          // Merging stops for hours.
};

constexpr std::array<std::int64_t, 3> kIntervals = {5 * kMinute, 30 * kMinute, 4 * kHour};

class World {
 public:
  World(std::uint64_t seed, const Life& life) : rng_(seed), life_(life) {
    snapshot_interval_ = static_cast<std::int64_t>(1 + rng_() % 8) * kHour;
  }

  std::mt19937_64& rng() { return rng_; }
  WallTime clock() const { return At(now_ + skew_); }
  const ReplicaListing& listing() const { return listing_; }
  std::int64_t snapshot_interval() const { return snapshot_interval_; }
  void Remove(const RetentionPlan& plan) { listing_ = Without(listing_, plan.remove); }

  // A minute passes.
  void Tick(bool busy) {
    now_ += kMinute;
    if (life_.jumps && rng_() % 400 == 0) {
      const auto jump = static_cast<std::int64_t>(rng_() % (60 * kHour)) - 30 * kHour;
      skew_ = rng_() % 2 == 0 ? 0 : jump;
    }
    if (life_.stalls && rng_() % 500 == 0) stalled_until_ = now_ + 10 * kHour;
    if (busy) Commit();
    if (now_ < stalled_until_) return;
    for (std::size_t i = 0; i < kIntervals.size(); ++i) {
      if (now_ % kIntervals[i] == 0) Merge(i + 1);
    }
    if (now_ % snapshot_interval_ == 0 && reached_ > snapshot_) Snapshot(Stamp(reached_));
  }

  // The newest transaction that was captured before a moment, by the files' own times.
  Txid TrueAt(WallTime moment) const {
    Txid txid;
    for (const auto& [max, time] : stamps_) {
      if (time < moment) txid = Txid{max};
    }
    return txid;
  }
  WallTime Stamp(std::uint64_t txid) const { return stamps_.at(txid); }
  WallTime FirstStamp() const { return stamps_.begin()->second; }

 private:
  void Commit() {
    const std::uint64_t first = reached_ + 1;
    const std::uint64_t last = first + (rng_() % 8 == 0 ? rng_() % 5 : 0);
    if (life_.outages && rng_() % 300 == 0) {  // Lost on the way.
      reached_ = last;
      stamps_[last] = clock();
      Snapshot(clock());
      return;
    }
    reached_ = last;
    stamps_[last] = clock();
    Put({0, first, last, 0}, clock());
    if (life_.full_images && rng_() % 200 == 0) {
      full_.insert(last);
      Snapshot(Stamp(last));
    }
  }
  void Snapshot(WallTime stamp) {
    if (life_.late_snapshots) stamp = std::max(stamp, clock());
    Put({9, 1, reached_, 0}, stamp);
    snapshot_ = reached_;
  }
  // What the level below has gained becomes one file, up to a hole or a full image.
  void Merge(std::size_t level) {
    const auto& source = listing_.levels[level - 1];
    std::uint64_t& done = merged_[level];
    while (true) {
      std::uint64_t first = 0;
      std::uint64_t last = done;
      for (const FileInfo& file : source) {
        const TxidRange& txids = file.id.txids;
        if (txids.min.value <= last || (first != 0 && txids.min.value != last + 1)) {
          if (txids.min.value <= last) continue;
          break;
        }
        if (level == 1 && full_.contains(txids.max.value)) {
          if (first != 0) break;
          last = txids.max.value;
          continue;
        }
        if (first == 0) first = txids.min.value;
        last = txids.max.value;
      }
      if (first == 0) return;
      Put({static_cast<int>(level), first, last, 0}, Stamp(last));
      done = last;
    }
  }
  void Put(const ListedFile& file, WallTime stamp) {
    FileInfo info = Info(file);
    info.created_at = stamp;
    auto& level = listing_.levels[info.id.level.value];
    if (std::ranges::find(level, info.id, &FileInfo::id) != level.end()) return;
    level.push_back(info);
    std::ranges::sort(level, {}, &FileInfo::id);
  }

  std::mt19937_64 rng_;
  const Life life_;
  ReplicaListing listing_;
  std::int64_t now_ = 20'000 * 24 * kHour;
  std::int64_t skew_ = 0;
  std::int64_t snapshot_interval_ = 0;
  std::int64_t stalled_until_ = 0;
  std::uint64_t reached_ = 0;
  std::uint64_t snapshot_ = 0;
  std::array<std::uint64_t, 4> merged_ = {};
  std::set<std::uint64_t> full_;
  std::map<std::uint64_t, WallTime> stamps_;
};

// The grain: what a restore to a moment may miss is not older than a merge can have hidden.
void ExpectGrain(const World& world, const ReplicaListing& after, const RetentionPolicy& policy,
                 WallTime window_start, WallTime now) {
  const milliseconds step = std::max<milliseconds>((now - window_start) / 40, minutes(1));
  for (WallTime moment = window_start; moment <= now; moment += step) {
    const Txid wanted = world.TrueAt(moment);
    if (wanted == Txid{}) continue;
    const Txid got = ReachedAt(after, moment);
    const bool first = moment <= world.FirstStamp() + milliseconds(2 * kIntervals[0]);
    ASSERT_TRUE(got != Txid{} || first);
    ASSERT_LE(got, wanted);
    if (got == wanted) continue;
    if (policy.l0_retention <= milliseconds(0) || moment >= now - policy.l0_retention) {
      FAIL() << "the last minutes are not exact";
    }
    // The first transaction that is missed came at most one merge earlier.
    ASSERT_GE(world.Stamp(wanted.value), moment - milliseconds(2 * kIntervals[0]))
        << "TXID " << got.value << " for " << wanted.value;
  }
}

// R35: a restore to the beginning of the window that was planned before the last pass.
void ExpectPlannedFilesStay(const std::optional<RestorePlan>& planned, const ReplicaListing& left) {
  if (!planned) return;
  for (const FileInfo& file : planned->files) {
    if (file.id.level == kLevel0) continue;
    const auto& level = left.levels[file.id.level.value];
    ASSERT_NE(std::ranges::find(level, file.id, &FileInfo::id), level.end())
        << Text(left, file.created_at);
  }
}

void Live(std::uint64_t seed, const Life& life, int days) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  World world(seed, life);
  const RetentionPolicy policy = RandomPolicy(world.rng(), hours(6), minutes(10));
  const bool exact =
      !life.outages && !life.jumps && !life.late_snapshots && !life.full_images && !life.stalls;
  std::size_t most = 0;
  std::optional<RestorePlan> planned;
  bool busy = true;
  for (int minute = 1; minute <= days * 24 * 60; ++minute) {
    if (world.rng()() % 200 == 0) busy = !busy;
    world.Tick(busy);
    if (minute % 45 != 0) continue;
    const WallTime now = world.clock();
    const ReplicaListing before = world.listing();
    const auto plan = PlanRetention(before, policy, now);
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    ExpectPromises(before, plan.value(), policy, now);
    ExpectMoments(before, plan.value(), plan.value().window_start, now, hours(1));
    world.Remove(plan.value());
    if (!life.jumps) ExpectPlannedFilesStay(planned, world.listing());
    const auto next =
        PlanRestore(world.listing(), {.txid = {}, .before = plan.value().window_start});
    planned.reset();
    if (next.ok()) planned = next.value();
    if (exact) ExpectGrain(world, world.listing(), policy, plan.value().window_start, now);
    if (::testing::Test::HasFatalFailure()) return;
    most = std::max(most, CountFiles(world.listing()) - world.listing().levels[0].size());
  }
  // Bounded: the window and two snapshots more, in files of the lowest level. (A life with stalls
  // or jumps takes longer to get there.)
  const std::int64_t span =
      policy.snapshot_retention.count() + kIdleGrace / milliseconds(1) + 3 * kHour * 10;
  EXPECT_LT(most, static_cast<std::size_t>(2 * span / kIntervals[0] + 100));
  if (policy.l0_retention > milliseconds(0) && !life.jumps && !life.stalls) {
    EXPECT_LT(world.listing().levels[0].size(), 150U);
  }
  // A hundred passes while nothing happens: only what is promised is left.
  WallTime now = world.clock();
  ReplicaListing listing = world.listing();
  for (int pass = 0; pass < 100; ++pass) {
    now += hours(2);
    const auto plan = PlanRetention(listing, policy, now);
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    ExpectPromises(listing, plan.value(), policy, now);
    if (::testing::Test::HasFatalFailure()) return;
    listing = Without(listing, plan.value().remove);
  }
  EXPECT_TRUE(PlanRestore(listing, {}).ok() || life.outages);
  const std::size_t tiers = static_cast<std::size_t>(policy.keep.hourly + policy.keep.daily +
                                                     policy.keep.weekly + policy.keep.monthly);
  EXPECT_LE(listing.levels[9].size(), 1 + tiers);
}

// --- Real files: what is left is whole, proven and without problems. ---

TEST(RetentionProperty, WhatIsLeftIsProven) {
  const Context ctx = Context::Background();
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    testing::ModelReplica model(seed, 512);
    MemoryStore store;
    const auto client = MakeMemoryClient(store);
    // A transaction every half an hour.
    const auto time_of = [](std::uint64_t txid) {
      return At((1'000'000 + static_cast<std::int64_t>(txid)) * kHour / 2);
    };
    const auto put = [&](int level, std::uint64_t min, std::uint64_t max) {
      const FileId id{Level{static_cast<std::uint8_t>(level)}, {Txid{min}, Txid{max}}};
      const auto content = model.File(id.txids, {});
      testing::SpanSource body(content);
      ASSERT_TRUE(client->Write(ctx, id, body, {.created_at = time_of(max)}).ok());
    };
    const RetentionPolicy policy{.l0_retention = minutes(90 * (seed % 3)),
                                 .snapshot_retention = hours(4)};
    std::size_t removed = 0;
    for (std::uint64_t txid = 1; txid <= 60; ++txid) {
      model.CommitRandomly(1, 20);
      put(0, txid, txid);
      if (txid % 4 == 0) put(1, txid - 3, txid);
      if (txid % 12 == 0) put(2, txid - 11, txid);
      if (txid % 10 == 0) put(9, 1, txid);
      const auto listing = ListReplica(ctx, *client, true);
      ASSERT_TRUE(listing.ok());
      const auto plan = PlanRetention(listing.value(), policy, time_of(txid));
      ASSERT_TRUE(plan.ok()) << plan.error().message();
      // Broken off anywhere.
      const std::size_t count = plan.value().remove.size();
      std::vector<FileId> ids;
      for (std::size_t i = 0; i < count && model.rng()() % 8 != 0; ++i) {
        ids.push_back(plan.value().remove[i].file.id);
      }
      removed += ids.size();
      ASSERT_TRUE(client->Delete(ctx, ids).ok());
      const auto report = VerifyReplica(ctx, *client, {});
      ASSERT_TRUE(report.ok());
      ASSERT_TRUE(report.value().problems.empty()) << report.value().problems[0].what;
      ASSERT_TRUE(report.value().proven);
      ASSERT_EQ(report.value().newest, Txid{txid});
    }
    EXPECT_GT(removed, 10U);
  }
}

TEST(RetentionProperty, AnOrderlyLife) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    Live(seed, {}, 4);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RetentionProperty, LivesWithTrouble) {
  for (std::uint64_t seed = 1; seed <= 16; ++seed) {
    std::mt19937_64 rng(seed);
    const auto coin = [&] { return rng() % 2 == 0; };
    const Life life{.outages = coin(),
                    .full_images = coin(),
                    .jumps = coin(),
                    .late_snapshots = coin(),
                    .stalls = coin()};
    Live(seed, life, 4);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace litestream
