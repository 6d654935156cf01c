#include "storage/lease.h"

#include <atomic>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "tests/contract/bodies.h"
#include "tests/contract/contract_test.h"

namespace litestream::contract {
namespace {

using std::chrono::seconds;

constexpr seconds kLife{30};

LeaseOptions Holder(const std::string& name) {
  return {.owner = name + ":1", .instance = name, .time_to_live = kLife};
}

template <typename T>
std::string Message(const Result<T>& result) {
  return result.ok() ? "(no error)" : result.error().message();
}

Lease Now(Leaser& leaser, const Context& ctx) {
  const auto lease = leaser.Look(ctx);
  EXPECT_TRUE(lease.ok() && lease.value());
  return lease.ok() && lease.value() ? *lease.value() : Lease();
}

TEST_P(LeaseTest, TakenAnewWithStocksFormat) {
  Leaser leaser(client(), Holder("a"));
  const auto lease = leaser.Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  EXPECT_EQ(lease.value().record.generation, 1);
  EXPECT_EQ(lease.value().record.expires_at, clock_.Now() + kLife);
  EXPECT_FALSE(lease.value().tag.empty());
  EXPECT_TRUE(lease.value().ValidAt(clock_.Monotonic() + kLife - seconds(1)));
  EXPECT_FALSE(lease.value().ValidAt(clock_.Monotonic() + kLife));
  EXPECT_EQ(Get(), R"({"generation":1,"expires_at":"2026-01-02T03:04:35.679Z","owner":"a:1",)"
                   R"("instance":"a-1"})");
}

TEST_P(LeaseTest, HeldByAnother) {
  Leaser first(client(), Holder("a"));
  Leaser second(client(), Holder("b"));
  ASSERT_TRUE(first.Acquire(at_clock_).ok());
  const auto lost = second.Acquire(at_clock_);
  EXPECT_EQ(CodeOf(lost), ErrorCode::kAlreadyExists);
  EXPECT_EQ(Message(lost), "lease already held by a:1 until 2026-01-02T03:04:35.679Z");
  clock_.Advance(kLife);
  EXPECT_EQ(CodeOf(second.Acquire(at_clock_)), ErrorCode::kAlreadyExists)
      << "the last millisecond still belongs to its holder";
}

TEST_P(LeaseTest, HeldByStockWithoutAnOwner) {
  Put(R"({"generation":7,"expires_at":"2026-01-02T05:04:35.123456789+02:00"})", "");
  Leaser leaser(client(), Holder("a"));
  EXPECT_EQ(Message(leaser.Acquire(at_clock_)),
            "lease already held until 2026-01-02T03:04:35.123Z");
  clock_.Advance(kLife);
  const auto lease = leaser.Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  EXPECT_EQ(lease.value().record.generation, 8);
}

TEST_P(LeaseTest, TakenOverAfterItRanOut) {
  Leaser first(client(), Holder("a"));
  Leaser second(client(), Holder("b"));
  const auto old = first.Acquire(at_clock_);
  ASSERT_TRUE(old.ok()) << old.error().message();
  clock_.Advance(kLife + std::chrono::milliseconds(1));
  const auto lease = second.Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  EXPECT_EQ(lease.value().record.generation, 2);
  EXPECT_EQ(Message(first.Renew(at_clock_, old.value())), "lease not held");
  EXPECT_EQ(CodeOf(first.Renew(at_clock_, old.value())), ErrorCode::kAlreadyExists);
  EXPECT_EQ(Message(first.Release(at_clock_, old.value())), "lease not held");
  EXPECT_TRUE(second.Renew(at_clock_, lease.value()).ok());
}

TEST_P(LeaseTest, Renewed) {
  Leaser leaser(client(), Holder("a"));
  auto lease = leaser.Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  const Lease old = lease.value();
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(seconds(10));
    lease = leaser.Renew(at_clock_, lease.value());
    ASSERT_TRUE(lease.ok()) << lease.error().message();
    EXPECT_EQ(lease.value().record.generation, 1);
    EXPECT_EQ(lease.value().record.expires_at, clock_.Now() + kLife);
  }
  EXPECT_EQ(CodeOf(Leaser(client(), Holder("b")).Acquire(at_clock_)), ErrorCode::kAlreadyExists);
  clock_.Advance(seconds(1000));
  EXPECT_TRUE(leaser.Renew(at_clock_, lease.value()).ok()) << "it ran out, but nobody came between";
}

// The lease was kept on disk, and the process that held it was killed.
TEST_P(LeaseTest, RenewedByTheNextProcess) {
  const auto lease = Leaser(client(), Holder("a")).Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  Leaser next(client(), Holder("c"));
  EXPECT_EQ(CodeOf(next.Acquire(at_clock_)), ErrorCode::kAlreadyExists);
  const auto renewed = next.Renew(at_clock_, lease.value());
  ASSERT_TRUE(renewed.ok()) << renewed.error().message();
  EXPECT_EQ(renewed.value().record.owner, "c:1");
}

// Given up, and nobody came: the mark still holds. Somebody came: it does not, whatever he left.
TEST_P(LeaseTest, GivenUp) {
  Leaser first(client(), Holder("a"));
  const auto lease = first.Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  const auto mark = first.GiveUp(at_clock_, MarkOf(lease.value()));
  ASSERT_TRUE(mark.ok()) << mark.error().message();
  EXPECT_EQ(Message(first.Renew(at_clock_, lease.value())), "(no error)")
      << "the object is still of this instance: nobody came between";
  const auto again = first.GiveUp(at_clock_, MarkOf(Now(first, at_clock_)));
  ASSERT_TRUE(again.ok()) << again.error().message();
  Leaser second(client(), Holder("b"));
  const auto taken = second.Acquire(at_clock_);
  ASSERT_TRUE(taken.ok()) << "it is free at once: " << taken.error().message();
  EXPECT_EQ(taken.value().record.generation, 2);
  EXPECT_EQ(CodeOf(first.GiveUp(at_clock_, again.value())), ErrorCode::kAlreadyExists);
  ASSERT_TRUE(second.GiveUp(at_clock_, MarkOf(taken.value())).ok());
  EXPECT_EQ(Message(first.Renew(at_clock_, again.value())), "lease not held");
}

TEST_P(LeaseTest, Released) {
  Leaser leaser(client(), Holder("a"));
  const auto lease = leaser.Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  clock_.Advance(seconds(1));
  const auto renewed = leaser.Renew(at_clock_, lease.value());
  ASSERT_TRUE(renewed.ok()) << renewed.error().message();
  EXPECT_TRUE(leaser.Release(at_clock_, renewed.value()).ok());
  EXPECT_EQ(Message(leaser.Release(at_clock_, renewed.value())), "lease already released");
  EXPECT_EQ(CodeOf(leaser.Release(at_clock_, renewed.value())), ErrorCode::kNotFound);
  EXPECT_EQ(Message(leaser.Renew(at_clock_, renewed.value())), "lease not held");
  EXPECT_TRUE(Leaser(client(), Holder("b")).Acquire(at_clock_).ok());
}

TEST_P(LeaseTest, ReleasedWithATagThatIsOld) {
  LeaseOptions other = Holder("a");
  other.instance.clear();
  Leaser nameless(client(), other);
  const auto first = nameless.Acquire(at_clock_);
  ASSERT_TRUE(first.ok()) << first.error().message();
  clock_.Advance(seconds(1));
  const auto second = nameless.Renew(at_clock_, first.value());
  ASSERT_TRUE(second.ok()) << second.error().message();
  EXPECT_EQ(Message(nameless.Release(at_clock_, first.value())), "lease not held");
  EXPECT_TRUE(nameless.Release(at_clock_, second.value()).ok());
}

// The write arrived, the answer did not: the holder has an old tag.
TEST_P(LeaseTest, AnAnswerThatWasLost) {
  Leaser leaser(client(), Holder("a"));
  const auto lease = leaser.Acquire(at_clock_);
  ASSERT_TRUE(lease.ok()) << lease.error().message();
  clock_.Advance(seconds(10));
  ASSERT_TRUE(leaser.Renew(at_clock_, lease.value()).ok());
  clock_.Advance(seconds(1));
  const auto again = leaser.Renew(at_clock_, lease.value());
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again.value().record.expires_at, clock_.Now() + kLife);
  clock_.Advance(seconds(1));
  const auto taken_again = leaser.Acquire(at_clock_);
  ASSERT_TRUE(taken_again.ok()) << taken_again.error().message();
  EXPECT_EQ(taken_again.value().record.generation, 1);
  EXPECT_EQ(CodeOf(leaser.Renew(at_clock_, again.value())), ErrorCode::kAlreadyExists)
      << "another time of holding it, even by the same";
  clock_.Advance(seconds(1));
  ASSERT_TRUE(leaser.Renew(at_clock_, taken_again.value()).ok());
  EXPECT_TRUE(leaser.Release(at_clock_, taken_again.value()).ok());
}

