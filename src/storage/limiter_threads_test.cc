// The limiter under the real scheduler.

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/scheduler.h"
#include "storage/limiter.h"

namespace litestream {
namespace {

// A task that wants so many turns, as an uploader does.
class Worker {
 public:
  Worker(Scheduler& scheduler, Limiter& limiter, int turns, std::atomic<int>& at_work, int most)
      : scheduler_(scheduler), at_work_(at_work), most_(most), left_(turns), seat_(&limiter) {}
  ~Worker() { seat_.SetTask(nullptr); }
  void Start() {
    task_ = scheduler_.Start(Pool::kIo, "worker", [this](const Context&) { return Run(); });
    seat_.SetTask(task_.get());
  }
  int left() const { return left_; }

 private:
  NextRun Run() {
    const MonoTime now = scheduler_.clock().Monotonic();
    if (left_ == 0) return NextRun::WhenWoken();
    const auto turn = seat_.Ask(now, left_ % 3 == 0 ? TurnSize::kLarge : TurnSize::kSmall);
    if (!turn.granted) return turn.at ? NextRun::At(*turn.at) : NextRun::WhenWoken();
    EXPECT_LE(++at_work_, most_);
    std::this_thread::yield();
    --at_work_;
    --left_;
    seat_.Done(now);
    return NextRun::At(now);
  }

  Scheduler& scheduler_;
  std::atomic<int>& at_work_;
  const int most_;
  std::atomic<int> left_;
  LimiterSeat seat_;
  std::unique_ptr<Task> task_;
};

// Everybody gets all turns, never more at a time than there are places, and some end in the middle.
TEST(LimiterThreads, NobodyIsForgotten) {
  constexpr int kPlaces = 3;
  const auto scheduler = MakePoolScheduler({.capture_threads = 1, .io_threads = 6});
  Limiter limiter({.uploads = kPlaces, .requests_per_second = 1'000'000});
  std::atomic<int> at_work{0};
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 40; ++i) {
    workers.push_back(std::make_unique<Worker>(*scheduler, limiter, 50, at_work, kPlaces));
  }
  for (auto& worker : workers) worker->Start();
  for (int i = 0; i < 10; ++i) {
    while (workers.back()->left() > 40 - i) std::this_thread::yield();
    workers.pop_back();
  }
  for (auto& worker : workers) {
    while (worker->left() > 0) std::this_thread::yield();
  }
  EXPECT_EQ(at_work, 0);
}

}  // namespace
}  // namespace litestream
