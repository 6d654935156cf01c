#include "replica/plan.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/replica_listing.h"

namespace litestream {
namespace {

using testing::At;
using testing::Info;
using testing::ListedFile;
using testing::Listing;

RestoreTarget ToTxid(std::uint64_t txid) {
  return {.txid = Txid{txid}, .before = {}};
}
RestoreTarget ToTime(int ms) {
  return {.txid = {}, .before = At(ms)};
}

// "9:1-5 0:6-6", or "error: <message>".
std::string Plan(const ReplicaListing& listing, const RestoreTarget& target) {
  const auto plan = PlanRestore(listing, target);
  if (!plan.ok()) return "error: " + plan.error().message();
  std::string text;
  for (const FileInfo& f : plan.value().files) {
    if (!text.empty()) text += " ";
    text += std::to_string(f.id.level.value) + ":" + std::to_string(f.id.txids.min.value) + "-" +
            std::to_string(f.id.txids.max.value);
  }
  if (plan.value().next_behind_hole) {
    text += " hole before " + std::to_string(plan.value().next_behind_hole->value);
  }
  return text;
}

struct PlanCase {
  const char* why;
  std::vector<ListedFile> files;
  RestoreTarget target;
  std::string want;
};

void ExpectPlans(const std::vector<PlanCase>& cases) {
  for (const PlanCase& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(Plan(Listing(c.files), c.target), c.want);
  }
}

const std::string kGone = "error: transaction not available";

TEST(PlanRestore, ChoosesFilesAsTheReferenceDoes) {
  ExpectPlans({
      {"snapshot only", {{9, 1, 10}}, ToTxid(10), "9:1-10"},
      {"snapshot and increments",
       {{9, 1, 5},
        {9, 1, 15},
        {1, 6, 7},
        {1, 8, 9},
        {1, 10, 12},
        {0, 7, 7},
        {0, 8, 8},
        {0, 9, 9},
        {0, 10, 10},
        {0, 11, 11}},
       ToTxid(10),
       "9:1-5 1:6-7 1:8-9 0:10-10"},
      {"longest wins over level", {{9, 1, 5}, {2, 6, 12}, {0, 6, 20}}, ToTxid(20), "9:1-5 0:6-20"},
      {"hole in level 1 bridged by level 0",
       {{9, 1, 5}, {1, 6, 7}, {1, 9, 10}, {0, 8, 8}, {0, 9, 9}, {0, 10, 10}},
       ToTxid(10),
       "9:1-5 1:6-7 0:8-8 1:9-10"},
      {"same range on three levels", {{9, 1, 1}, {1, 1, 1}, {0, 1, 1}}, ToTxid(1), "9:1-1"},
      {"overlapping files in one level",
       {{9, 1, 5}, {2, 1, 100}, {2, 50, 60}},
       ToTxid(100),
       "9:1-5 2:1-100"},
      {"target inside the only snapshot", {{9, 1, 10}}, ToTxid(5), kGone},
      {"nothing", {}, {}, kGone},
      {"nothing, for a TXID", {}, ToTxid(1), kGone},
      {"no snapshot level", {{0, 1, 1}, {0, 2, 2}, {1, 1, 2}}, {}, "1:1-2"},
      {"the smaller first TXID wins", {{9, 1, 5}, {1, 6, 9}, {2, 4, 9}}, {}, "9:1-5 2:4-9"},
      {"the higher level wins", {{9, 1, 5}, {1, 6, 9}, {2, 6, 9}}, {}, "9:1-5 2:6-9"},
      {"names that are no range", {{9, 1, 5}, {0, 0, 9}, {0, 9, 6}, {0, 6, 6}}, {}, "9:1-5 0:6-6"},
      {"both targets",
       {{9, 1, 5}},
       {.txid = Txid{5}, .before = At(300)},
       "error: cannot specify both TXID & timestamp to restore"},
  });
}

TEST(PlanRestore, SaysWhatIsMissing) {
  ExpectPlans({
      {"TXID reached by no file",
       {{9, 1, 5}, {1, 6, 8}},
       ToTxid(7),
       kGone + ": files end at 0000000000000005"},
      {"TXID behind the end",
       {{9, 1, 5}, {0, 6, 6}},
       ToTxid(7),
       kGone + ": files end at 0000000000000006"},
      {"TXID behind a hole",
       {{9, 1, 5}, {0, 7, 7}, {0, 8, 8}},
       ToTxid(8),
       kGone + ": have up to 0000000000000005 but next file starts at 0000000000000007"},
      {"hole at the end",
       {{9, 1, 5}, {0, 6, 6}, {0, 8, 8}, {1, 9, 10}},
       {},
       "error: non-contiguous ltx files: have up to 0000000000000006 but next file starts at "
       "0000000000000008"},
      {"a hole before the snapshot does not matter",
       {{9, 1, 5}, {0, 1, 1}, {0, 3, 3}, {0, 6, 6}},
       {},
       "9:1-5 0:6-6"},
      {"no beginning",
       {{0, 2, 2}, {1, 3, 4}},
       {},
       kGone + ": no snapshot, the first file starts at 0000000000000002"},
  });
}

TEST(PlanRestore, GoesByFileTimes) {
  ExpectPlans({
      {"excluded when equal",
       {{9, 1, 5, 100}, {0, 6, 6, 200}, {0, 7, 7, 300}},
       ToTime(300),
       "9:1-5 0:6-6"},
      {"included just before",
       {{9, 1, 5, 100}, {0, 6, 6, 200}, {0, 7, 7, 300}},
       ToTime(301),
       "9:1-5 0:6-6 0:7-7"},
      {"before the first file", {{9, 1, 5, 100}}, ToTime(100), kGone},
      {"an older snapshot for an older time",
       {{9, 1, 5, 100}, {9, 1, 9, 400}, {0, 6, 6, 200}},
       ToTime(300),
       "9:1-5 0:6-6"},
      {"hole before the time",
       {{9, 1, 5, 100}, {0, 7, 7, 200}, {0, 8, 8, 400}},
       ToTime(300),
       "9:1-5 hole before 7"},
      {"a file that is too young makes no hole",
       {{9, 1, 5, 100}, {0, 7, 7, 400}},
       ToTime(300),
       "9:1-5"},
      {"a clock that jumped back",
       {{9, 1, 4, 100}, {0, 5, 5, 500}, {0, 6, 6, 110}},
       ToTime(300),
       "9:1-4 hole before 6"},
  });
}

TEST(PlanRestore, SnapshotIsChosenByItsLastTransactionNotItsPlace) {
  ReplicaListing listing;
  listing.levels[9] = {Info({9, 1, 30}), Info({9, 1, 10}), Info({9, 1, 20})};
  EXPECT_EQ(Plan(listing, {}), "9:1-30");
  EXPECT_EQ(Plan(listing, ToTxid(20)), "9:1-20");
}

TEST(PlanRestore, Codes) {
  const ReplicaListing hole = Listing({{9, 1, 5}, {0, 7, 7}});
  EXPECT_EQ(PlanRestore({}, {}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(PlanRestore(hole, {}).error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(PlanRestore(hole, ToTxid(7)).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(PlanRestore({}, {.txid = Txid{1}, .before = At(1)}).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST(ReplicaListing, NewestAndTimes) {
  EXPECT_TRUE(ReplicaListing().empty());
  EXPECT_EQ(ReplicaListing().newest(), Txid{});
  EXPECT_FALSE(ReplicaListing().oldest_time());
  const ReplicaListing listing = Listing({{9, 1, 5, 300}, {0, 6, 6, 100}, {1, 2, 8, 200}});
  EXPECT_FALSE(listing.empty());
  EXPECT_EQ(listing.newest(), Txid{8});
  EXPECT_EQ(listing.oldest_time(), At(100));
  EXPECT_EQ(listing.newest_time(), At(300));
}

// --- Random replicas against a model that tries everything. ---

constexpr std::uint64_t kTxids = 14;

std::vector<ListedFile> RandomReplica(std::mt19937_64& rng) {
  const auto random = [&](std::uint64_t n) { return static_cast<int>(rng() % n); };
  std::vector<ListedFile> files;
  for (int i = random(4); i > 0; --i) {
    files.push_back({9, 1, 1 + rng() % kTxids, random(20)});
  }
  for (int i = random(16); i > 0; --i) {
    const std::uint64_t min = 1 + rng() % kTxids;
    files.push_back({random(4), min, std::min(kTxids, min + rng() % 4), random(20)});
  }
  return files;
}

bool Usable(const ListedFile& f, const RestoreTarget& target) {
  return (!target.txid || Txid{f.max} <= *target.txid) &&
         (!target.before || At(f.created_ms) < *target.before);
}

// Which transactions any chain of files can end at.
std::vector<bool> Reachable(const std::vector<ListedFile>& files, const RestoreTarget& target) {
  std::vector<bool> reachable(kTxids + 1);
  reachable[0] = true;
  for (std::uint64_t from = 0; from <= kTxids; ++from) {
    if (!reachable[from]) continue;
    for (const ListedFile& f : files) {
      if (Usable(f, target) && f.min <= from + 1 && f.max > from) reachable[f.max] = true;
    }
  }
  return reachable;
}

void ExpectValidChain(const RestorePlan& plan, const RestoreTarget& target) {
  ASSERT_FALSE(plan.files.empty());
  EXPECT_EQ(plan.min_txid(), Txid{1});
  Txid reached;
  for (const FileInfo& f : plan.files) {
    EXPECT_LE(f.id.txids.min, reached.Next());
    EXPECT_GT(f.id.txids.max, reached);
    EXPECT_TRUE(!target.before || f.created_at < *target.before);
    if (reached != Txid{}) {
      EXPECT_NE(f.id.level, kSnapshotLevel);
    }
    reached = f.id.txids.max;
  }
  if (target.txid) {
    EXPECT_EQ(reached, *target.txid);
  }
}

TEST(PlanRestore, FindsAChainWhereverThereIsOne) {
  for (std::uint64_t seed = 1; seed <= 20000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 rng(seed);
    const std::vector<ListedFile> files = RandomReplica(rng);
    RestoreTarget target;
    if (rng() % 3 == 0) {
      target = ToTxid(1 + rng() % kTxids);
    } else if (rng() % 2 == 0) {
      target = ToTime(static_cast<int>(rng() % 21));
    }
    const auto reachable = Reachable(files, target);
    std::uint64_t furthest = kTxids;
    while (!reachable[furthest]) --furthest;
    const bool beyond = std::ranges::any_of(files, [&](const ListedFile& f) {
      return f.level != 9 && Usable(f, target) && f.min > furthest + 1;
    });

    const auto plan = PlanRestore(Listing(files), target);
    if (target.txid) {
      ASSERT_EQ(plan.ok(), reachable[target.txid->value]);
    } else if (furthest == 0) {
      ASSERT_FALSE(plan.ok());
      ASSERT_EQ(plan.error().code(), ErrorCode::kNotFound);
    } else if (target.before) {
      ASSERT_TRUE(plan.ok());
      ASSERT_EQ(plan.value().next_behind_hole.has_value(), beyond);
    } else {
      ASSERT_EQ(plan.ok(), !beyond);
    }
    if (!plan.ok()) continue;
    ExpectValidChain(plan.value(), target);
    if (!target.txid) {
      ASSERT_EQ(plan.value().max_txid(), Txid{furthest});
    }
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace litestream
