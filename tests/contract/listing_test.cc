#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "format/names.h"
#include "tests/contract/bodies.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

WallTime At(std::int64_t milliseconds) {
  return WallTime(std::chrono::milliseconds(milliseconds));
}

TEST_P(ContractTest, EmptyReplicaListsNothing) {
  for (int level = 0; level < kLevelCount; ++level) EXPECT_EQ(Listed(level), "");
}

TEST_P(ContractTest, ListIsInOrder) {
  for (const FileId& id : {Id(0, 4, 8), Id(0, 1, 1), Id(0, 9, 9), Id(0, 2, 3)}) Write(id, "x");
  EXPECT_EQ(Listed(0), "1-1 2-3 4-8 9-9");
  EXPECT_EQ(Listed(1), "");
}

TEST_P(ContractTest, ListOrdersByMinThenMaxAndKeepsOverlaps) {
  // Numbers that sort otherwise as text without leading zeros, or as signed integers.
  for (const FileId& id : {Id(2, 0x10, 0x10), Id(2, 1, 0x20), Id(2, 1, 3), Id(2, 2, 2),
                           Id(2, 0xffffffffffffffff, 0xffffffffffffffff), Id(2, 1, 0xf)}) {
    Write(id, "x");
  }
  EXPECT_EQ(Listed(2), "1-3 1-f 1-20 2-2 10-10 ffffffffffffffff-ffffffffffffffff");
}

TEST_P(ContractTest, LevelsDoNotMix) {
  for (int level = 0; level < kLevelCount; ++level) {
    Write(Id(level, 1, static_cast<std::uint64_t>(level) + 1), std::string(1, 'a' + level));
  }
  for (int level = 0; level < kLevelCount; ++level) {
    SCOPED_TRACE(level);
    const auto files = List(Level{static_cast<std::uint8_t>(level)});
    ASSERT_EQ(files.size(), 1U);
    EXPECT_EQ(files[0].id, Id(level, 1, static_cast<std::uint64_t>(level) + 1));
    EXPECT_EQ(Read(files[0].id), std::string(1, 'a' + level));
  }
}

TEST_P(ContractTest, ListFromSeekOn) {
  for (const FileId& id :
       {Id(1, 1, 3), Id(1, 4, 8), Id(1, 9, 9), Id(1, 9, 0x10), Id(1, 0x20, 0x20)}) {
    Write(id, "x");
  }
  const struct {
    const char* why;
    std::uint64_t seek;
    std::size_t limit;
    const char* want;
  } cases[] = {
      {"no seek", 0, 0, "1-3 4-8 9-9 9-10 20-20"},
      {"the first", 1, 0, "1-3 4-8 9-9 9-10 20-20"},
      {"a file that straddles is not listed", 2, 0, "4-8 9-9 9-10 20-20"},
      {"exactly a min", 4, 0, "4-8 9-9 9-10 20-20"},
      {"exactly a max", 8, 0, "9-9 9-10 20-20"},
      {"two with this min", 9, 0, "9-9 9-10 20-20"},
      {"in a gap", 0x15, 0, "20-20"},
      {"the last", 0x20, 0, "20-20"},
      {"behind the end", 0x21, 0, ""},
      {"the largest", ~0ULL, 0, ""},
      {"limited", 0, 2, "1-3 4-8"},
      {"seek and limit", 9, 1, "9-9"},
      {"limit beyond the end", 9, 100, "9-9 9-10 20-20"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(Listed(1, {.seek = Txid{c.seek}, .limit = c.limit}), c.want);
    EXPECT_EQ(Listed(1, {.seek = Txid{c.seek}, .exact_times = true, .limit = c.limit}), c.want);
  }
}

TEST_P(ContractTest, ListSkipsForeignNames) {
  Write(Id(0, 2, 2), "a file");
  const char* const names[] = {
      "0000000000000001-0000000000000001.ltx.tmp",
      "0000000000000001-0000000000000001.ltx.123-0123456789abcdef.tmp",
      "0000000000000001-0000000000000001.ltx.bak",
      "0000000000000001-0000000000000001",
      "000000000000000A-000000000000000A.ltx",
      "1-1.ltx",
      "x0000000000000001-0000000000000001.ltx",
      "lock.json",
      "readme.txt",
      ".hidden",
  };
  for (const char* name : names) {
    if (!replica().PutForeign(kLevel0, name, "foreign")) GTEST_SKIP() << "has no foreign names";
  }
  EXPECT_EQ(Listed(0), "2-2");
}

TEST_P(ContractTest, TimesAreKept) {
  const struct {
    const char* why;
    std::int64_t milliseconds;
  } cases[] = {
      {"no fraction", 1'767'323'045'000},    {"one digit", 1'767'323'045'600},
      {"two digits", 1'767'323'045'670},     {"three digits", 1'767'323'045'678},
      {"a leading zero", 1'767'323'045'007}, {"long ago", 86'400'001},
  };
  std::uint64_t txid = 0;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    ++txid;
    const FileId id = Id(0, txid, txid);
    const auto info = WriteFile(ctx_, client(), id, MakeFileOf(At(c.milliseconds)),
                                {.created_at = At(c.milliseconds)});
    ASSERT_TRUE(info.ok()) << info.error().message();
    EXPECT_EQ(info.value().created_at, At(c.milliseconds)) << "the file's time, not the server's";
    const auto files = List(kLevel0, {.seek = id.txids.min, .exact_times = true});
    ASSERT_EQ(files.size(), 1U);
    const auto difference = At(c.milliseconds) - files[0].created_at;
    EXPECT_GE(difference.count(), 0) << "rounded up";
    EXPECT_LT(difference, backend().time_resolution);
  }
}

