// A year of one database by the simulated clock: office hours, weekends, a holiday, restarts, kills
// and outages of the replica; levels, snapshots and all tiers of retention. Every day everything
// that is promised is looked for, and what can be restored is restored.

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "format/names.h"
#include "replica/restore_points.h"
#include "tests/life/life.h"

namespace litestream::life {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr hours kWindow{48};
constexpr hours kSnapshotInterval{6};
constexpr KeepTiers kKeep{.hourly = 6, .daily = 10, .weekly = 8, .monthly = 12};
constexpr int kDays = 366;
// A point is restored when it is new, and again when other files lead to it. Of the rest so many
// a day.
constexpr int kSampledPoints = 3;

UpkeepOptions Upkeep() {
  UpkeepOptions upkeep;
  upkeep.levels = {seconds(30), minutes(5), hours(1)};
  upkeep.snapshot_interval = kSnapshotInterval;
  upkeep.retention.snapshot_retention = kWindow;
  upkeep.retention.keep = kKeep;
  return upkeep;
}

// A state that level 1 held as its newest when the next commit came: as long as the window reaches
// back to it, it is a point, and moments lead to it.
struct Promise {
  Txid txid;
  WallTime until;  // The next commit came.
};

// What was captured and uploaded when, for the bounds.
struct Upload {
  WallTime time;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};

class Year {
 public:
  Year() : life_({.upkeep = Upkeep()}), began_(life_.Now()) {
    life_.app().Exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)");
    life_.Commit("INSERT INTO t (x) VALUES (randomblob(500))");
    life_.Start();
    disturbed_until_ = life_.Now();
  }

  void LiveADay(int day);
  void CheckADay(int day);
  void ExpectAllSeen() const;

 private:
  // Commits, at a random moment within the next `within`, and goes on to its end.
  void CommitWithin(nanoseconds within);
  std::string AnyChange();
  void Commit(const std::string& sql);
  void Run(nanoseconds duration);
  void Observe();
  void Work();
  void Disturb(int day);
  void Restart(bool clean);
  void SetOutage(bool away);
  void NotePromise();

  void CheckPoints(const ReplicaListing& listing);
  void CheckPromises(const ReplicaListing& listing);
  void CheckTiers(const ReplicaListing& listing);
  void CheckBounds(const ReplicaListing& listing);
  void CheckRequests();
  bool Undisturbed(nanoseconds since) const {
    return !away_ && disturbed_until_ < life_.Now() - since;
  }
  std::uint64_t Random(std::uint64_t below) { return random_() % below; }

  Life life_;
  const WallTime began_;  // Midnight.
  std::mt19937_64 random_{20260101};
  bool away_ = false;
  WallTime disturbed_until_;  // Of the replica or the process.
  std::deque<Promise> promises_;
  std::deque<Upload> uploads_;
  ReplicaStatus last_;
  std::map<Txid, FileInfo> snapshots_;  // All that there ever were.
  std::set<std::pair<Txid, FileId>> restored_;
  std::set<Txid> points_seen_;
  std::uint64_t largest_database_ = 0;
  Requests requests_yesterday_;
  Requests busiest_;
  std::size_t most_objects_ = 0;
  int idle_days_ = 0;  // In a row.
  bool committed_today_ = false;
  int quiet_days_checked_ = 0;
  int moments_checked_ = 0;
  int tiers_checked_ = 0;
};

std::string Year::AnyChange() {
  switch (Random(8)) {
    case 0:
    case 1:
      return "INSERT INTO t (x) VALUES (randomblob(500))";
    case 2:
      return "DELETE FROM t WHERE id = (SELECT min(id) + 5 FROM t)";
    default:
      return fmt::format("UPDATE t SET x = randomblob(500) WHERE id = (SELECT min(id) + {} FROM t)",
                         Random(40));
  }
}

void Year::Commit(const std::string& sql) {
  NotePromise();
  life_.Commit(sql);
  committed_today_ = true;
  largest_database_ = std::max(largest_database_, life_.database_bytes());
}

void Year::CommitWithin(nanoseconds within) {
  const nanoseconds at = within / 1000 * static_cast<int>(Random(1000));
  Run(at);
  Commit(AnyChange());
  Run(within - at);
}

// In steps, so that no snapshot comes and goes unseen.
void Year::Run(nanoseconds duration) {
  while (duration.count() > 0) {
    const nanoseconds step = std::min<nanoseconds>(duration, hours(1));
    life_.Run(step);
    Observe();
    duration -= step;
  }
}

