#include "storage/layout.h"

#include <gtest/gtest.h>

namespace litestream {
namespace {

TEST(Layout, NamesOfLevelsAndFiles) {
  const FileId snapshot{.level = kSnapshotLevel, .txids = {.min = Txid{1}, .max = Txid{0x2a}}};
  const FileId largest{.level = kLevel0, .txids = {.min = Txid{~0ULL}, .max = Txid{~0ULL}}};
  const struct {
    const char* why;
    ReplicaLayout layout;
    FileId id;
    const char* level;
    const char* path;
  } cases[] = {
      {"a directory", ReplicaLayout::kLtxDecimal, snapshot, "ltx/9",
       "ltx/9/0000000000000001-000000000000002a.ltx"},
      {"a bucket", ReplicaLayout::kHexLevel, snapshot, "0009",
       "0009/0000000000000001-000000000000002a.ltx"},
      {"largest numbers", ReplicaLayout::kLtxDecimal, largest, "ltx/0",
       "ltx/0/ffffffffffffffff-ffffffffffffffff.ltx"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(LevelPrefix(c.layout, c.id.level), c.level);
    EXPECT_EQ(RelativePath(c.layout, c.id), c.path);
  }
  EXPECT_EQ(LevelPrefix(ReplicaLayout::kHexLevel, Level{255}), "00ff");
  EXPECT_EQ(LevelPrefix(ReplicaLayout::kLtxDecimal, Level{255}), "ltx/255");
}

TEST(Layout, WhatIsAPathInABucket) {
  const struct {
    const char* path;
    bool counts;
  } cases[] = {
      {"0009/0000000000000001-000000000000002a.ltx", true},
      {"000a/0000000000000001-000000000000002a.ltx", false},
      {"9/0000000000000001-000000000000002a.ltx", false},
      {"0009/x/0000000000000001-000000000000002a.ltx", false},
      {"0009/0000000000000001-000000000000002a.ltx.tmp", false},
      {"0009", false},
      {"", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    const auto id = ParseHexLevelPath(c.path);
    ASSERT_EQ(id.has_value(), c.counts);
    if (!id) continue;
    EXPECT_EQ(RelativePath(ReplicaLayout::kHexLevel, *id), c.path);
  }
  const auto id =
      ParseRelativePath(ReplicaLayout::kLtxDecimal, "ltx/9/0000000000000001-000000000000002a.ltx");
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id->level, kSnapshotLevel);
  for (const char* path :
       {"ltx/10/0000000000000001-000000000000002a.ltx", "9/0000000000000001-000000000000002a.ltx",
        "ltx/9/x/0000000000000001-000000000000002a.ltx"}) {
    EXPECT_FALSE(ParseRelativePath(ReplicaLayout::kLtxDecimal, path).has_value()) << path;
  }
}

}  // namespace
}  // namespace litestream
