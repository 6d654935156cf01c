#include "replica/catalogue.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/memory_env.h"

namespace litestream {
namespace {

using Kind = CatalogueDifference::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

FileId Id(int level, std::uint64_t min, std::uint64_t max) {
  return {Level{static_cast<std::uint8_t>(level)}, {Txid{min}, Txid{max}}};
}
FileInfo Info(const FileId& id, std::uint64_t size = 1000) {
  return {.id = id,
          .size_bytes = size,
          .created_at = WallTime(std::chrono::milliseconds(id.txids.max.value * 1000))};
}

// The same as a plain map.
class Model {
 public:
  std::map<FileId, FileInfo> files;

  ReplicaListing Listing() const {
    ReplicaListing listing;
    for (const auto& [id, file] : files) listing.levels[id.level.value].push_back(file);
    return listing;
  }
  Txid ContiguousEnd() const {
    std::set<TxidRange> ranges;
    for (const auto& [id, file] : files) ranges.insert(id.txids);
    Txid end;
    for (const TxidRange& range : ranges) {
      if (range.min > end.Next()) break;
      end = std::max(end, range.max);
    }
    return end;
  }
};

FileId RandomId(std::mt19937_64& random) {
  const std::uint64_t min = 1 + random() % 40;
  return Id(static_cast<int>(random() % kLevelCount), min, min + random() % 5);
}

TEST(CatalogueTest, IsWhatAPlainListingIs) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Model model;
    Catalogue catalogue;
    for (int step = 0; step < 200; ++step) {
      const FileId id = RandomId(random);
      if (random() % 3 == 0) {
        catalogue.Remove(id);
        model.files.erase(id);
      } else {
        const FileInfo file = Info(id, random() % 100'000);
        catalogue.Add(file);
        model.files[id] = file;
      }
      EXPECT_EQ(catalogue.ContiguousEnd(), model.ContiguousEnd());
    }
    const ReplicaListing listing = model.Listing();
    EXPECT_TRUE(catalogue == Catalogue::FromListing(listing));
    EXPECT_EQ(catalogue.file_count(), model.files.size());
    EXPECT_EQ(catalogue.newest(), listing.newest());
    for (const auto& [id, file] : model.files) {
      const auto found = catalogue.Find(id);
      ASSERT_TRUE(found);
      EXPECT_EQ(found->size_bytes, file.size_bytes);
      EXPECT_EQ(found->created_at, file.created_at);
    }
    for (const auto& difference : catalogue.Compare(catalogue.Listing())) {
      EXPECT_TRUE(difference.kind == Kind::kGap || difference.kind == Kind::kOverlap);
    }
  }
}

std::vector<std::pair<Kind, FileId>> Differences(const Catalogue& catalogue,
                                                 const ReplicaListing& listing) {
  std::vector<std::pair<Kind, FileId>> found;
  for (const auto& difference : catalogue.Compare(listing)) {
    found.emplace_back(difference.kind, difference.file.id);
  }
  return found;
}

ReplicaListing ListingOf(const std::vector<FileId>& ids) {
  ReplicaListing listing;
  for (const FileId& id : ids) listing.levels[id.level.value].push_back(Info(id));
  return listing;
}

TEST(CatalogueTest, ComparesWithAListing) {
  const auto listing = ListingOf({Id(0, 5, 5), Id(0, 6, 6), Id(1, 1, 3), Id(1, 4, 6), Id(9, 1, 2)});
  Catalogue catalogue = Catalogue::FromListing(listing);
  EXPECT_THAT(Differences(catalogue, listing), IsEmpty());
  catalogue.Remove(Id(0, 5, 5));
  catalogue.Add(Info(Id(0, 7, 7)));
  catalogue.Add(Info(Id(1, 4, 6), 999));
  catalogue.Remove(Id(9, 1, 2));
  EXPECT_THAT(Differences(catalogue, listing), ElementsAre(std::pair(Kind::kUnknown, Id(0, 5, 5)),
                                                           std::pair(Kind::kMissing, Id(0, 7, 7)),
                                                           std::pair(Kind::kOtherSize, Id(1, 4, 6)),
                                                           std::pair(Kind::kUnknown, Id(9, 1, 2))));
}

TEST(CatalogueTest, FindsWhatIsWrongWithAListingInItself) {
  const struct {
    const char* why;
    std::vector<FileId> files;
    std::vector<std::pair<Kind, FileId>> want;
  } cases[] = {
      {"a level may begin anywhere", {Id(1, 7, 9), Id(1, 10, 10)}, {}},
      {"gap", {Id(1, 1, 3), Id(1, 5, 6)}, {{Kind::kGap, Id(1, 5, 6)}}},
      {"gap at level 0", {Id(0, 1, 1), Id(0, 3, 3)}, {{Kind::kGap, Id(0, 3, 3)}}},
      {"overlap", {Id(2, 1, 3), Id(2, 3, 6)}, {{Kind::kOverlap, Id(2, 3, 6)}}},
      {"inside of a longer one",
       {Id(2, 1, 9), Id(2, 2, 3), Id(2, 10, 11)},
       {{Kind::kOverlap, Id(2, 2, 3)}}},
      {"unsorted", {Id(3, 4, 6), Id(3, 1, 3)}, {{Kind::kUnsorted, Id(3, 1, 3)}}},
      {"a snapshot stands for what is not in the level",
       {Id(1, 2, 4), Id(1, 6, 9), Id(9, 1, 5)},
       {}},
      {"a snapshot that ends too early",
       {Id(1, 2, 4), Id(1, 7, 9), Id(9, 1, 5)},
       {{Kind::kGap, Id(1, 7, 9)}}},
      {"a snapshot that ends behind the file does not help to reach it",
       {Id(1, 2, 4), Id(1, 6, 9), Id(1, 10, 12), Id(9, 1, 11)},
       {{Kind::kGap, Id(1, 6, 9)}}},
      {"snapshots overlap", {Id(9, 1, 2), Id(9, 1, 8)}, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto listing = ListingOf(c.files);
    EXPECT_EQ(Differences(Catalogue::FromListing(listing), listing), c.want);
  }
}

TEST(CatalogueTest, WhatIsDoubtfulIsNoDifference) {
  Catalogue catalogue;
  catalogue.Doubt(Id(1, 1, 3));
  catalogue.Doubt(Id(1, 1, 3));
  EXPECT_THAT(catalogue.doubtful(), ElementsAre(Id(1, 1, 3)));
  EXPECT_THAT(Differences(catalogue, ListingOf({Id(1, 1, 3)})), IsEmpty());
  EXPECT_THAT(Differences(catalogue, {}), IsEmpty());
  catalogue.Add(Info(Id(1, 1, 3)));
  EXPECT_THAT(catalogue.doubtful(), IsEmpty());
}

// --- On disk. ---

const char* const kPath = "/meta/catalogue";

class CatalogueFileTest : public ::testing::Test {
 protected:
  CatalogueFileTest() {
    EXPECT_TRUE(env_.CreateDirectory("/meta", {}).ok());
    EXPECT_TRUE(env_.SyncDirectory("/").ok());
  }
  CatalogueFile File() { return {env_, kPath, {}}; }
  Catalogue SomeFiles() {
    std::mt19937_64 random(7);
    Catalogue catalogue;
    for (int i = 0; i < 100; ++i) catalogue.Add(Info(RandomId(random), random()));
    catalogue.Add({.id = {Level{1}, {Txid{~0ULL - 1}, Txid{~0ULL}}},
                   .size_bytes = ~0ULL,
                   .created_at = WallTime::min()});
    return catalogue;
  }

  ManualClock clock_;
  MemoryEnv env_{clock_, 1};
  const CatalogueOwner whose_{.chain = 42, .place = "s3://bucket/db"};
  const LeaseMark mark_{.generation = 3, .tag = "\"etag\"", .instance = {}};
};

TEST_F(CatalogueFileTest, KeepsEverything) {
  const Catalogue catalogue = SomeFiles();
  ASSERT_TRUE(File().Save(catalogue, whose_, mark_).ok());
  env_.Crash(1);
  auto loaded = File().Load(whose_);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->catalogue, catalogue);
  EXPECT_EQ(loaded->lease, mark_);
  ASSERT_TRUE(File().Save({}, whose_, {}).ok());
  loaded = File().Load(whose_);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->catalogue, Catalogue());
  EXPECT_FALSE(loaded->lease.known());
}