void Year::Observe() {
  if (!life_.running()) return;
  const ReplicaStatus status = life_.Status().replicas[0];
  if (status.uploaded_files < last_.uploaded_files) last_ = {};  // Another process.
  if (status.uploaded_files > last_.uploaded_files) {
    uploads_.push_back({.time = life_.Now(),
                        .files = status.uploaded_files - last_.uploaded_files,
                        .bytes = status.uploaded_bytes - last_.uploaded_bytes});
  }
  if (status.upkeep.newest_snapshot != last_.upkeep.newest_snapshot) {
    const ReplicaListing listing = life_.Listing();
    for (const FileInfo& file : listing.levels[kSnapshotLevel.value]) {
      snapshots_.emplace(file.id.txids.max, file);
    }
  }
  last_ = status;
}

// What is newest in level 1 (or a snapshot) now, before a commit.
void Year::NotePromise() {
  if (!life_.running() || away_ || life_.states().empty()) return;
  const Txid txid = life_.states().rbegin()->first;
  if (life_.Status().replicas[0].upkeep.merged != txid) return;
  promises_.push_back({.txid = txid, .until = life_.Now()});
}

void Year::Restart(bool clean) {
  if (!life_.running()) return;
  if (clean) {
    life_.Stop();
  } else {
    life_.Kill();
  }
  last_ = {};
  // The application goes on.
  for (std::uint64_t i = Random(4); i > 0; --i) Commit(AnyChange());
  disturbed_until_ = life_.Now();
  life_.Start();
}

void Year::SetOutage(bool away) {
  if (away_) disturbed_until_ = life_.Now();
  away_ = away;
  life_.SetFaults([away](StorageCall, const FileId&) {
    return away ? StorageFault::kFailBefore : StorageFault::kNone;
  });
}

// What goes wrong on that day: about once a week something.
void Year::Disturb(int day) {
  if (day % 5 == 2) Restart(/*clean=*/day % 2 == 0);
  if (day % 23 == 11) SetOutage(true);  // For some hours.
  if (day == 200) SetOutage(true);      // For three days.
  if (day == 203) SetOutage(false);
  if (day % 61 == 40) {  // A day of lost answers and failures.
    life_.SetFaults([chance = std::mt19937_64(day)](StorageCall call, const FileId&) mutable {
      if (chance() % 20 == 0) return StorageFault::kFailBefore;
      return call == StorageCall::kWrite && chance() % 3 == 0 ? StorageFault::kFailAfter
                                                              : StorageFault::kNone;
    });
    disturbed_until_ = life_.Now() + hours(24);
  }
  if (day % 61 == 41) life_.SetFaults(nullptr);
  if (day % 30 == 15) Commit("VACUUM");
  if (day % 90 == 50) {
    for (int i = 0; i < 60; ++i) Commit("INSERT INTO t (x) VALUES (randomblob(900))");
  }
  if (day % 90 == 80) Commit("DELETE FROM t WHERE id > (SELECT min(id) + 40 FROM t)");
}

void Year::LiveADay(int day) {
  committed_today_ = false;
  const bool weekend = day % 7 == 2 || day % 7 == 3;  // 2026 begins on a Thursday.
  const bool holiday = day >= 220 && day < 241;
  if (!holiday) {
    Run(hours(8));
    Disturb(day);
    if (weekend && day % 14 == 2) CommitWithin(hours(1));
    if (!weekend) Work();
    // But for the long one, an outage ends after work.
    if (away_ && (day < 200 || day >= 203)) SetOutage(false);
  }
  const WallTime midnight = began_ + days(day + 1);
  ASSERT_GT(midnight, life_.Now());
  Run(midnight - life_.Now());
}

void Year::Work() {
  for (int hour = 8; hour < 18; ++hour) {
    const int commits = static_cast<int>(Random(6));
    for (int i = 0; i < commits; ++i) CommitWithin(seconds(3600 / commits));
    if (commits == 0) Run(hours(1));
    if (hour != 12) continue;
    for (int i = 0; i < 10; ++i) {  // Somebody is in a hurry.
      Commit(AnyChange());
      Run(milliseconds(700));
    }
    // Now there are points of level 0, too.
    CheckPoints(life_.Listing());
  }
}

