#include "replica/retention.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "format/names.h"
#include "replica/restore_points.h"
#include "tests/support/replica_listing.h"

namespace litestream {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::At;
using testing::ListedFile;
using testing::Listing;

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::int64_t kNow = 20'000 * kDay + 15 * kHour;  // A Friday, 2024-10-04.

// A file that is so old at kNow.
ListedFile Old(int level, std::uint64_t min, std::uint64_t max, std::int64_t age_ms) {
  return {level, min, max, kNow - age_ms};
}

std::string Name(const FileInfo& file) {
  return fmt::format("{}:{}-{}", file.id.level.value, file.id.txids.min.value,
                     file.id.txids.max.value);
}

RetentionPlan MustPlan(const ReplicaListing& listing, const RetentionPolicy& policy,
                       WallTime now = At(kNow)) {
  auto plan = PlanRetention(listing, policy, now);
  EXPECT_TRUE(plan.ok()) << plan.error().message();
  return plan.ok() ? std::move(plan).value() : RetentionPlan();
}

std::string Removed(const RetentionPlan& plan) {
  std::string text;
  for (const RetentionVerdict& v : plan.remove) text += (text.empty() ? "" : " ") + Name(v.file);
  return text;
}

struct Case {
  const char* why;
  std::vector<ListedFile> files;
  const char* removed;
  RetentionPolicy policy = {};
};

void ExpectRemoved(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    const RetentionPlan plan = MustPlan(Listing(c.files), c.policy);
    EXPECT_EQ(Removed(plan), c.removed);
    EXPECT_EQ(plan.remove.size() + plan.keep.size(), c.files.size());
    EXPECT_EQ(plan.remove_bytes, 1000 * plan.remove.size());
  }
}

TEST(Retention, D20TheWindowKeepsItsBase) {
  ExpectRemoved({
      {"the newest from before the window stays, and all behind it",
       {Old(9, 1, 10, 60 * kHour), Old(9, 1, 20, 36 * kHour), Old(9, 1, 30, 12 * kHour),
        Old(9, 1, 40, kMinute)},
       "9:1-10"},
      {"one of exactly the window's age does not serve its beginning; an hour for restores",
       {Old(9, 1, 10, 30 * kHour), Old(9, 1, 20, 25 * kHour)},
       ""},
      {"a millisecond older does",
       {Old(9, 1, 10, 30 * kHour), Old(9, 1, 20, 25 * kHour + 1)},
       "9:1-10"},
      {"none is old enough", {Old(9, 1, 10, 23 * kHour), Old(9, 1, 20, kHour)}, ""},
      {"nothing at all", {}, ""},
      {"all are old", {Old(9, 1, 10, 90 * kHour), Old(9, 1, 20, 40 * kHour)}, "9:1-10"},
      {"no snapshots", {Old(1, 1, 10, 90 * kHour), Old(1, 11, 20, 80 * kHour)}, ""},
  });
}

TEST(Retention, R35LowerLevelsGoBelowTheSnapshotBelowTheBase) {
  const std::vector<ListedFile> files = {
      Old(9, 1, 10, 90 * kHour),  Old(9, 1, 20, 60 * kHour),  Old(9, 1, 30, 36 * kHour),
      Old(9, 1, 40, 12 * kHour),  Old(3, 1, 9, 90 * kHour),   Old(3, 10, 19, 62 * kHour),
      Old(3, 15, 20, 60 * kHour), Old(3, 21, 30, 36 * kHour), Old(3, 31, 40, 12 * kHour)};
  ExpectRemoved({
      {"strictly below the newest snapshot that goes", files, "3:1-9 3:10-19 9:1-10 9:1-20"},
      {"the same if a tier keeps it",
       files,
       "3:1-9 3:10-19 9:1-10 9:1-20",
       {.keep = {.hourly = 0, .daily = 2, .weekly = 0, .monthly = 0}}},
      {"tiers keep points, not what lies between them",
       files,
       "3:1-9 3:10-19",
       {.keep = {.hourly = 4, .daily = 0, .weekly = 0, .monthly = 0}}},
      {"disabled", files, "", {.enabled = false}},
      {"never the newest of a level",
       {Old(9, 1, 10, 90 * kHour), Old(9, 1, 30, 36 * kHour), Old(2, 1, 5, 95 * kHour),
        Old(3, 1, 3, 96 * kHour), Old(3, 4, 5, 95 * kHour)},
       "3:1-3 9:1-10"},
  });
}