TEST_F(CatalogueFileTest, SomebodyElsesIsUnknown) {
  ASSERT_TRUE(File().Save(SomeFiles(), whose_, mark_).ok());
  EXPECT_FALSE(File().Load({.chain = 43, .place = whose_.place}));
  EXPECT_FALSE(File().Load({.chain = 42, .place = "s3://bucket/db2"}));
  EXPECT_TRUE(File().Load(whose_));
}

TEST_F(CatalogueFileTest, MissingOrUnreadableIsUnknown) {
  EXPECT_FALSE(File().Load(whose_));
  ASSERT_TRUE(File().Save(SomeFiles(), whose_, mark_).ok());
  env_.SetFault([](const EnvCallInfo& info) {
    return info.call == EnvCall::kRead ? std::optional(EnvFault{}) : std::nullopt;
  });
  EXPECT_FALSE(File().Load(whose_));
}

// One flipped bit anywhere, and a cut anywhere.
TEST_F(CatalogueFileTest, DamagedIsUnknown) {
  Catalogue catalogue;
  for (std::uint64_t n = 1; n <= 3; ++n) catalogue.Add(Info(Id(1, n, n)));
  ASSERT_TRUE(File().Save(catalogue, whose_, mark_).ok());
  const std::string good = ReadSmallFile(env_, kPath, 1 << 20).value();
  const auto load = [&](const std::string& content) {
    EXPECT_TRUE(WriteFileAtomically(env_, kPath, std::as_bytes(std::span(content)), {}).ok());
    return File().Load(whose_);
  };
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      EXPECT_FALSE(load(bad)) << "byte " << i;
    }
    EXPECT_FALSE(load(good.substr(0, i))) << "cut at " << i;
  }
  EXPECT_FALSE(load(good + "x"));
  EXPECT_TRUE(load(good));
}