TEST_P(LeaseTest, NoArguments) {
  Leaser leaser(client(), Holder("a"));
  const Lease none;
  const Lease no_tag{.record = {.generation = 1}, .tag = {}, .valid_until = {}};
  EXPECT_EQ(Message(leaser.Renew(at_clock_, none)), "lease required");
  EXPECT_EQ(Message(leaser.Release(at_clock_, none)), "lease required");
  EXPECT_EQ(Message(leaser.Renew(at_clock_, no_tag)), "lease etag required");
  EXPECT_EQ(Message(leaser.Release(at_clock_, no_tag)), "lease etag required");
  EXPECT_EQ(CodeOf(leaser.Renew(at_clock_, none)), ErrorCode::kInvalidArgument);
}

TEST_P(LeaseTest, WhatIsNoLeaseIsNotTaken) {
  std::string tag;
  for (const char* content : {"", "{}", "[1]", "not JSON", R"({"generation":1})",
                              R"({"generation":"1","expires_at":"2026-01-02T03:04:05Z"})",
                              R"({"generation":1,"expires_at":"yesterday"})"}) {
    SCOPED_TRACE(content);
    tag = Put(content, tag);
    EXPECT_EQ(CodeOf(Leaser(client(), Holder("a")).Acquire(at_clock_)), ErrorCode::kCorruption);
    EXPECT_EQ(Get(), content);
  }
}