void Year::CheckADay(int day) {
  SCOPED_TRACE(fmt::format("day {}", day));
  const ReplicaListing listing = life_.Listing();
  if (Undisturbed(hours(5))) {
    const DatabaseStatus status = life_.Status();
    EXPECT_EQ(status.error, "");
    EXPECT_EQ(status.replicas[0].state, ReplicaState::kInSync);
    EXPECT_EQ(listing.newest(), status.txid);
    EXPECT_EQ(life_.states().at(status.txid), life_.ContentNow());
    EXPECT_EQ(status.replicas[0].upkeep.error, "");
  }
  CheckPoints(listing);
  CheckPromises(listing);
  CheckTiers(listing);
  CheckBounds(listing);
  CheckRequests();
}

// With F objects of level 0 uploaded that day, and no trouble:
//
//   PUT    <= F + F + min(F, 288) + min(F, 24) + 5     levels 0 to 3, snapshots
//             + min(those and DELETE, 8640)          the lease, for each at most, once in 10 s
//   GET    <= 2 F + 5 * 60                             levels 1 and 2 once each; for the snapshots
//   LIST   <= 10 * (4 + starts) + 2                    while there is something to upload
//   DELETE <= F + 24 + 3 * 5                           after merges, and as time passes
//
// Nothing at all when the last commit is so long ago that all is merged, and the window has passed
// it; then only snapshots still leave their tiers, each under a lease.
void Year::CheckRequests() {
  const Requests today = life_.requests() - requests_yesterday_;
  requests_yesterday_ = life_.requests();
  idle_days_ = committed_today_ ? 0 : idle_days_ + 1;
  if (!Undisturbed(hours(25))) return;
  if (today.all() > busiest_.all()) busiest_ = today;
  std::uint64_t files = 0;
  for (const Upload& upload : uploads_) {
    if (upload.time > life_.Now() - hours(24)) files += upload.files;
  }
  const std::uint64_t objects =
      2 * files + std::min<std::uint64_t>(files, 288) + std::min<std::uint64_t>(files, 24) + 5;
  EXPECT_LE(today.puts, objects + std::min<std::uint64_t>(objects + today.deletes, 8640));
  EXPECT_LE(today.gets, 2 * files + 300);
  EXPECT_LE(today.lists, 10U * 4 + 2);
  EXPECT_LE(today.deletes, files + 24 + 15);
  constexpr auto kUntilQuiet =
      kWindow + kIdleGrace + 2 * kSnapshotInterval + kRestoreGrace + kMaxJitter;
  if (idle_days_ * hours(24) > kUntilQuiet + hours(24) && Undisturbed(kUntilQuiet)) {
    EXPECT_EQ(today.lists + today.gets, 0U);
    EXPECT_LE(today.deletes, 2U);
    EXPECT_LE(today.puts, today.deletes);
    ++quiet_days_checked_;
  }
}

// Every point gives the state that was recorded.
void Year::CheckPoints(const ReplicaListing& listing) {
  const RestorePoints points = FindRestorePoints(listing);
  for (const RestoreHole& hole : points.holes) EXPECT_TRUE(hole.bridged_by);
  for (const RestorePoint& point : points.points) {
    points_seen_.insert(point.txid);
    const bool sampled = Random(points.points.size()) < kSampledPoints;
    if (!restored_.emplace(point.txid, point.last.id).second && !sampled) continue;
    SCOPED_TRACE(FormatTxid(point.txid));
    const auto plan = PlanRestore(listing, {.txid = point.txid, .before = {}});
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    const auto state = life_.states().find(point.txid);
    ASSERT_NE(state, life_.states().end());
    EXPECT_EQ(life_.Restored(plan.value()), state->second);
  }
}

// Every state of the window that somebody was promised is a point, and its moments lead to it.
void Year::CheckPromises(const ReplicaListing& listing) {
  const RestorePoints points = FindRestorePoints(listing);
  std::set<Txid> txids;
  for (const RestorePoint& point : points.points) txids.insert(point.txid);
  while (!promises_.empty() && promises_.front().until <= life_.Now() - kWindow) {
    promises_.pop_front();
  }
  for (const Promise& promise : promises_) {
    SCOPED_TRACE(FormatTxid(promise.txid));
    EXPECT_TRUE(txids.contains(promise.txid));
    const auto plan = PlanRestore(listing, {.txid = {}, .before = promise.until});
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    EXPECT_EQ(plan.value().max_txid(), promise.txid);
    ++moments_checked_;
  }
}