TEST_P(ContractTest, WriteReturnsWhatListSays) {
  const auto info = WriteFile(ctx_, client(), Id(3, 5, 9), "12345", {.created_at = At(1'000'000)});
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(info.value().id, Id(3, 5, 9));
  EXPECT_EQ(info.value().size_bytes, 5U);
  const auto files = List(Level{3});
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].id, info.value().id);
  EXPECT_EQ(files[0].size_bytes, 5U);
}

TEST_P(ContractTest, ManyFiles) {
  std::vector<FileId> ids;
  for (int i = 1; i <= backend().many_files; ++i) {
    // Written in an order that is not theirs.
    const auto txid = static_cast<std::uint64_t>(i) * 7919 % (backend().many_files + 1);
    ids.push_back(Id(0, txid, txid));
    Write(ids.back(), "x");
    if (HasFailure()) return;
  }
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const bool exact_times : {false, true}) {
    const auto files = List(kLevel0, {.exact_times = exact_times});
    ASSERT_EQ(files.size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(files[i].id, ids[i]) << i;
  }
  EXPECT_EQ(List(kLevel0, {.seek = Txid{100}}).size(),
            static_cast<std::size_t>(std::ranges::count_if(
                ids, [](const FileId& id) { return id.txids.min >= Txid{100}; })));
  const auto deleted = client().Delete(ctx_, ids);
  ASSERT_TRUE(deleted.ok()) << deleted.error().message();
  EXPECT_EQ(Listed(0), "");
}

TEST_P(ContractTest, ASecondClientSeesTheSame) {
  Write(Id(0, 1, 1), "one");
  const auto other = replica().Connect();
  const auto content = ReadFile(ctx_, *other, Id(0, 1, 1));
  ASSERT_TRUE(content.ok()) << content.error().message();
  EXPECT_EQ(content.value(), "one");
  ASSERT_TRUE(WriteFile(ctx_, *other, Id(0, 2, 2), "two").ok());
  EXPECT_EQ(Listed(0), "1-1 2-2");
}

TEST_P(ContractTest, AllLevelsAreWhatEachLevelIs) {
  for (const FileId& id : {Id(0, 4, 8), Id(0, 1, 1), Id(1, 1, 8), Id(8, 1, 3), Id(9, 1, 8)}) {
    Write(id, "x", {.created_at = At(1'767'323'045'000)});
  }
  replica().PutForeign(Level{1}, "0000000000000009-0000000000000009.ltx.tmp", "x");
  for (const bool exact_times : {false, true}) {
    const auto levels = client().ListAll(ctx_, exact_times);
    ASSERT_TRUE(levels.ok()) << levels.error().message();
    for (std::uint8_t level = 0; level < kLevelCount; ++level) {
      SCOPED_TRACE(int{level});
      const auto alone = List(Level{level}, {.exact_times = exact_times});
      ASSERT_EQ(levels.value()[level].size(), alone.size());
      for (std::size_t i = 0; i < alone.size(); ++i) {
        EXPECT_EQ(levels.value()[level][i].id, alone[i].id);
        EXPECT_EQ(levels.value()[level][i].size_bytes, alone[i].size_bytes);
        EXPECT_EQ(levels.value()[level][i].created_at, alone[i].created_at);
      }
    }
  }
}

}  // namespace
}  // namespace litestream::contract
