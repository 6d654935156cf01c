#include "storage/counted_client.h"

#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "storage/memory_client.h"
#include "tests/contract/bodies.h"

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadAll;
using contract::TextSource;
using std::chrono::milliseconds;

class CountedClientTest : public ::testing::Test {
 protected:
  Result<FileInfo> Put(std::uint64_t txid, std::size_t size) {
    TextSource body(MakeContent(size, txid));
    return client_->Write(ctx_, Id(0, txid, txid), body,
                          {.created_at = {}, .size_bytes = size, .if_absent = true});
  }
  OperationTotals Totals(StorageOperation operation) const {
    for (const OperationCount& count : counts_->All()) {
      EXPECT_EQ(count.replica_type, client_->type());
      if (count.operation == operation) return count.totals;
    }
    return {};
  }

  MemoryStore store_;
  ManualClock clock_;
  const Context ctx_{std::stop_token(), std::nullopt, clock_};
  std::shared_ptr<OperationCounts> counts_ = std::make_shared<OperationCounts>();
  std::unique_ptr<ReplicaClient> client_ = MakeCountedClient(MakeMemoryClient(store_), counts_);
};

TEST_F(CountedClientTest, CountsWhatGoesOver) {
  EXPECT_TRUE(counts_->All().empty());
  ASSERT_TRUE(Put(1, 70'000).ok());
  ASSERT_TRUE(Put(2, 5).ok());
  ASSERT_TRUE(client_->PutObject(ctx_, "lock.json", "abc", "").ok());
  EXPECT_EQ(Totals(StorageOperation::kPut).objects, 3U);
  EXPECT_EQ(Totals(StorageOperation::kPut).bytes, 70'008U);

  ASSERT_TRUE(client_->List(ctx_, kLevel0, {}).ok());
  EXPECT_EQ(Totals(StorageOperation::kList).calls, 1U);

  auto source = client_->Open(ctx_, Id(0, 1, 1), {.offset_bytes = 1'000, .length_bytes = 0});
  ASSERT_TRUE(source.ok());
  // It counts when it is over.
  EXPECT_EQ(Totals(StorageOperation::kGet).calls, 0U);
  ASSERT_TRUE(ReadAll(ctx_, *source.value()).ok());
  client_.reset();
  source.value().reset();
  client_ = MakeCountedClient(MakeMemoryClient(store_), counts_);
  EXPECT_EQ(Totals(StorageOperation::kGet).calls, 1U);
  EXPECT_EQ(Totals(StorageOperation::kGet).bytes, 69'000U);

  const std::vector<FileId> ids = {Id(0, 1, 1), Id(0, 2, 2), Id(0, 3, 3)};
  ASSERT_TRUE(client_->Delete(ctx_, ids).ok());
  EXPECT_EQ(Totals(StorageOperation::kDelete).objects, 3U);
  EXPECT_EQ(Totals(StorageOperation::kDelete).calls, 1U);
  ASSERT_TRUE(client_->DeleteObject(ctx_, "lock.json", "").ok());
  ASSERT_TRUE(client_->DeleteAll(ctx_).ok());
  EXPECT_EQ(Totals(StorageOperation::kDelete).calls, 3U);
  for (const OperationCount& count : counts_->All()) EXPECT_TRUE(count.totals.errors.empty());
}

TEST_F(CountedClientTest, CountsErrorsByCode) {
  EXPECT_FALSE(client_->Open(ctx_, Id(0, 1, 1), {}).ok());
  EXPECT_FALSE(client_->GetObject(ctx_, "lock.json").ok());
  ASSERT_TRUE(Put(1, 10).ok());
  EXPECT_FALSE(Put(1, 10).ok());
  store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kDenied; });
  EXPECT_FALSE(Put(2, 10).ok());
  EXPECT_FALSE(client_->List(ctx_, kLevel0, {}).ok());
  using Errors = std::map<ErrorCode, std::uint64_t>;
  EXPECT_EQ(Totals(StorageOperation::kGet).errors, (Errors{{ErrorCode::kNotFound, 2}}));
  EXPECT_EQ(Totals(StorageOperation::kPut).errors,
            (Errors{{ErrorCode::kAlreadyExists, 1}, {ErrorCode::kDenied, 1}}));
  EXPECT_EQ(Totals(StorageOperation::kList).errors, (Errors{{ErrorCode::kDenied, 1}}));
  // A call that failed is a call.
  EXPECT_EQ(Totals(StorageOperation::kPut).calls, 3U);
  EXPECT_EQ(Totals(StorageOperation::kGet).calls, 2U);
}

TEST_F(CountedClientTest, ToBeStoppedIsNoError) {
  std::stop_source stop;
  stop.request_stop();
  const Context stopped(stop.get_token(), std::nullopt, clock_);
  const auto listed = client_->List(stopped, kLevel0, {});
  ASSERT_FALSE(listed.ok());
  ASSERT_TRUE(listed.error().Is(ErrorCode::kCancelled));
  EXPECT_TRUE(Totals(StorageOperation::kList).errors.empty());
}

TEST(OperationCounts, DurationsFallIntoTheirBuckets) {
  OperationCounts counts;
  const std::vector<std::pair<milliseconds, std::size_t>> cases = {
      {milliseconds(0), 0},    {milliseconds(10), 0},     {milliseconds(11), 1},
      {milliseconds(500), 3},  {milliseconds(60'000), 8}, {milliseconds(60'001), 9},
      {milliseconds(1001), 5},
  };
  for (const auto& [time, bucket] : cases) {
    SCOPED_TRACE(time.count());
    const auto before = counts.All().empty() ? OperationTotals() : counts.All()[0].totals;
    counts.Add("x", {.operation = StorageOperation::kGet, .time = time});
    const auto after = counts.All()[0].totals;
    for (std::size_t i = 0; i < after.buckets.size(); ++i) {
      EXPECT_EQ(after.buckets[i], before.buckets[i] + (i == bucket ? 1 : 0)) << i;
    }
  }
}

}  // namespace
}  // namespace litestream