// Issue 1333 of the reference: nothing was ever removed below the only snapshot.
TEST(Retention, AnIdleDatabaseLosesWhatItNoLongerNeeds) {
  const auto files = [](std::int64_t age) {
    return std::vector<ListedFile>{Old(9, 1, 10, age),        Old(1, 1, 4, age + kHour),
                                   Old(1, 5, 8, age + kHour), Old(1, 9, 10, age),
                                   Old(0, 8, 8, age + kHour), Old(0, 9, 9, age),
                                   Old(0, 10, 10, age)};
  };
  ExpectRemoved({
      {"while a restore may be under way that was planned without it", files(47 * kHour),
       "0:8-8 0:9-9"},
      {"later", files(49 * kHour), "0:8-8 0:9-9 1:1-4 1:5-8"},
  });
}

TEST(Retention, R49LevelZeroGoesFromItsFrontWhenItIsMerged) {
  const auto level0 = [](std::int64_t newest_age) {
    std::vector<ListedFile> files;
    for (std::uint64_t txid = 1; txid <= 8; ++txid) {
      files.push_back(
          Old(0, txid, txid, newest_age + static_cast<std::int64_t>(8 - txid) * kMinute));
    }
    return files;
  };
  const auto with = [&](std::int64_t newest_age, std::vector<ListedFile> more) {
    std::vector<ListedFile> files = level0(newest_age);
    files.insert(files.end(), more.begin(), more.end());
    return files;
  };
  ExpectRemoved({
      {"nothing is merged", level0(kHour), ""},
      {"all is merged; the newest stays", with(kHour, {Old(1, 1, 8, kHour)}),
       "0:1-1 0:2-2 0:3-3 0:4-4 0:5-5 0:6-6 0:7-7"},
      {"also what a late answer has put over it",
       with(kHour, {Old(0, 2, 3, kHour + 5 * kMinute), Old(1, 1, 8, kHour)}),
       "0:1-1 0:2-2 0:2-3 0:3-3 0:4-4 0:5-5 0:6-6 0:7-7"},
      {"what is young stays, and the last that is not",
       with(0, {Old(1, 1, 1, 7 * kMinute), Old(1, 2, 8, 0)}), "0:1-1"},
      {"no point of the last minutes may lose what it builds on", with(0, {Old(1, 1, 8, 0)}), ""},
      {"nor may a moment in them that the last file from before them serves",
       {Old(0, 1, 1, 20 * kMinute), Old(0, 2, 2, 10 * kMinute), Old(0, 3, 3, kMinute),
        Old(1, 1, 3, kMinute)},
       ""},
      {"or any between the newest file and a file of level 1 that has a later time",
       with(kHour, {Old(1, 1, 8, kHour / 2)}), ""},
      {"a hole in level 1 keeps what lies in it and behind",
       with(kHour, {Old(1, 1, 3, kHour), Old(1, 5, 8, kHour)}), "0:1-1 0:2-2 0:3-3"},
      {"two files of level 1 that meet", with(kHour, {Old(1, 1, 3, kHour), Old(1, 4, 7, kHour)}),
       "0:1-1 0:2-2 0:3-3 0:4-4 0:5-5 0:6-6 0:7-7"},
      {"a full image is not merged but became a snapshot of the same time",
       with(kHour, {Old(1, 1, 3, kHour), Old(9, 1, 4, kHour + 4 * kMinute), Old(1, 5, 8, kHour)}),
       "0:1-1 0:2-2 0:3-3 0:4-4 0:5-5 0:6-6 0:7-7"},
      {"a later snapshot of that transaction does not serve the moments before it",
       with(kHour, {Old(1, 1, 3, kHour), Old(9, 1, 4, kHour), Old(1, 5, 8, kHour)}),
       "0:1-1 0:2-2 0:3-3"},
      {"for ever", with(kHour, {Old(1, 1, 8, kHour)}), "", {.l0_retention = milliseconds(0)}},
      {"longer", with(kHour, {Old(1, 1, 8, kHour)}), "", {.l0_retention = hours(2)}},
      {"what lies below the floor goes, merged or not",
       with(70 * kHour, {Old(9, 1, 6, 69 * kHour), Old(9, 1, 7, 68 * kHour),
                         Old(9, 1, 9, 30 * kHour), Old(9, 1, 10, kHour)}),
       "0:1-1 0:2-2 0:3-3 0:4-4 0:5-5 0:6-6 9:1-6 9:1-7"},
  });
}

