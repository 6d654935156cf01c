#include "replica/restore_points.h"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "storage/memory_client.h"
#include "tests/support/instant_clock.h"
#include "tests/support/model_replica.h"
#include "tests/support/replica_listing.h"

namespace litestream {
namespace {

using testing::At;
using testing::Info;
using testing::ListedFile;
using testing::Listing;

// "9:5@100 0:6@200!": level, TXID, time; "!": a moment does not lead here.
std::string PointsText(const RestorePoints& found) {
  std::string text;
  for (const RestorePoint& p : found.points) {
    text += fmt::format("{}{}:{}@{}{}", text.empty() ? "" : " ", p.level.value, p.txid.value,
                        p.time.time_since_epoch().count(), p.by_time ? "" : "!");
  }
  return text;
}

// "9:1-5(2)": level, ends, number of points.
std::string StretchesText(const RestorePoints& found) {
  std::string text;
  for (const RestoreStretch& s : found.stretches) {
    text += fmt::format("{}{}:{}-{}({})", text.empty() ? "" : " ", s.level().value,
                        s.oldest.txid.value, s.newest.txid.value, s.point_count);
  }
  return text;
}

// "6-7 before 8-9(2) to 12": missing, useless and how many files, next point.
std::string HolesText(const RestorePoints& found) {
  std::string text;
  for (const RestoreHole& h : found.holes) {
    text += fmt::format("{}{}-{} before {}-{}({})", text.empty() ? "" : "; ", h.missing.min.value,
                        h.missing.max.value, h.behind.min.value, h.behind.max.value, h.file_count);
    if (h.bridged_by) text += fmt::format(" to {}", h.bridged_by->value);
  }
  return text;
}

TEST(RestorePoints, OfSmallReplicas) {
  const struct {
    const char* why;
    std::vector<ListedFile> files;
    const char* points;
    const char* stretches;
    const char* holes;
  } cases[] = {
      {"nothing", {}, "", "", ""},
      {"every end of a file is a point",
       {{9, 1, 5, 100}, {1, 6, 8, 130}, {0, 8, 8, 130}, {0, 9, 9, 140}},
       "9:5@100 1:8@130 0:9@140",
       "9:5-5(1) 1:8-8(1) 0:9-9(1)",
       ""},
      {"no snapshot level, and two files that end at the same point",
       {{0, 1, 1, 100}, {0, 2, 2, 110}, {1, 1, 2, 110}, {0, 3, 3, 120}},
       "0:1@100 0:2@110 0:3@120",
       "0:1-3(3)",
       ""},
      {"snapshots that nothing connects",
       {{9, 1, 5, 100}, {9, 1, 50, 200}, {9, 1, 90, 300}, {0, 91, 91, 310}},
       "9:5@100 9:50@200 9:90@300 0:91@310",
       "9:5-90(3) 0:91-91(1)",
       ""},
      {"a snapshot that was made later than its last transaction",
       {{9, 1, 5, 150}, {0, 1, 4, 100}, {0, 5, 5, 110}},
       "0:4@100 0:5@110",
       "0:4-5(2)",
       ""},
      {"a clock that was set back",
       {{9, 1, 4, 100}, {0, 5, 5, 500}, {0, 6, 6, 110}, {0, 7, 7, 510}},
       "9:4@100 0:5@500! 0:6@500 0:7@510",
       "9:4-4(1) 0:5-7(3)",
       ""},
      {"a hole at the end",
       {{9, 1, 5, 100}, {0, 6, 6, 110}, {0, 8, 8, 130}, {1, 9, 10, 150}},
       "9:5@100 0:6@110",
       "9:5-5(1) 0:6-6(1)",
       "7-7 before 8-10(2)"},
      {"a hole that a snapshot bridges",
       {{9, 1, 5, 100}, {0, 8, 8, 130}, {9, 1, 10, 150}, {0, 11, 11, 160}},
       "9:5@100 9:10@150 0:11@160",
       "9:5-10(2) 0:11-11(1)",
       "6-7 before 8-8(1) to 10"},
      {"an older file behind a hole keeps a moment from leading to the point",
       {{9, 1, 5, 100}, {0, 8, 8, 90}},
       "9:5@100!",
       "9:5-5(1)",
       "6-7 before 8-8(1)"},
      {"no beginning", {{0, 2, 2, 100}, {1, 3, 4, 110}}, "", "", "1-1 before 2-4(2)"},
      {"names that are no range, and no snapshots on the snapshot level",
       {{9, 1, 5, 100}, {0, 0, 9, 100}, {0, 9, 6, 100}, {9, 2, 8, 100}},
       "9:5@100",
       "9:5-5(1)",
       ""},
      {"the last number",
       {{9, 1, ~0ULL, 100}, {0, ~0ULL, ~0ULL, 90}},
       "9:18446744073709551615@100!",
       "9:18446744073709551615-18446744073709551615(1)",
       "1-18446744073709551614 before 18446744073709551615-18446744073709551615(1) to "
       "18446744073709551615"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const RestorePoints found = FindRestorePoints(Listing(c.files));
    EXPECT_EQ(PointsText(found), c.points);
    EXPECT_EQ(StretchesText(found), c.stretches);
    EXPECT_EQ(HolesText(found), c.holes);
  }
}

// --- Against PlanRestore, on random replicas. ---

constexpr std::uint64_t kTxids = 16;

ReplicaListing RandomListing(std::mt19937_64& rng) {
  std::vector<ListedFile> files;
  const bool orderly = rng() % 2 == 0;  // Times grow with transactions.
  const auto time = [&](std::uint64_t max) {
    return static_cast<std::int64_t>(orderly ? max * 3 + rng() % 3 : rng() % 20);
  };
  for (std::uint64_t i = rng() % 4; i > 0; --i) {
    const std::uint64_t max = 1 + rng() % kTxids;
    files.push_back({9, rng() % 8 == 0 ? 2U : 1U, std::max<std::uint64_t>(2, max), time(max)});
  }
  for (std::uint64_t i = rng() % 20; i > 0; --i) {
    const std::uint64_t min = rng() % kTxids + (rng() % 10 == 0 ? 0 : 1);
    const std::uint64_t max = std::min(kTxids, min + rng() % 4);
    files.push_back({static_cast<int>(rng() % 4), min, max, time(max)});
  }
  return Listing(files);
}

void ExpectAgrees(const ReplicaListing& listing, const RestorePoints& found) {
  std::size_t next = 0;
  for (std::uint64_t txid = 1; txid <= kTxids + 1; ++txid) {
    const auto plan = PlanRestore(listing, {.txid = Txid{txid}, .before = {}});
    const bool listed = next < found.points.size() && found.points[next].txid == Txid{txid};
    ASSERT_EQ(plan.ok(), listed) << "TXID " << txid;
    if (!listed) continue;
    const RestorePoint& point = found.points[next++];
    ASSERT_EQ(plan.value().files.back().id, point.last.id);
    for (const int later_ms : {0, 1}) {
      const WallTime before = point.time + std::chrono::milliseconds(later_ms);
      const auto by_time = PlanRestore(listing, {.txid = {}, .before = before});
      const bool here = by_time.ok() && by_time.value().max_txid() == Txid{txid};
      if (later_ms == 0) {
        ASSERT_FALSE(here) << "TXID " << txid << " before its time";
      } else {
        ASSERT_EQ(here && !by_time.value().next_behind_hole, point.by_time) << "TXID " << txid;
      }
    }
  }
  ASSERT_EQ(next, found.points.size());
}

TEST(RestorePoints, AreWhatPlanRestoreAccepts) {
  for (std::uint64_t seed = 1; seed <= 30'000; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 rng(seed);
    ReplicaListing listing = RandomListing(rng);
    const RestorePoints found = FindRestorePoints(listing);
    ExpectAgrees(listing, found);
    // Stretches hold every point, and a hole at the end is what makes a full restore fail.
    std::size_t count = 0;
    for (const RestoreStretch& stretch : found.stretches) {
      ASSERT_EQ(stretch.oldest.txid, found.points[count].txid);
      count += stretch.point_count;
      ASSERT_EQ(stretch.newest.txid, found.points[count - 1].txid);
    }
    ASSERT_EQ(count, found.points.size());
    const auto all = PlanRestore(listing, {});
    const bool open = std::ranges::any_of(
        found.holes, [](const RestoreHole& hole) { return !hole.bridged_by.has_value(); });
    ASSERT_EQ(all.ok(), !open && !found.points.empty());
    for (const RestoreHole& hole : found.holes) ASSERT_LE(hole.missing.min, hole.missing.max);
    // The order of the listing does not matter.
    for (auto& level : listing.levels) std::ranges::shuffle(level, rng);
    ASSERT_EQ(PointsText(FindRestorePoints(listing)), PointsText(found));
    if (::testing::Test::HasFailure()) return;
  }
}

// --- Proofs, from real files. ---

TEST(ReadPointProofs, SaysWhatTheHeaderCarries) {
  testing::InstantClock clock;
  const Context ctx(std::stop_token(), std::nullopt, clock);
  MemoryStore store;
  const auto client = MakeMemoryClient(store);
  testing::ModelReplica model(1, 512);
  model.CommitRandomly(4, 5);
  model.Put(*client, 0, 1, 1, {});
  model.Put(*client, 0, 2, 2, {.proof = false});
  testing::ModelReplica::PutBytes(*client, {kLevel0, {Txid{3}, Txid{3}}}, testing::Bytes(200));
  testing::ModelReplica::PutBytes(*client, {kLevel0, {Txid{4}, Txid{4}}},
                                  model.File({Txid{2}, Txid{2}}, {}));  // Another file's header.
  const auto listing = ListReplica(ctx, *client, true);
  ASSERT_TRUE(listing.ok());
  RestorePoints found = FindRestorePoints(listing.value());
  ASSERT_EQ(found.points.size(), 4U);
  found.points.push_back(found.points.back());
  found.points.back().last = Info({0, 5, 5, 0});  // Gone.
  const auto proofs = ReadPointProofs(ctx, *client, found.points, 2);
  ASSERT_TRUE(proofs.ok()) << proofs.error().message();
  EXPECT_EQ(proofs.value(),
            (std::vector{PointProof::kCarried, PointProof::kNone, PointProof::kUnreadable,
                         PointProof::kUnreadable, PointProof::kUnreadable}));

  store.SetFaults([](StorageCall call, const FileId& id) {
    return call == StorageCall::kOpen && id.txids.min == Txid{2} ? StorageFault::kFailBefore
                                                                 : StorageFault::kNone;
  });
  const auto away = ReadPointProofs(ctx, *client, found.points, 1);
  ASSERT_FALSE(away.ok());
  EXPECT_EQ(away.error().code(), ErrorCode::kUnavailable);
  EXPECT_NE(away.error().message().find("read 0/0000000000000002-"), std::string::npos);
}

}  // namespace
}  // namespace litestream
