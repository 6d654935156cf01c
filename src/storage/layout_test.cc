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

}  // namespace
}  // namespace litestream