TEST(Retention, ClocksThatJumpedRemoveNothing) {
  ExpectRemoved({
      {"a new snapshot with an ancient time is not the base",
       {Old(9, 1, 10, 30 * kHour), Old(9, 1, 20, 6 * kHour), Old(9, 1, 30, 9'000 * kDay)},
       ""},
      {"nor one without a time",
       {Old(9, 1, 10, 30 * kHour), Old(9, 1, 20, 6 * kHour), Old(9, 1, 30, kNow)},
       ""},
      {"nor one from the future; an older one stays until its time has come",
       {Old(9, 1, 5, 40 * kHour), Old(9, 1, 10, -kDay), Old(9, 1, 20, 30 * kHour),
        Old(9, 1, 30, -kDay)},
       "9:1-5"},
      {"fresh files of level 0 with an ancient time",
       {Old(0, 1, 1, kMinute), Old(0, 2, 2, 9'000 * kDay), Old(0, 3, 3, kMinute),
        Old(1, 1, 3, kMinute)},
       ""},
      {"a future time keeps level 0 together",
       {Old(0, 1, 1, kHour), Old(0, 2, 2, -kDay), Old(0, 3, 3, kHour), Old(0, 4, 4, kHour),
        Old(1, 1, 1, kHour), Old(1, 2, 4, kHour)},
       "0:1-1"},
      {"but not for ever",
       {Old(0, 1, 1, 80 * kHour), Old(0, 2, 2, -kDay), Old(0, 3, 3, 70 * kHour),
        Old(0, 4, 4, 65 * kHour), Old(0, 5, 5, kHour), Old(9, 1, 3, 70 * kHour),
        Old(9, 1, 4, 60 * kHour)},
       "0:1-1 0:2-2 0:3-3 9:1-3"},
  });
}

TEST(Retention, TiersKeepTheNewestOfEachPeriod) {
  // 2024-10-04 is a Friday. Snapshots at noon, one a day and one more at six; 70 days.
  std::vector<ListedFile> files;
  for (std::uint64_t day = 0; day <= 70; ++day) {
    const std::int64_t noon = kNow - 3 * kHour - static_cast<std::int64_t>(70 - day) * kDay;
    files.push_back({9, 1, 2 * day + 1, noon - 6 * kHour});
    files.push_back({9, 1, 2 * day + 2, noon});
  }
  const auto kept = [&](const KeepTiers& keep) {
    std::set<std::string> days;
    for (const RetentionVerdict& v : MustPlan(Listing(files), {.keep = keep}).keep) {
      if (v.reason == RetentionReason::kBase || v.reason == RetentionReason::kInWindow) continue;
      days.insert(fmt::format("{} {}", FormatTimestamp(v.file.created_at).substr(5, 8),
                              ReasonText(v.reason)));
    }
    return days;
  };
  using Days = std::set<std::string>;
  EXPECT_EQ(kept({}), Days());
  EXPECT_EQ(kept({.hourly = 5, .daily = 0, .weekly = 0, .monthly = 0}),
            (Days{"10-03T06 the snapshot of its hour", "10-02T12 the snapshot of its hour"}));
  EXPECT_EQ(kept({.hourly = 0, .daily = 4, .weekly = 0, .monthly = 0}),
            (Days{"10-02T12 the snapshot of its day", "10-01T12 the snapshot of its day"}));
  EXPECT_EQ(kept({.hourly = 0, .daily = 0, .weekly = 3, .monthly = 0}),
            (Days{"09-29T12 the snapshot of its week", "09-22T12 the snapshot of its week"}));
  EXPECT_EQ(kept({.hourly = 0, .daily = 0, .weekly = 0, .monthly = 9}),
            (Days{"09-30T12 the snapshot of its month", "08-31T12 the snapshot of its month",
                  "07-31T12 the snapshot of its month"}));
}

TEST(Retention, ListingsThatAreNotInOrder) {
  ReplicaListing listing =
      Listing({Old(9, 1, 10, 60 * kHour), Old(9, 1, 20, 36 * kHour), Old(9, 2, 90, 36 * kHour),
               Old(9, 1, 30, kHour), Old(1, 1, 4, 80 * kHour), Old(1, 5, 9, 61 * kHour),
               Old(1, 3, 30, kHour), Old(1, 0, 4, kDay), Old(1, 9, 4, kDay)});
  const std::string removed = Removed(MustPlan(listing, {}));
  EXPECT_EQ(removed, "1:1-4 1:5-9 9:1-10");
  std::mt19937_64 rng(1);
  for (int i = 0; i < 20; ++i) {
    for (auto& level : listing.levels) std::ranges::shuffle(level, rng);
    EXPECT_EQ(Removed(MustPlan(listing, {})), removed);
  }
  listing.levels[1].push_back(listing.levels[1].front());  // Listed twice.
  EXPECT_EQ(Removed(MustPlan(listing, {})), removed);
}

TEST(Retention, EveryReasonHasWords) {
  std::set<std::string_view> texts;
  for (int i = 0; i <= static_cast<int>(RetentionReason::kNotRange); ++i) {
    texts.insert(ReasonText(static_cast<RetentionReason>(i)));
  }
  EXPECT_EQ(texts.size(), static_cast<std::size_t>(RetentionReason::kNotRange) + 1);
  EXPECT_FALSE(texts.contains(""));
}

}  // namespace
}  // namespace litestream
