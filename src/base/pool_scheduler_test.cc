#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/scheduler.h"
#include "base/sync.h"

namespace litestream {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;

constexpr std::chrono::seconds kPatience{20};

// A value that tests wait for.
class Counter {
 public:
  void Add(int n = 1) {
    MutexLock lock(mu_);
    value_ += n;
    changed_.NotifyAll();
  }
  bool AwaitAtLeast(int want) {
    MutexLock lock(mu_);
    return changed_.WaitFor(mu_, {}, kPatience, [&]() LS_REQUIRES(mu_) { return value_ >= want; });
  }
  int Get() {
    MutexLock lock(mu_);
    return value_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int value_ LS_GUARDED_BY(mu_) = 0;
};

// However much is to be captured, uploaded and merged, what happens in directories is seen.
TEST(PoolScheduler, DirectoriesWaitForNobody) {
  const auto scheduler =
      MakePoolScheduler({.capture_threads = 1, .io_threads = 1, .upkeep_threads = 1});
  Counter busy;
  Counter seen;
  bool in_time[3] = {};
  std::vector<std::unique_ptr<Task>> tasks;
  for (const Pool pool : {Pool::kCapture, Pool::kIo, Pool::kUpkeep}) {
    tasks.push_back(scheduler->Start(pool, "busy", [&, pool](const Context&) {
      busy.Add();
      in_time[static_cast<int>(pool)] = seen.AwaitAtLeast(1);
      return NextRun::WhenWoken();
    }));
  }
  ASSERT_TRUE(busy.AwaitAtLeast(3));
  tasks.push_back(scheduler->Start(Pool::kDirectory, "directory", [&](const Context&) {
    seen.Add();
    return NextRun::WhenWoken();
  }));
  tasks.clear();
  for (const bool each : in_time) EXPECT_TRUE(each);
}

TEST(PoolScheduler, RunsOnceAtTheStartAndOncePerWake) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 2, .io_threads = 2});
  for (const Pool pool : {Pool::kCapture, Pool::kIo}) {
    Counter runs;
    const auto task = scheduler->Start(pool, "t", [&](const Context&) {
      runs.Add();
      return NextRun::WhenWoken();
    });
    ASSERT_TRUE(runs.AwaitAtLeast(1));
    for (int i = 2; i < 50; ++i) {
      task->Wake();
      ASSERT_TRUE(runs.AwaitAtLeast(i));
    }
    EXPECT_EQ(runs.Get(), 49);
  }
}

TEST(PoolScheduler, WakeDuringARunCausesAnother) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 2, .io_threads = 1});
  Counter entered;
  Counter go;
  const auto task = scheduler->Start(Pool::kCapture, "t", [&](const Context&) {
    entered.Add();
    go.AwaitAtLeast(1);
    return NextRun::WhenWoken();
  });
  ASSERT_TRUE(entered.AwaitAtLeast(1));
  for (int i = 0; i < 5; ++i) task->Wake();  // All during the first run.
  go.Add();
  ASSERT_TRUE(entered.AwaitAtLeast(2));
  Counter other;  // Comes to its turn behind any further run.
  for (int i = 0; i < 4; ++i) {
    const auto probe = scheduler->Start(Pool::kCapture, "probe", [&](const Context&) {
      other.Add();
      return NextRun::WhenWoken();
    });
    ASSERT_TRUE(other.AwaitAtLeast(i + 1));
  }
  EXPECT_EQ(entered.Get(), 2);
}

TEST(PoolScheduler, TimersComeInOrderAndNotEarly) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 1, .io_threads = 1});
  // So far ahead that all four wait by then, on a busy machine too.
  const MonoTime start = scheduler->clock().Monotonic() + 300ms;
  Mutex mu{LockRank::kStore};
  std::string order;
  std::vector<MonoTime> at(4);
  Counter done;
  std::vector<std::unique_ptr<Task>> tasks;
  const std::array<std::chrono::milliseconds, 4> delays = {30ms, 10ms, 20ms, 10ms};
  for (std::size_t i = 0; i < delays.size(); ++i) {
    bool first = true;
    tasks.push_back(scheduler->Start(Pool::kCapture, "t",
                                     [&, i, first, delay = delays[i]](const Context& ctx) mutable {
                                       if (std::exchange(first, false))
                                         return NextRun::At(start + delay);
                                       MutexLock lock(mu);
                                       order += std::to_string(i);
                                       at[i] = ctx.clock().Monotonic();
                                       done.Add();
                                       return NextRun::WhenWoken();
                                     }));
  }
  ASSERT_TRUE(done.AwaitAtLeast(4));
  MutexLock lock(mu);
  EXPECT_EQ(order, "1320");
  for (std::size_t i = 0; i < delays.size(); ++i) EXPECT_GE(at[i] - start, delays[i]) << i;
}

