#include "db/local_ltx.h"

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/memory_env.h"

namespace litestream {
namespace {

class LocalLtxTest : public ::testing::Test {
 protected:
  Result<void> Write(LocalLtx& local, Txid txid) {
    auto staged = local.Stage(txid);
    if (!staged.ok()) return std::move(staged).error();
    const std::byte content[] = {std::byte{1}, std::byte{2}};
    if (auto written = staged.value()->Write(content); !written.ok()) return written;
    return staged.value()->Commit();
  }
  std::size_t Entries() { return env_.List("/meta/ltx/0").value().size(); }

  ManualClock clock_;
  MemoryEnv env_{clock_, 1};
};

// R23: what Commit acknowledged is there after a power failure, whatever that takes along.
TEST_F(LocalLtxTest, R23CommittedFilesSurviveAPowerFailure) {
  ASSERT_TRUE(env_.CreateDirectory("/meta", {}).ok());
  ASSERT_TRUE(env_.SyncDirectory("/").ok());
  for (std::uint64_t n = 1; n <= 20; ++n) {
    LocalLtx local(env_, "/meta", {}, {});
    ASSERT_TRUE(local.Open().ok());
    ASSERT_TRUE(Write(local, Txid{n}).ok());
    env_.Crash(n);
    LocalLtx again(env_, "/meta", {}, {});
    ASSERT_TRUE(again.Open().ok());
    ASSERT_EQ(again.range(), (TxidRange{Txid{1}, Txid{n}}));
    EXPECT_EQ(again.Stat(Txid{n}).value().size_bytes, 2U);
  }
}

TEST_F(LocalLtxTest, WhatIsNotCommittedLeavesNothing) {
  LocalLtx local(env_, "/meta", {}, {});
  ASSERT_TRUE(local.Open().ok());
  ASSERT_TRUE(local.Stage(Txid{1}).ok());
  EXPECT_EQ(Entries(), 0U);
  ASSERT_TRUE(Write(local, Txid{1}).ok());
  EXPECT_FALSE(local.Stage(Txid{3}).ok());
  EXPECT_EQ(Entries(), 1U);
}

// Only the run that ends with the newest file counts.
TEST_F(LocalLtxTest, WhatLiesBeforeAHoleIsOfNoUse) {
  LocalLtx local(env_, "/meta", {}, {});
  ASSERT_TRUE(local.Open().ok());
  for (std::uint64_t n = 1; n <= 6; ++n) ASSERT_TRUE(Write(local, Txid{n}).ok());
  ASSERT_TRUE(env_.Remove(local.Path(Txid{3})).ok());
  ASSERT_TRUE(local.Open().ok());
  EXPECT_EQ(local.range(), (TxidRange{Txid{4}, Txid{6}}));
  EXPECT_EQ(Entries(), 5U);
  ASSERT_TRUE(local.RemoveBefore(Txid{5}).ok());
  EXPECT_EQ(local.range(), (TxidRange{Txid{5}, Txid{6}}));
  EXPECT_EQ(Entries(), 2U);
  ASSERT_TRUE(local.RemoveBefore(Txid{9}).ok());
  EXPECT_EQ(local.range(), (TxidRange{Txid{6}, Txid{6}}));
}

}  // namespace
}  // namespace litestream