// The newest snapshot of each of the last n hours, days, weeks and months that had one.
void Year::CheckTiers(const ReplicaListing& listing) {
  std::set<Txid> there;
  for (const FileInfo& file : listing.levels[kSnapshotLevel.value]) {
    there.insert(file.id.txids.max);
    snapshots_.emplace(file.id.txids.max, file);
  }
  const auto period = [](int tier, WallTime time) -> std::int64_t {
    const auto day = std::chrono::floor<days>(time);
    const std::chrono::year_month_day date(day);
    switch (tier) {
      case 0:
        return std::chrono::floor<hours>(time).time_since_epoch().count();
      case 1:
        return day.time_since_epoch().count();
      case 2:
        return (day.time_since_epoch().count() + 3) / 7;  // 1970 began on a Thursday.
      default:
        return int{date.year()} * 12 + static_cast<int>(unsigned{date.month()});
    }
  };
  const std::array<int, 4> keep = {kKeep.hourly, kKeep.daily, kKeep.weekly, kKeep.monthly};
  for (int tier = 0; tier < 4; ++tier) {
    SCOPED_TRACE(tier);
    std::map<std::int64_t, Txid, std::greater<>> newest;
    for (const auto& [txid, file] : snapshots_) newest[period(tier, file.created_at)] = txid;
    int left = keep[tier];
    for (const auto& [when, txid] : newest) {
      if (left-- == 0) break;
      EXPECT_TRUE(there.contains(txid)) << FormatTxid(txid);
      ++tiers_checked_;
    }
  }
}

// The replica of a database is bounded by what happened within the span that its window covers:
//
//   span    = window + 2 snapshot intervals + grace and jitter (1 h each)
//   objects <= F(6 min) + 1                       level 0: not merged, or younger than 5 minutes
//            + F(span) + min(F(span), span / 5 min) + min(F(span), span / 1 h) + 3    levels 1 to 3
//            + span / snapshot interval + 2 + the tiers                               snapshots
//   bytes   <= 4 B(span) + snapshots * (database + 4 KiB)
//
// F and B being files and bytes that were uploaded (to level 0) within that time.
void Year::CheckBounds(const ReplicaListing& listing) {
  const auto span = kWindow + 2 * kSnapshotInterval + kRestoreGrace + kMaxJitter;
  while (!uploads_.empty() && uploads_.front().time < life_.Now() - span - hours(1)) {
    uploads_.pop_front();
  }
  std::size_t objects = 0;
  std::uint64_t bytes = 0;
  for (const auto& level : listing.levels) {
    objects += level.size();
    for (const FileInfo& file : level) bytes += file.size_bytes;
  }
  most_objects_ = std::max(most_objects_, objects);
  if (!Undisturbed(span + hours(24))) return;
  std::uint64_t files = 0;
  std::uint64_t uploaded = 0;
  std::uint64_t recent = 0;
  for (const Upload& upload : uploads_) {
    files += upload.files;
    uploaded += upload.bytes;
    if (upload.time > life_.Now() - hours(1)) recent += upload.files;  // As seen, at the hour.
  }
  const std::uint64_t snapshots =
      span / kSnapshotInterval + 2 + kKeep.hourly + kKeep.daily + kKeep.weekly + kKeep.monthly;
  EXPECT_LE(objects, recent + 1 + files + std::min<std::uint64_t>(files, span / minutes(5)) +
                         std::min<std::uint64_t>(files, span / hours(1)) + 3 + snapshots);
  EXPECT_LE(bytes, 4 * uploaded + snapshots * (largest_database_ + 4096));
}

// That the year was what it should have been.
void Year::ExpectAllSeen() const {
  fmt::print("{} states, {} points, {} restores, {} moments, {} tier checks, {} quiet days\n",
             life_.states().size(), points_seen_.size(), restored_.size(), moments_checked_,
             tiers_checked_, quiet_days_checked_);
  fmt::print("at most {} objects; busiest day: {} LIST, {} GET, {} PUT, {} DELETE\n", most_objects_,
             busiest_.lists, busiest_.gets, busiest_.puts, busiest_.deletes);
  EXPECT_GT(life_.states().size(), 5'000U);
  EXPECT_GT(points_seen_.size(), 4'000U);
  EXPECT_GT(moments_checked_, 5'000);
  EXPECT_GT(quiet_days_checked_, 10);
}

TEST(Life, AYear) {
  Year year;
  for (int day = 0; day < kDays && !::testing::Test::HasFailure(); ++day) {
    year.LiveADay(day);
    year.CheckADay(day);
  }
  year.ExpectAllSeen();
}

}  // namespace
}  // namespace litestream::life