// The pool waits for the far timer when the near one comes.
TEST(PoolScheduler, AnEarlierTimerIsNotMissed) {
  for (const int threads : {1, 2, 4}) {
    SCOPED_TRACE(threads);
    const auto scheduler = MakePoolScheduler({.capture_threads = threads, .io_threads = 1});
    Counter far;
    const auto sleeper = scheduler->Start(Pool::kCapture, "far", [&](const Context& ctx) {
      far.Add();
      return NextRun::At(ctx.clock().Monotonic() + 1h);
    });
    ASSERT_TRUE(far.AwaitAtLeast(1));
    Counter ticks;
    const auto ticker = scheduler->Start(Pool::kCapture, "near", [&](const Context& ctx) {
      ticks.Add();
      return NextRun::At(ctx.clock().Monotonic() + 1ms);
    });
    EXPECT_TRUE(ticks.AwaitAtLeast(10));
    sleeper->Wake();  // Whatever NextRun said.
    EXPECT_TRUE(far.AwaitAtLeast(2));
    EXPECT_TRUE(ticks.AwaitAtLeast(20));
    EXPECT_EQ(far.Get(), 2);
  }
}

TEST(PoolScheduler, APastTimeLetsTheOthersGoFirst) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 1, .io_threads = 1});
  Mutex mu{LockRank::kStore};
  std::string order;
  Counter done;
  Counter go;
  std::vector<std::unique_ptr<Task>> tasks;
  tasks.push_back(scheduler->Start(Pool::kCapture, "gate", [&](const Context&) {
    go.AwaitAtLeast(1);
    return NextRun::WhenWoken();
  }));
  for (const char c : {'a', 'b', 'c'}) {
    int left = 3;
    tasks.push_back(scheduler->Start(Pool::kCapture, "t", [&, c, left](const Context&) mutable {
      MutexLock lock(mu);
      order += c;
      done.Add();
      return --left > 0 ? NextRun::At(MonoTime()) : NextRun::WhenWoken();
    }));
  }
  go.Add();
  ASSERT_TRUE(done.AwaitAtLeast(9));
  MutexLock lock(mu);
  EXPECT_EQ(order, "abcabcabc");
}

TEST(PoolScheduler, PoolsDoNotWaitForEachOther) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 1, .io_threads = 1});
  Counter uploading;
  Counter captured;
  const auto upload = scheduler->Start(Pool::kIo, "upload", [&](const Context&) {
    uploading.Add();
    captured.AwaitAtLeast(1);
    return NextRun::WhenWoken();
  });
  ASSERT_TRUE(uploading.AwaitAtLeast(1));
  const auto capture = scheduler->Start(Pool::kCapture, "capture", [&](const Context&) {
    captured.Add();
    return NextRun::WhenWoken();
  });
  EXPECT_TRUE(captured.AwaitAtLeast(1));
}

TEST(PoolScheduler, EndingATaskStopsItsContextAndWaits) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 2, .io_threads = 1});
  Counter entered;
  std::atomic<bool> left = false;
  bool cancelled = false;
  auto task = scheduler->Start(Pool::kCapture, "t", [&](const Context& ctx) {
    entered.Add();
    cancelled = !ctx.Wait(1h).ok();
    std::this_thread::yield();
    left = true;
    return NextRun::At(MonoTime());  // Not any more.
  });
  ASSERT_TRUE(entered.AwaitAtLeast(1));
  task.reset();
  EXPECT_TRUE(left);
  EXPECT_TRUE(cancelled);
  EXPECT_EQ(entered.Get(), 1);
}

TEST(PoolScheduler, AStoppedTaskIsNotRunAgain) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 1, .io_threads = 1});
  Counter runs;
  const auto held = std::make_shared<int>(0);
  const auto task = scheduler->Start(Pool::kCapture, "t", [&runs, held](const Context&) {
    runs.Add();
    return NextRun::At(MonoTime());
  });
  ASSERT_TRUE(runs.AwaitAtLeast(1));
  task->Stop();
  EXPECT_EQ(held.use_count(), 1);
  const int at_stop = runs.Get();
  task->Wake();
  task->Stop();
  Counter probe;
  const auto after = scheduler->Start(Pool::kCapture, "probe", [&probe](const Context&) {
    probe.Add();
    return NextRun::WhenWoken();
  });
  ASSERT_TRUE(probe.AwaitAtLeast(1));
  EXPECT_EQ(runs.Get(), at_stop);
}

TEST(PoolScheduler, EndingATaskDestroysItsFunction) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 2, .io_threads = 1});
  for (int i = 0; i < 200; ++i) {
    const auto held = std::make_shared<int>(0);
    Counter runs;
    auto task = scheduler->Start(Pool::kCapture, "t", [held, &runs](const Context&) {
      ++*held;
      runs.Add();
      return NextRun::WhenWoken();
    });
    ASSERT_TRUE(runs.AwaitAtLeast(1));
    task.reset();
    ASSERT_EQ(held.use_count(), 1);
  }
}

