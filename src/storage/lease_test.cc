#include "storage/lease.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/manual_clock.h"
#include "storage/memory_client.h"
#include "tests/contract/bodies.h"

namespace litestream {
namespace {

// What a lease does on every backend is in tests/contract/; here is what needs a store that fails.
class LeaserTest : public ::testing::Test {
 protected:
  // Makes the nth call from now on fail.
  void FailCall(int n, StorageFault fault) {
    calls_ = 0;
    store_.SetFaults([this, n, fault](StorageCall, const FileId&) {
      return ++calls_ == n ? fault : StorageFault::kNone;
    });
  }
  static LeaseOptions Holder(const std::string& name) { return {.owner = name, .instance = name}; }

  ManualClock clock_;
  const Context ctx_{std::stop_token(), std::nullopt, clock_};
  MemoryStore store_;
  std::unique_ptr<ReplicaClient> client_ = MakeMemoryClient(store_);
  int calls_ = 0;
};

TEST(LeaseFormat, RoundTrip) {
  const LeaseRecord records[] = {
      {.generation = 1,
       .expires_at = WallTime(std::chrono::milliseconds(1'767'323'045'670)),
       .owner = "host:1",
       .instance = "abc-1"},
      {.generation = 1LL << 62, .expires_at = WallTime(), .owner = "", .instance = ""},
      {.generation = 2,
       .expires_at = WallTime(),
       .owner = "quote \" and \\ and \xc3\xa9",
       .instance = "x"},
  };
  for (const LeaseRecord& record : records) {
    SCOPED_TRACE(FormatLease(record));
    const auto parsed = ParseLease(FormatLease(record));
    ASSERT_TRUE(parsed.ok()) << parsed.error().message();
    EXPECT_EQ(parsed.value(), record);
  }
  EXPECT_EQ(FormatLease({.generation = 3, .expires_at = WallTime(), .owner = "", .instance = ""}),
            R"({"generation":3,"expires_at":"1970-01-01T00:00:00Z"})");
  EXPECT_TRUE(ParseLease(FormatLease({.generation = 1, .owner = "not \xff UTF-8"})).ok());
}

TEST(LeaseFormat, AsGoWritesIt) {
  const auto lease = ParseLease(
      R"( {"generation": 5, "expires_at": "2026-01-02T04:04:05.987654321+01:00", "more": [1]} )");
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  EXPECT_EQ(lease.value().generation, 5);
  EXPECT_EQ(lease.value().expires_at, WallTime(std::chrono::milliseconds(1'767'323'045'987)));
  EXPECT_EQ(lease.value().owner, "");
}

TEST(LeaseFormat, DefaultOwnerNamesTheProcess) {
  const std::string pid = std::to_string(::getpid());
  const std::string owner = DefaultLeaseOwner();
  EXPECT_TRUE(owner.ends_with(":" + pid) || owner == "pid-" + pid) << owner;
}

// Whatever call fails, done or not: the next attempt succeeds, and nobody else gets the lease.
TEST_F(LeaserTest, AcquireAgainAfterAnyFailure) {
  for (const StorageFault fault : {StorageFault::kFailBefore, StorageFault::kFailAfter}) {
    for (int n = 1; n <= 2; ++n) {
      SCOPED_TRACE(n);
      ASSERT_TRUE(client_->DeleteAll(ctx_).ok());
      Leaser leaser(*client_, Holder("a"));
      FailCall(n, fault);
      const auto failed = leaser.Acquire(ctx_);
      ASSERT_FALSE(failed.ok());
      EXPECT_EQ(failed.error().code(), ErrorCode::kUnavailable) << failed.error().message();
      const auto lease = leaser.Acquire(ctx_);
      ASSERT_TRUE(lease.ok()) << lease.error().message();
      EXPECT_EQ(lease.value().record.generation, 1);
      EXPECT_FALSE(Leaser(*client_, Holder("b")).Acquire(ctx_).ok());
      EXPECT_TRUE(leaser.Renew(ctx_, lease.value()).ok());
    }
  }
}

TEST_F(LeaserTest, RenewAndReleaseAgainAfterAnyFailure) {
  for (const StorageFault fault : {StorageFault::kFailBefore, StorageFault::kFailAfter}) {
    SCOPED_TRACE(static_cast<int>(fault));
    Leaser leaser(*client_, Holder("a"));
    const auto lease = leaser.Acquire(ctx_);
    ASSERT_TRUE(lease.ok()) << lease.error().message();
    FailCall(1, fault);
    ASSERT_FALSE(leaser.Renew(ctx_, lease.value()).ok());
    clock_.Advance(std::chrono::seconds(1));
    const auto renewed = leaser.Renew(ctx_, lease.value());
    ASSERT_TRUE(renewed.ok()) << renewed.error().message();
    FailCall(1, fault);
    const auto failed = leaser.Release(ctx_, renewed.value());
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code(), ErrorCode::kUnavailable);
    const auto released = leaser.Release(ctx_, renewed.value());
    EXPECT_EQ(released.ok(), fault == StorageFault::kFailBefore);
    EXPECT_TRUE(released.ok() || released.error().message() == "lease already released");
    EXPECT_FALSE(client_->GetObject(ctx_, kLeaseName).ok());
  }
}

// Another holder takes the lease just before each of our first writes, and releases it just after.
class Meddler final : public contract::ForwardingClient {
 public:
  Meddler(ReplicaClient& inner, int times) : ForwardingClient(inner), times_(times) {}
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override {
    const bool meddle = times_-- > 0;
    if (meddle) {
      EXPECT_TRUE(ForwardingClient::PutObject(ctx, name, "{}", "").ok());
    }
    auto put = ForwardingClient::PutObject(ctx, name, content, tag);
    if (meddle) {
      EXPECT_TRUE(DeleteObject(ctx, name, "").ok());
    }
    return put;
  }

 private:
  int times_;
};

TEST_F(LeaserTest, ALeaseThatKeepsChangingHands) {
  LeaseOptions nameless = Holder("a");
  nameless.instance.clear();
  Meddler twice(*client_, 2);
  const auto lease = Leaser(twice, nameless).Acquire(ctx_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  ASSERT_TRUE(Leaser(*client_, nameless).Release(ctx_, lease.value()).ok());

  Meddler always(*client_, 1000);
  const auto lost = Leaser(always, nameless).Acquire(ctx_);
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().code(), ErrorCode::kUnavailable) << lost.error().message();
}

TEST_F(LeaserTest, SaysWhenConditionalWritesAreMissing) {
  class Unconditional final : public contract::ForwardingClient {
   public:
    using ForwardingClient::ForwardingClient;
    Result<std::string> PutObject(const Context&, std::string_view, std::string_view,
                                  std::string_view) override {
      return Error(ErrorCode::kUnsupported, "no conditional writes here");
    }
  };
  Unconditional client(*client_);
  const auto lease = Leaser(client, Holder("a")).Acquire(ctx_);
  ASSERT_FALSE(lease.ok());
  EXPECT_EQ(lease.error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(lease.error().message(), "write lease: no conditional writes here");
}

}  // namespace
}  // namespace litestream