TEST_F(CatalogueFileTest, WhatIsDoubtfulIsNotSaved) {
  CatalogueFile file = File();
  ASSERT_TRUE(file.Discard().ok());
  Catalogue catalogue = SomeFiles();
  catalogue.Doubt(Id(1, 77, 78));
  ASSERT_TRUE(file.Save(catalogue, whose_, mark_).ok());
  EXPECT_FALSE(File().Load(whose_));
}

// Somebody removed the whole state directory.
TEST_F(CatalogueFileTest, NothingIsLeftOfARemovedDirectory) {
  ASSERT_TRUE(File().Save(SomeFiles(), whose_, mark_).ok());
  ASSERT_TRUE(env_.RemoveTree("/meta").ok());
  EXPECT_TRUE(File().Discard().ok());
}

// What an earlier process saved is not so any more, and the disk is full.
TEST_F(CatalogueFileTest, AFailedSaveLeavesNoOldOne) {
  ASSERT_TRUE(File().Save(SomeFiles(), whose_, mark_).ok());
  env_.SetFault([](const EnvCallInfo& info) {
    return info.call == EnvCall::kWrite ? std::optional(EnvFault{.code = ErrorCode::kNoSpace})
                                        : std::nullopt;
  });
  EXPECT_FALSE(File().Save({}, whose_, mark_).ok());
  env_.SetFault({});
  EXPECT_FALSE(File().Load(whose_));
}

// Writing many files costs two operations on the disk, not one each.
TEST_F(CatalogueFileTest, ABusyTimeCostsTheSameHoweverLongItIs) {
  Catalogue catalogue = SomeFiles();
  CatalogueFile file = File();
  ASSERT_TRUE(file.Save(catalogue, whose_, mark_).ok());
  ASSERT_TRUE(file.Discard().ok());
  const std::uint64_t calls = env_.call_count();
  for (std::uint64_t n = 100; n < 5000; ++n) {
    ASSERT_TRUE(file.Discard().ok());
    catalogue.Add(Info(Id(0, n, n)));
  }
  EXPECT_EQ(env_.call_count(), calls);
}