TEST(PoolScheduler, ATaskMayEndAnotherOfItsPoolAndItself) {
  const auto scheduler = MakePoolScheduler({.capture_threads = 2, .io_threads = 1});
  Counter entered;
  std::atomic<bool> victim_left = false;
  auto victim = scheduler->Start(Pool::kCapture, "victim", [&](const Context& ctx) {
    entered.Add();
    [[maybe_unused]] const auto stopped = ctx.Wait(1h);
    victim_left = true;
    return NextRun::WhenWoken();
  });
  ASSERT_TRUE(entered.AwaitAtLeast(1));
  Counter done;
  bool saw_it_leave = false;
  std::unique_ptr<Task> killer;
  Mutex mu{LockRank::kStore};  // Until `killer` is assigned.
  {
    MutexLock lock(mu);
    killer = scheduler->Start(Pool::kCapture, "killer", [&](const Context& ctx) {
      MutexLock inner(mu);
      victim.reset();
      saw_it_leave = victim_left;
      killer.reset();
      EXPECT_TRUE(ctx.stop().stop_requested());
      done.Add();
      return NextRun::At(MonoTime());
    });
  }
  ASSERT_TRUE(done.AwaitAtLeast(1));
  EXPECT_TRUE(saw_it_leave);
}

// Counts how often the scheduler asks for the time: it does so whenever a thread with a timer in
// sight wakes up.
class CountingClock final : public Clock {
 public:
  WallTime Now() const override { return Clock::Real().Now(); }
  MonoTime Monotonic() const override {
    ++calls_;
    return Clock::Real().Monotonic();
  }
  void Wait(const std::stop_token& stop, std::chrono::nanoseconds duration) const override {
    Clock::Real().Wait(stop, duration);
  }
  int calls() const { return calls_; }

 private:
  mutable std::atomic<int> calls_ = 0;
};

TEST(PoolScheduler, IdleCostsNoWakeUps) {
  const CountingClock clock;
  const auto scheduler = MakePoolScheduler({.capture_threads = 2, .io_threads = 2}, clock);
  Counter runs;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < 100; ++i) {
    tasks.push_back(scheduler->Start(Pool::kCapture, "t", [&](const Context&) {
      runs.Add();
      return NextRun::At(Clock::Real().Monotonic() + 1h);
    }));
  }
  ASSERT_TRUE(runs.AwaitAtLeast(100));
  // Each run may ask a few times; what matters is that it ends.
  int before = clock.calls();
  bool quiet = false;
  for (int i = 0; i < 100 && !quiet; ++i) {
    Clock::Real().Wait({}, 20ms);
    quiet = clock.calls() == std::exchange(before, clock.calls());
  }
  EXPECT_TRUE(quiet);
  EXPECT_LT(clock.calls(), 1000);
  EXPECT_EQ(runs.Get(), 100);
}

// Everything at once: wakes from several threads, timers, tasks that come and go. No task may run
// concurrently with itself, and no wake may be lost.
TEST(PoolScheduler, Stress) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr int kTasks = 40;
  constexpr int kWakers = 3;
  constexpr int kWakesPerThread = 20'000;
  const auto scheduler = MakePoolScheduler({.capture_threads = 3, .io_threads = 2});
  struct Subject {
    std::atomic<bool> running = false;
    std::atomic<int> wanted = 0;  // Raised before each wake...
    std::atomic<int> seen = 0;    // ...and noted by the next run.
    std::unique_ptr<Task> task;
  };
  std::vector<Subject> subjects(kTasks);
  std::atomic<int> overlaps = 0;
  Counter finished;
  for (int i = 0; i < kTasks; ++i) {
    Subject& s = subjects[static_cast<std::size_t>(i)];
    s.task = scheduler->Start(
        i % 2 == 0 ? Pool::kCapture : Pool::kIo, "t",
        [&s, &overlaps,
         rng = std::minstd_rand(seed + static_cast<unsigned>(i))](const Context& ctx) mutable {
          if (s.running.exchange(true)) ++overlaps;
          s.seen = s.wanted.load();
          if (rng() % 8 == 0) std::this_thread::yield();
          s.running = false;
          switch (rng() % 4) {
            case 0:
              return NextRun::At(MonoTime());
            case 1:
              return NextRun::At(ctx.clock().Monotonic() + std::chrono::microseconds(rng() % 300));
            default:
              return NextRun::WhenWoken();
          }
        });
  }
  {
    std::vector<std::jthread> wakers;
    for (int w = 0; w < kWakers; ++w) {
      wakers.emplace_back([&, w] {
        std::minstd_rand rng(seed * 31 + static_cast<unsigned>(w));
        for (int i = 0; i < kWakesPerThread; ++i) {
          Subject& s = subjects[rng() % kTasks];
          ++s.wanted;
          s.task->Wake();
          if (i % 64 != 0) continue;
          // And a task that lives for a moment.
          const auto brief = scheduler->Start(i % 3 == 0 ? Pool::kIo : Pool::kCapture, "brief",
                                              [](const Context&) { return NextRun::At({}); });
          brief->Wake();
        }
      });
    }
  }
  for (Subject& s : subjects) {
    const MonoTime give_up = Clock::Real().Monotonic() + kPatience;
    while (s.seen != s.wanted && Clock::Real().Monotonic() < give_up) std::this_thread::yield();
    EXPECT_EQ(s.seen, s.wanted);
    s.task.reset();
  }
  EXPECT_EQ(overlaps, 0);
}

}  // namespace
}  // namespace litestream
