#include "storage/memory_client.h"

#include <gtest/gtest.h>

#include "tests/contract/bodies.h"

namespace litestream {
namespace {

using contract::Id;
using contract::Ranges;
using contract::ReadFile;
using contract::WriteFile;

// The rest of what it has to do is in tests/contract/.
class MemoryStoreTest : public ::testing::Test {
 protected:
  // Makes the next call of this kind fail.
  void FailNext(StorageCall call, StorageFault fault) {
    store_.SetFaults([call, fault, done = false](StorageCall now, const FileId&) mutable {
      if (done || now != call) return StorageFault::kNone;
      done = true;
      return fault;
    });
  }
  std::string Listed() {
    const auto files = client_->List(ctx_, kLevel0, {});
    return files.ok() ? Ranges(files.value()) : files.error().message();
  }

  const Context ctx_ = Context::Background();
  MemoryStore store_;
  std::unique_ptr<ReplicaClient> client_ = MakeMemoryClient(store_);
};

template <typename T>
void ExpectUnavailable(const Result<T>& result) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kUnavailable) << result.error().message();
}

TEST_F(MemoryStoreTest, AWriteThatFailsBeforeOrAfter) {
  FailNext(StorageCall::kWrite, StorageFault::kFailBefore);
  ExpectUnavailable(WriteFile(ctx_, *client_, Id(0, 1, 1), "one"));
  EXPECT_EQ(Listed(), "");
  FailNext(StorageCall::kWrite, StorageFault::kFailAfter);
  ExpectUnavailable(WriteFile(ctx_, *client_, Id(0, 1, 1), "one"));
  EXPECT_EQ(Listed(), "1-1") << "only the answer was lost";
  EXPECT_TRUE(WriteFile(ctx_, *client_, Id(0, 2, 2), "two").ok()) << "one fault, once";
}

TEST_F(MemoryStoreTest, ADeleteThatFailsBeforeOrAfter) {
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(WriteFile(ctx_, *client_, Id(0, i, i), "x").ok());
  }
  const FileId ids[] = {Id(0, 1, 1), Id(0, 2, 2), Id(0, 3, 3)};
  store_.SetFaults([](StorageCall, const FileId& id) {
    return id == Id(0, 2, 2) ? StorageFault::kFailBefore : StorageFault::kNone;
  });
  ExpectUnavailable(client_->Delete(ctx_, ids));
  EXPECT_EQ(Listed(), "2-2 3-3") << "stops at the first failure";
  store_.SetFaults([](StorageCall, const FileId& id) {
    return id == Id(0, 2, 2) ? StorageFault::kFailAfter : StorageFault::kNone;
  });
  ExpectUnavailable(client_->Delete(ctx_, ids));
  EXPECT_EQ(Listed(), "3-3");
  EXPECT_EQ(store_.calls(StorageCall::kDelete), 2U) << "calls, not files";
}

TEST_F(MemoryStoreTest, ReadsThatFail) {
  ASSERT_TRUE(WriteFile(ctx_, *client_, Id(0, 1, 1), "content").ok());
  for (const StorageFault fault : {StorageFault::kFailBefore, StorageFault::kFailAfter}) {
    for (const StorageCall call : {StorageCall::kOpen, StorageCall::kRead}) {
      FailNext(call, fault);
      ExpectUnavailable(ReadFile(ctx_, *client_, Id(0, 1, 1)));
    }
    FailNext(StorageCall::kList, fault);
    ExpectUnavailable(client_->List(ctx_, kLevel0, {}));
  }
  EXPECT_EQ(ReadFile(ctx_, *client_, Id(0, 1, 1)).value(), "content");
}

TEST_F(MemoryStoreTest, ObjectsThatFailBeforeOrAfter) {
  FailNext(StorageCall::kPutObject, StorageFault::kFailBefore);
  ExpectUnavailable(client_->PutObject(ctx_, "o", "one", ""));
  FailNext(StorageCall::kPutObject, StorageFault::kFailAfter);
  ExpectUnavailable(client_->PutObject(ctx_, "o", "one", ""));
  FailNext(StorageCall::kGetObject, StorageFault::kFailAfter);
  ExpectUnavailable(client_->GetObject(ctx_, "o"));
  EXPECT_EQ(client_->GetObject(ctx_, "o").value().content, "one");
  FailNext(StorageCall::kDeleteObject, StorageFault::kFailBefore);
  ExpectUnavailable(client_->DeleteObject(ctx_, "o", ""));
  EXPECT_TRUE(client_->GetObject(ctx_, "o").ok());
  FailNext(StorageCall::kDeleteObject, StorageFault::kFailAfter);
  ExpectUnavailable(client_->DeleteObject(ctx_, "o", ""));
  EXPECT_FALSE(client_->GetObject(ctx_, "o").ok());
}

TEST_F(MemoryStoreTest, CountsCallsOfAllClients) {
  const auto other = MakeMemoryClient(store_);
  EXPECT_EQ(store_.calls(StorageCall::kWrite), 0U);
  ASSERT_TRUE(WriteFile(ctx_, *client_, Id(0, 1, 1), "x").ok());
  ASSERT_TRUE(WriteFile(ctx_, *other, Id(0, 2, 2), "x").ok());
  ASSERT_TRUE(ReadFile(ctx_, *other, Id(0, 1, 1)).ok());
  ASSERT_TRUE(client_->Delete(ctx_, {}).ok());
  EXPECT_EQ(store_.calls(StorageCall::kWrite), 2U);
  EXPECT_EQ(store_.calls(StorageCall::kOpen), 1U);
  EXPECT_EQ(store_.calls(StorageCall::kRead), 2U);
  EXPECT_EQ(store_.calls(StorageCall::kDelete), 0U) << "nothing to delete: no call";
  EXPECT_EQ(store_.calls(StorageCall::kList), 0U);
}

TEST_F(MemoryStoreTest, AReaderKeepsTheFileItOpened) {
  ASSERT_TRUE(WriteFile(ctx_, *client_, Id(0, 1, 1), "before").ok());
  const auto source = client_->Open(ctx_, Id(0, 1, 1), {});
  ASSERT_TRUE(source.ok());
  ASSERT_TRUE(WriteFile(ctx_, *client_, Id(0, 1, 1), "after!").ok());
  EXPECT_EQ(contract::ReadAll(ctx_, *source.value()).value(), "before");
}

}  // namespace
}  // namespace litestream
