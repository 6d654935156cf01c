#include "storage/limited_client.h"

#include <algorithm>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/sync.h"
#include "storage/memory_client.h"
#include "tests/contract/bodies.h"

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadAll;
using contract::TextSource;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// Notes the longest wait.
class NotingClock final : public Clock {
 public:
  WallTime Now() const override { return clock_.Now(); }
  MonoTime Monotonic() const override { return clock_.Monotonic(); }
  void Wait(const std::stop_token& stop, nanoseconds duration) const override {
    longest_ = std::max(longest_, duration);
    clock_.Wait(stop, duration);
  }
  nanoseconds longest() const { return longest_; }

 private:
  ManualClock clock_;
  mutable nanoseconds longest_{0};
};

class LimitedClientTest : public ::testing::Test {
 protected:
  void Limit(const LimitOptions& options) {
    limiter_ = std::make_shared<Limiter>(options);
    client_ = MakeLimitedClient(MakeMemoryClient(store_), limiter_);
  }
  Result<FileInfo> Put(const Context& ctx, const FileId& id, std::size_t size) {
    TextSource body(MakeContent(size, id.txids.max.value));
    return client_->Write(ctx, id, body, {.created_at = {}, .size_bytes = size, .if_absent = true});
  }
  MonoTime Now() const { return clock_.Monotonic(); }

  MemoryStore store_;
  NotingClock clock_;
  const Context ctx_{std::stop_token(), std::nullopt, clock_};
  std::shared_ptr<Limiter> limiter_;
  std::unique_ptr<ReplicaClient> client_;
};

TEST_F(LimitedClientTest, UploadsAtThePaceAskedFor) {
  for (const std::uint64_t rate :
       {std::uint64_t{1'000}, std::uint64_t{100'000}, std::uint64_t{50'000'000}}) {
    SCOPED_TRACE(rate);
    Limit({.upload_bytes_per_second = rate});
    const MonoTime began = Now();
    const std::size_t size = std::min<std::uint64_t>(rate * 10, 20'000'000);
    ASSERT_TRUE(Put(ctx_, Id(0, rate, rate), size).ok());
    const double took = std::chrono::duration<double>(Now() - began).count();
    EXPECT_NEAR(took, static_cast<double>(size) / static_cast<double>(rate), 0.02);
    EXPECT_LE(clock_.longest(), milliseconds(50));
    // What comes back is not limited.
    const MonoTime uploaded = Now();
    auto source = client_->Open(ctx_, Id(0, rate, rate), {});
    ASSERT_TRUE(source.ok());
    const auto content = ReadAll(ctx_, *source.value());
    ASSERT_TRUE(content.ok());
    EXPECT_EQ(content.value(), MakeContent(size, rate));
    EXPECT_EQ(Now(), uploaded);
  }
}

