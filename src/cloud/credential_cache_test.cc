#include "cloud/credential_cache.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/manual_clock.h"

namespace litestream::cloud {
namespace {

using std::chrono::minutes;

const Context kNever = Context::Background();

class CredentialCacheTest : public ::testing::Test {
 protected:
  std::string Get() {
    const auto secret = cache_.Get(kNever);
    return secret.ok() ? secret.value() : "error";
  }
  ManualClock clock_;
  int looks_ = 0;
  bool fails_ = false;
  std::optional<minutes> life_ = minutes(60);
  CredentialCache<std::string> cache_{[this](const Context&) -> Result<Expiring<std::string>> {
                                        ++looks_;
                                        if (fails_) return Error(ErrorCode::kUnavailable, "no");
                                        Expiring<std::string> found{
                                            .secret = std::to_string(looks_), .expires_at = {}};
                                        if (life_) found.expires_at = clock_.Now() + *life_;
                                        return found;
                                      },
                                      clock_};
};

TEST_F(CredentialCacheTest, RefreshedBeforeTheyExpire) {
  EXPECT_EQ(Get(), "1");
  clock_.Advance(minutes(54));
  EXPECT_EQ(Get(), "1");
  clock_.Advance(minutes(2));
  EXPECT_EQ(Get(), "2") << "four minutes before the end";
}

TEST_F(CredentialCacheTest, AFailedRefreshIsNotTheEnd) {
  EXPECT_EQ(Get(), "1");
  fails_ = true;
  clock_.Advance(minutes(56));
  EXPECT_EQ(Get(), "1");
  EXPECT_EQ(Get(), "1");
  EXPECT_EQ(looks_, 2) << "not with every request";
  clock_.Advance(minutes(1));
  EXPECT_EQ(Get(), "1");
  EXPECT_EQ(looks_, 3);
  clock_.Advance(minutes(4));
  EXPECT_EQ(Get(), "error") << "expired";
  fails_ = false;
  EXPECT_EQ(Get(), "5");
}

TEST_F(CredentialCacheTest, ServicesThatGiveOutTheOldOnesAreNotAskedAllTheTime) {
  int looks = 0;
  std::string secret = "old";
  WallTime expires_at = clock_.Now() + minutes(4);
  CredentialCache<std::string> cache(
      [&](const Context&) -> Result<Expiring<std::string>> {
        ++looks;
        return Expiring<std::string>{.secret = secret, .expires_at = expires_at};
      },
      clock_);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(cache.Get(kNever).value(), "old");
  EXPECT_EQ(looks, 2);
  secret = "new";
  expires_at += minutes(60);
  clock_.Advance(minutes(1));
  EXPECT_EQ(cache.Get(kNever).value(), "new");
}

TEST_F(CredentialCacheTest, RefusedOnesAreLookedForAgain) {
  life_.reset();
  EXPECT_EQ(Get(), "1");
  cache_.Refused("another");
  EXPECT_EQ(Get(), "1");
  cache_.Refused("1");
  EXPECT_EQ(Get(), "2");
}

TEST(SharedCredentialCacheTest, ALookThatFailsFailsForAllWhoWait) {
  constexpr int kCallers = 8;
  std::atomic<int> looks = 0;
  std::atomic<int> denied = 0;
  CredentialCache<std::string>* waited_for = nullptr;
  CredentialCache<std::string> cache(
      [&](const Context&) -> Result<Expiring<std::string>> {
        if (looks++ == 0) {
          while (waited_for->waiting() < kCallers - 1) std::this_thread::yield();
        }
        return Error(ErrorCode::kDenied, "no role");
      },
      Clock::Real());
  waited_for = &cache;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kCallers; ++i) {
      threads.emplace_back([&] {
        const auto secret = cache.Get(kNever);
        if (!secret.ok() && secret.error().Is(ErrorCode::kDenied)) ++denied;
      });
    }
  }
  EXPECT_EQ(denied, kCallers);
  EXPECT_EQ(looks, 1);
}

TEST_F(CredentialCacheTest, OneLookForAll) {
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (Get() != "1") ++wrong;
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(looks_, 1);
}

}  // namespace
}  // namespace litestream::cloud
