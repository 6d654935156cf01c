#include "replica/compaction_choice.h"

#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream {
namespace {

using Action = CompactionChoice::Action;

FileId Id(int level, std::uint64_t min, std::uint64_t max) {
  return {Level{static_cast<std::uint8_t>(level)}, {Txid{min}, Txid{max}}};
}
Catalogue CatalogueOf(const std::vector<FileId>& ids) {
  Catalogue catalogue;
  for (const FileId& id : ids) catalogue.Add({.id = id, .size_bytes = 100, .created_at = {}});
  return catalogue;
}
std::vector<FileId> IdsOf(const CompactionChoice& choice) {
  std::vector<FileId> ids;
  for (const FileInfo& file : choice.sources) ids.push_back(file.id);
  return ids;
}
using Hole = std::optional<TxidRange>;
Hole HoleOf(std::uint64_t min, std::uint64_t max) {
  return TxidRange{Txid{min}, Txid{max}};
}

TEST(ChooseSourcesTest, Table) {
  const auto a = [](std::uint64_t n) { return Id(0, n, n); };
  const struct {
    const char* why;
    std::vector<FileId> files;
    std::set<FileId> images;
    Action action;
    std::vector<FileId> sources;
    Hole hole;
    bool more;
  } cases[] = {
      {"empty", {}, {}, Action::kNothing, {}, {}, false},
      {"everything from the beginning", {a(1), a(2)}, {}, Action::kMerge, {a(1), a(2)}, {}, false},
      {"above what the level holds",
       {a(3), a(4), a(5), Id(1, 1, 3)},
       {},
       Action::kMerge,
       {a(4), a(5)},
       {},
       false},
      {"nothing above", {a(3), Id(1, 1, 3)}, {}, Action::kNothing, {}, {}, false},
      {"the level is ahead", {a(2), Id(1, 1, 3)}, {}, Action::kNothing, {}, {}, false},
      {"a merged file of level 0",
       {a(1), Id(0, 2, 7), a(8)},
       {},
       Action::kMerge,
       {a(1), Id(0, 2, 7), a(8)},
       {},
       false},
      {"a file that overlaps forward",
       {a(4), Id(0, 5, 8), Id(1, 1, 6)},
       {},
       Action::kMerge,
       {Id(0, 5, 8)},
       {},
       false},
      {"of two the one that goes further",
       {Id(0, 1, 2), Id(0, 1, 4), a(5)},
       {},
       Action::kMerge,
       {Id(0, 1, 4), a(5)},
       {},
       false},

      {"D13: a gap behind what the level holds",
       {a(6), a(7), Id(1, 1, 3)},
       {},
       Action::kGap,
       {},
       HoleOf(4, 5),
       false},
      {"D13: a gap inside: up to it first",
       {a(4), a(6), Id(1, 1, 3)},
       {},
       Action::kMerge,
       {a(4)},
       {},
       true},
      {"a gap at the beginning", {a(3)}, {}, Action::kGap, {}, HoleOf(1, 2), false},
      {"a snapshot heals a gap",
       {a(6), a(7), Id(1, 1, 3), Id(9, 1, 5)},
       {},
       Action::kMerge,
       {a(6), a(7)},
       HoleOf(4, 5),
       false},
      {"one that ends later, too; what is between is of no use",
       {a(6), a(7), a(8), Id(1, 1, 3), Id(9, 1, 7)},
       {},
       Action::kMerge,
       {a(8)},
       HoleOf(4, 5),
       false},
      {"the first that does",
       {a(6), a(7), a(8), Id(1, 1, 3), Id(9, 1, 2), Id(9, 1, 6), Id(9, 1, 7)},
       {},
       Action::kMerge,
       {a(7), a(8)},
       HoleOf(4, 5),
       false},
      {"nothing behind that snapshot yet",
       {a(6), a(7), Id(1, 1, 3), Id(9, 1, 7)},
       {},
       Action::kNothing,
       {},
       HoleOf(4, 5),
       false},
      {"one that ends before the gap does not help",
       {a(6), Id(1, 1, 3), Id(9, 1, 4)},
       {},
       Action::kGap,
       {},
       HoleOf(4, 5),
       false},
      {"two holes, each with its snapshot",
       {a(5), a(9), Id(1, 1, 3), Id(9, 1, 4), Id(9, 1, 8), Id(1, 5, 5)},
       {},
       Action::kMerge,
       {a(9)},
       HoleOf(6, 8),
       false},
      {"what retention removed at the front is no gap where a snapshot stands for it",
       {a(8), a(9), Id(9, 1, 7)},
       {},
       Action::kMerge,
       {a(8), a(9)},
       HoleOf(1, 7),
       false},

      {"an image is promoted",
       {a(4), a(5), Id(1, 1, 3)},
       {a(4)},
       Action::kPromote,
       {a(4)},
       {},
       true},
      {"what is before it comes first",
       {a(4), a(5), a(6), Id(1, 1, 3)},
       {a(5)},
       Action::kMerge,
       {a(4)},
       {},
       true},
      {"and behind it the level goes on",
       {a(4), a(5), a(6), Id(1, 1, 3), Id(9, 1, 4)},
       {a(4)},
       Action::kMerge,
       {a(5), a(6)},
       {},
       false},
      {"two images",
       {a(4), a(5), a(6), Id(1, 1, 3), Id(9, 1, 4)},
       {a(4), a(5)},
       Action::kPromote,
       {a(5)},
       {},
       true},
      {"promoted, and nothing behind it",
       {a(4), Id(1, 1, 3), Id(9, 1, 4)},
       {a(4)},
       Action::kNothing,
       {},
       {},
       false},
      {"a single file that a snapshot ends with waits",
       {a(4), Id(1, 1, 3), Id(9, 1, 4)},
       {},
       Action::kNothing,
       {},
       {},
       false},
      {"what the level has passed by comes first",
       {a(3), a(4), a(8), Id(1, 1, 2), Id(1, 6, 7), Id(9, 1, 5)},
       {},
       Action::kMerge,
       {a(3), a(4)},
       {},
       true},
      {"also behind a snapshot",
       {a(5), a(9), Id(1, 1, 2), Id(1, 7, 8), Id(9, 1, 4), Id(9, 1, 6)},
       {},
       Action::kMerge,
       {a(5)},
       {},
       true},
      {"and before the first file of the level",
       {a(1), a(2), a(9), Id(1, 5, 8), Id(9, 1, 4)},
       {},
       Action::kMerge,
       {a(1), a(2)},
       {},
       true},
      {"if it continues anything",
       {a(4), a(9), Id(1, 1, 2), Id(1, 7, 8), Id(9, 1, 6)},
       {},
       Action::kMerge,
       {a(9)},
       {},
       false},
      {"if no snapshot is as good",
       {a(3), a(9), Id(1, 1, 2), Id(1, 7, 8), Id(9, 1, 3)},
       {},
       Action::kMerge,
       {a(9)},
       {},
       false},
      {"if it is no image",
       {a(3), a(4), a(9), Id(1, 1, 2), Id(1, 7, 8), Id(9, 1, 6)},
       {a(3)},
       Action::kMerge,
       {a(9)},
       {},
       false},
      {"if it ends before the next one begins",
       {Id(0, 3, 7), a(9), Id(1, 1, 2), Id(1, 6, 8), Id(9, 1, 5)},
       {},
       Action::kMerge,
       {a(9)},
       {},
       false},
      {"but not with others",
       {a(4), a(5), Id(1, 1, 3), Id(9, 1, 4)},
       {},
       Action::kMerge,
       {a(4), a(5)},
       {},
       false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const CompactionChoice choice = ChooseSources(CatalogueOf(c.files), Level{1}, {}, c.images);
    EXPECT_EQ(choice.action, c.action);
    EXPECT_EQ(IdsOf(choice), c.sources);
    EXPECT_EQ(choice.hole, c.hole);
    EXPECT_EQ(choice.more, c.more);
  }
}

// Its place is taken by a file of which nothing can be made.
TEST(ChooseSourcesTest, NothingIsMadeInThePlaceOfADamagedFile) {
  const Catalogue catalogue =
      CatalogueOf({Id(0, 3, 3), Id(0, 4, 4), Id(0, 9, 9), Id(1, 1, 2), Id(1, 6, 8), Id(9, 1, 5)});
  const TxidRange damaged[] = {{Txid{3}, Txid{5}}};
  EXPECT_EQ(IdsOf(ChooseSources(catalogue, Level{1}, {}, {}, damaged)), std::vector{Id(0, 9, 9)});
  EXPECT_EQ(IdsOf(ChooseSources(catalogue, Level{1}, {}, {})),
            (std::vector{Id(0, 3, 3), Id(0, 4, 4)}));
}

TEST(ChooseSourcesTest, Bounds) {
  std::vector<FileId> files;
  for (std::uint64_t n = 1; n <= 10; ++n) files.push_back(Id(2, n, n));
  const Catalogue catalogue = CatalogueOf(files);
  const struct {
    CompactionBounds bounds;
    std::size_t count;
  } cases[] = {
      {{.max_files = 4, .max_bytes = 100'000}, 4},   {{.max_files = 10, .max_bytes = 100'000}, 10},
      {{.max_files = 100, .max_bytes = 350}, 3},     {{.max_files = 100, .max_bytes = 300}, 3},
      {{.max_files = 100, .max_bytes = 1}, 1},       {{.max_files = 0, .max_bytes = 0}, 1},
      {{.max_files = 100, .max_bytes = 10'000}, 10},
  };
  for (const auto& c : cases) {
    const CompactionChoice choice = ChooseSources(catalogue, Level{3}, c.bounds, {});
    EXPECT_EQ(choice.sources.size(), c.count);
    EXPECT_EQ(choice.more, c.count < 10);
  }
}

// The answer to a write was lost: the same file again, whatever has come since.
TEST(ChooseSourcesTest, WhatIsDoubtfulIsTriedAgain) {
  Catalogue catalogue = CatalogueOf({Id(0, 1, 1), Id(0, 2, 2), Id(0, 3, 3), Id(0, 4, 4)});
  catalogue.Doubt(Id(1, 1, 2));
  catalogue.Doubt(Id(2, 1, 3));
  CompactionChoice choice = ChooseSources(catalogue, Level{1}, {}, {});
  EXPECT_EQ(IdsOf(choice), (std::vector{Id(0, 1, 1), Id(0, 2, 2)}));
  EXPECT_TRUE(choice.more);
  // Its sources are not what they were.
  catalogue.Remove(Id(0, 2, 2));
  catalogue.Add({.id = Id(0, 2, 3), .size_bytes = 1, .created_at = {}});
  choice = ChooseSources(catalogue, Level{1}, {}, {});
  EXPECT_EQ(IdsOf(choice), (std::vector{Id(0, 1, 1), Id(0, 2, 3), Id(0, 4, 4)}));
}

// Whatever is there: what is chosen continues, stays within bounds, and steps come to an end with
// every file of the level below that something leads to in the level.
TEST(ChooseSourcesTest, StepsEnd) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Catalogue catalogue;
    std::set<FileId> images;
    for (std::uint64_t n = 1; n <= 30;) {
      const std::uint64_t end = n + random() % 3;
      const FileId id = Id(0, n, end);
      if (random() % 10 != 0) catalogue.Add({.id = id, .size_bytes = 100, .created_at = {}});
      if (random() % 10 == 0) images.insert(id);
      if (random() % 6 == 0) {
        catalogue.Add({.id = Id(9, 1, end), .size_bytes = 100, .created_at = {}});
      }
      n = end + 1;
    }
    const CompactionBounds bounds{.max_files = 1 + random() % 5, .max_bytes = 350};
    for (int step = 0;; ++step) {
      ASSERT_LT(step, 40);
      const CompactionChoice choice = ChooseSources(catalogue, Level{1}, bounds, images);
      if (choice.action == Action::kGap) {
        ASSERT_TRUE(choice.hole);
        EXPECT_FALSE(catalogue.LeadsTo({choice.hole->max.Next(), choice.hole->max.Next()}));
        break;
      }
      if (choice.action == Action::kNothing) break;
      ASSERT_FALSE(choice.sources.empty());
      const TxidRange txids{choice.sources.front().id.txids.min,
                            choice.sources.back().id.txids.max};
      if (choice.action == Action::kPromote) {
        ASSERT_EQ(choice.sources.size(), 1U);
        catalogue.Add({.id = {kSnapshotLevel, {Txid{1}, txids.max}}, .size_bytes = 1});
        continue;
      }
      EXPECT_LE(choice.sources.size(), bounds.max_files);
      for (std::size_t i = 0; i < choice.sources.size(); ++i) {
        EXPECT_FALSE(images.contains(choice.sources[i].id));
        if (i == 0) continue;
        EXPECT_EQ(choice.sources[i].id.txids.min, choice.sources[i - 1].id.txids.max.Next());
      }
      const Txid before = catalogue.newest(Level{1});
      EXPECT_GT(txids.max, before);
      EXPECT_TRUE(txids.min == before.Next() || catalogue.LeadsTo(txids) ||
                  images.contains(Id(0, before.value + 1, txids.min.value - 1)));
      catalogue.Add({.id = {Level{1}, txids}, .size_bytes = 1, .created_at = {}});
    }
  }
}

TEST(ChooseForSnapshotTest, Table) {
  const struct {
    const char* why;
    std::vector<FileId> files;
    Action action;
    std::vector<FileId> sources;
    Hole hole;
  } cases[] = {
      {"empty", {}, Action::kNothing, {}, {}},
      {"there is one", {Id(0, 1, 1), Id(9, 1, 1)}, Action::kNothing, {}, {}},
      {"from the first file on",
       {Id(0, 1, 1), Id(0, 2, 2)},
       Action::kMerge,
       {Id(0, 1, 1), Id(0, 2, 2)},
       {}},
      {"from the last snapshot, by the highest levels",
       {Id(9, 1, 1), Id(9, 1, 3), Id(0, 4, 4), Id(0, 5, 5), Id(0, 6, 6), Id(1, 2, 5)},
       Action::kMerge,
       {Id(9, 1, 3), Id(1, 2, 5), Id(0, 6, 6)},
       {}},
      {"a hole", {Id(9, 1, 3), Id(0, 6, 6), Id(1, 5, 6)}, Action::kGap, {}, HoleOf(4, 4)},
      {"no beginning", {Id(0, 6, 6)}, Action::kGap, {}, HoleOf(1, 5)},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const CompactionChoice choice = ChooseForSnapshot(CatalogueOf(c.files));
    EXPECT_EQ(choice.action, c.action);
    EXPECT_EQ(IdsOf(choice), c.sources);
    EXPECT_EQ(choice.hole, c.hole);
  }
}

TEST(ChooseForSnapshotTest, WhatIsDoubtfulIsTriedAgain) {
  Catalogue catalogue = CatalogueOf({Id(9, 1, 2), Id(0, 3, 3), Id(0, 4, 4), Id(0, 5, 5)});
  catalogue.Doubt(Id(9, 1, 4));
  CompactionChoice choice = ChooseForSnapshot(catalogue);
  EXPECT_EQ(IdsOf(choice), (std::vector{Id(9, 1, 2), Id(0, 3, 3), Id(0, 4, 4)}));
  EXPECT_TRUE(choice.more);
  // It cannot be made any more.
  catalogue.Remove(Id(0, 3, 3));
  catalogue.Remove(Id(0, 4, 4));
  catalogue.Add({.id = Id(1, 3, 5), .size_bytes = 1, .created_at = {}});
  choice = ChooseForSnapshot(catalogue);
  EXPECT_EQ(IdsOf(choice), (std::vector{Id(9, 1, 2), Id(1, 3, 5)}));
  EXPECT_FALSE(choice.more);
}

}  // namespace
}  // namespace litestream