TEST_F(LimitedClientTest, DownloadsAtThePaceAskedFor) {
  Limit({.download_bytes_per_second = 100'000});
  MonoTime began = Now();
  ASSERT_TRUE(Put(ctx_, Id(0, 1, 1), 1'000'000).ok());
  EXPECT_EQ(Now(), began);
  auto source = client_->Open(ctx_, Id(0, 1, 1), {});
  ASSERT_TRUE(source.ok());
  client_.reset();  // A source may outlive its client, and the limiter's other owners.
  limiter_.reset();
  ASSERT_TRUE(ReadAll(ctx_, *source.value()).ok());
  EXPECT_NEAR(std::chrono::duration<double>(Now() - began).count(), 10.0, 0.02);
}

TEST_F(LimitedClientTest, WaitingEndsWithTheContext) {
  Limit({.upload_bytes_per_second = 1'000});
  const auto late = Put(ctx_.WithDeadline(Now() + seconds(5)), Id(0, 1, 1), 100'000);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kTimeout);
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = Put(Context(stop.get_token(), std::nullopt, clock_), Id(0, 1, 1), 100'000);
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code(), ErrorCode::kCancelled);
  const auto listed = client_->List(ctx_, kLevel0, {});
  ASSERT_TRUE(listed.ok());
  EXPECT_TRUE(listed.value().empty());
}

TEST_F(LimitedClientTest, EveryCallIsARequest) {
  Limit({.uploads = 2, .requests_per_second = 1});
  LimiterSeat seat(limiter_.get());
  const auto until_next = [&] {
    const auto answer = seat.Ask(Now(), TurnSize::kSmall);
    seat.Done(Now());
    return answer.at ? *answer.at - Now() : nanoseconds(0);
  };
  const FileId id = Id(0, 1, 1);
  const std::pair<const char*, std::function<void()>> calls[] = {
      {"list", [&] { EXPECT_TRUE(client_->List(ctx_, kLevel0, {}).ok()); }},
      {"write", [&] { EXPECT_TRUE(Put(ctx_, id, 100).ok()); }},
      {"open", [&] { EXPECT_TRUE(client_->Open(ctx_, id, {}).ok()); }},
      {"delete",
       [&] {
         EXPECT_TRUE(client_->Delete(ctx_, {&id, 1}).ok());
       }},
      {"put", [&] { EXPECT_TRUE(client_->PutObject(ctx_, "a", "b", "").ok()); }},
      {"get", [&] { EXPECT_TRUE(client_->GetObject(ctx_, "a").ok()); }},
      {"remove", [&] { EXPECT_TRUE(client_->DeleteObject(ctx_, "a", "").ok()); }},
      {"remove all", [&] { EXPECT_TRUE(client_->DeleteAll(ctx_).ok()); }},
  };
  client_->List(ctx_, kLevel0, {}).ok();  // What the past second allows.
  nanoseconds before = until_next();
  for (const auto& [name, call] : calls) {
    SCOPED_TRACE(name);
    call();
    const nanoseconds after = until_next();
    EXPECT_NEAR(static_cast<double>((after - before).count()), 1e9, 1e3);
    before = after;
  }
}

// A clock that moves when all of so many threads wait for it: to where the first of them wakes.
class MeetingClock final : public Clock {
 public:
  explicit MeetingClock(int threads) : threads_(threads) {}
  WallTime Now() const override { return {}; }
  MonoTime Monotonic() const override {
    MutexLock lock(mu_);
    return now_;
  }
  void Wait(const std::stop_token&, nanoseconds duration) const override {
    MutexLock lock(mu_);
    const MonoTime until = now_ + duration;
    wakes_.insert(until);
    Move();
    moved_.Wait(mu_, {}, [this, until]() LS_REQUIRES(mu_) { return now_ >= until; });
    wakes_.erase(wakes_.find(until));
  }
  // A thread has ended.
  void Leave() {
    MutexLock lock(mu_);
    --threads_;
    Move();
  }

 private:
  void Move() const LS_REQUIRES(mu_) {
    if (static_cast<int>(wakes_.size()) < threads_ || wakes_.empty()) return;
    now_ = std::max(now_, *wakes_.begin());
    moved_.NotifyAll();
  }

  mutable Mutex mu_;
  mutable CondVar moved_;
  mutable MonoTime now_ LS_GUARDED_BY(mu_);
  mutable std::multiset<MonoTime> wakes_ LS_GUARDED_BY(mu_);
  int threads_ LS_GUARDED_BY(mu_);
};

// Seven large uploads and a small one: the small one has an eighth of the line, and is through when
// each of the others has had as much.
TEST_F(LimitedClientTest, ASmallUploadHasItsShare) {
  constexpr int kThreads = 8;
  constexpr std::size_t kSmall = 100'000;
  MeetingClock clock(kThreads);
  const Context ctx(std::stop_token(), std::nullopt, clock);
  Limit({.upload_bytes_per_second = 400'000});
  std::vector<MonoTime> ends(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        EXPECT_TRUE(Put(ctx, Id(0, i + 1, i + 1), i == 0 ? kSmall : 5 * kSmall).ok());
        ends[i] = clock.Monotonic();
        clock.Leave();
      });
    }
  }
  const auto seconds_of = [](MonoTime time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
  };
  EXPECT_NEAR(seconds_of(ends[0]), 8.0 * kSmall / 400'000, 0.3);
  const double all = (1 + 7 * 5) * kSmall / 400'000.0;
  for (int i = 1; i < kThreads; ++i) EXPECT_NEAR(seconds_of(ends[i]), all, 0.9) << i;
}

}  // namespace
}  // namespace litestream