void RaceForTheLease(ReplicaUnderTest& replica, const Context& ctx, std::int64_t generation) {
  constexpr int kHolders = 8;
  std::atomic<int> winners = 0;
  std::atomic<int> losers = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kHolders; ++i) {
      threads.emplace_back([&replica, &ctx, &winners, &losers, generation, i] {
        const auto client = replica.Connect();
        // The same owner everywhere, and the same expiry: only the instance differs.
        LeaseOptions options = Holder("same");
        options.instance = std::to_string(generation) + "." + std::to_string(i);
        const auto lease = Leaser(*client, options).Acquire(ctx);
        if (lease.ok()) {
          ++winners;
          EXPECT_EQ(lease.value().record.generation, generation);
        } else if (lease.error().Is(ErrorCode::kAlreadyExists)) {
          ++losers;
        } else {
          ADD_FAILURE() << lease.error().message();
        }
      });
    }
  }
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(losers, kHolders - 1);
}

TEST_P(LeaseTest, OfManyExactlyOneGetsIt) {
  // The file backend waits for its lock by the clock of the context: a step clock would run away.
  const Context real = Context::Background();
  RaceForTheLease(replica(), real, 1);
}

TEST_P(LeaseTest, OfManyExactlyOneTakesItOver) {
  Put(R"({"generation":41,"expires_at":"2020-01-01T00:00:00Z","owner":"gone"})", "");
  const Context real = Context::Background();
  RaceForTheLease(replica(), real, 42);
}

}  // namespace
}  // namespace litestream::contract