// A process that changes a replica now and then, until a call of its file system is its last.
class Process {
 public:
  Process(MemoryEnv& env, Model& world, const CatalogueOwner& whose, std::uint64_t seed)
      : file_(env, kPath, {}), world_(world), whose_(whose), random_(seed) {}

  // False: it died.
  bool Run(int steps) {
    const auto loaded = file_.Load(whose_);
    if (loaded) {
      EXPECT_TRUE(loaded->catalogue == Catalogue::FromListing(world_.Listing()))
          << "loaded what is not so";
    }
    Catalogue catalogue = loaded ? loaded->catalogue : Catalogue::FromListing(world_.Listing());
    for (int step = 0; step < steps; ++step) {
      if (random_() % 3 == 0) {
        if (!file_.Save(catalogue, whose_, mark_).ok()) return false;
        continue;
      }
      if (!file_.Discard().ok()) return false;
      Change(catalogue);
    }
    return true;
  }

 private:
  void Change(Catalogue& catalogue) {
    const FileId id = RandomId(random_);
    if (random_() % 3 == 0) {
      world_.files.erase(id);
      catalogue.Remove(id);
      return;
    }
    const bool stored = random_() % 4 != 0;
    const bool answered = random_() % 4 != 0;
    if (stored) world_.files[id] = Info(id, random_());
    if (stored && answered) {
      catalogue.Add(world_.files[id]);
    } else if (!world_.files.contains(id)) {
      catalogue.Doubt(id);
    } else if (stored) {
      catalogue.Add(world_.files[id]);  // It was there, and is looked at.
    }
  }

  CatalogueFile file_;
  Model& world_;
  const CatalogueOwner whose_;
  const LeaseMark mark_;
  std::mt19937_64 random_;
};

TEST_F(CatalogueFileTest, IsExactOrUnknownAfterACrashAtAnyCall) {
  int crashes = 0;
  int known = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    for (std::uint64_t at = 1;; ++at) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", call " + std::to_string(at));
      MemoryEnv env(clock_, seed);
      ASSERT_TRUE(env.CreateDirectory("/meta", {}).ok());
      ASSERT_TRUE(env.SyncDirectory("/").ok());
      const std::uint64_t first = env.call_count();
      env.SetFault([&](const EnvCallInfo& info) -> std::optional<EnvFault> {
        if (info.number < first + at) return std::nullopt;
        if (info.number == first + at) env.Crash(seed * 1000 + at);
        return EnvFault{};
      });
      Model world;
      const bool lived = Process(env, world, whose_, seed).Run(12);
      if (lived) break;
      ++crashes;
      env.SetFault({});
      known += CatalogueFile(env, kPath, {}).Load(whose_).has_value() ? 1 : 0;
      // Compares what it loads.
      EXPECT_TRUE(Process(env, world, whose_, seed + 1).Run(5));
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(crashes, 500);
  EXPECT_GT(known, 30);
}

// The same when calls fail and the process lives on.
TEST_F(CatalogueFileTest, IsExactOrUnknownAfterAFailureOfAnyCall) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    for (std::uint64_t at = 1; at < 60; ++at) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", call " + std::to_string(at));
      MemoryEnv env(clock_, seed);
      ASSERT_TRUE(env.CreateDirectory("/meta", {}).ok());
      ASSERT_TRUE(env.SyncDirectory("/").ok());
      const std::uint64_t first = env.call_count();
      env.SetFault([&](const EnvCallInfo& info) {
        return info.number == first + at ? std::optional(EnvFault{}) : std::nullopt;
      });
      Model world;
      Process process(env, world, whose_, seed);
      while (!process.Run(12)) continue;
      env.SetFault({});
      env.Crash(seed);
      EXPECT_TRUE(Process(env, world, whose_, seed + 1).Run(1));
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace litestream
