#include <algorithm>
#include <cstdint>
#include <list>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>

#include "base/scheduler.h"
#include "base/sync.h"

namespace litestream {
namespace {

constexpr int kDefaultIoThreads = 8;
constexpr int kDefaultUpkeepThreads = 2;
// So that a deadline computed from it cannot overflow.
constexpr std::chrono::nanoseconds kLongestWait = std::chrono::hours(24);

enum class State : std::uint8_t { kWaiting, kReady, kRunning, kEnded };

// What the pool knows of a task. Shared between the task's handle and the thread that runs it,
// because a task may end itself. Below the blank line: guarded by the pool's mutex.
struct Job : std::enable_shared_from_this<Job> {
  Job(std::string n, TaskFunction f) : name(std::move(n)), function(std::move(f)) {}
  const std::string name;  // For whoever looks with a debugger.
  TaskFunction function;
  std::stop_source stop;

  State state = State::kWaiting;
  bool woken = false;                  // During a run.
  std::thread::id runner;              // The thread that runs it; none: it is not running.
  std::optional<MonoTime> timer;       // Set: it is in `timers_`.
  std::uint64_t timer_sequence = 0;    // First come, first served among equal times.
  std::list<Job*>::iterator ready_at;  // While ready: its place in `ready_`.
};

// Some threads, a queue of jobs that can run, and one of jobs that wait for their time.
//
// Of the idle threads one, the keeper, waits for the first timer; the others wait to be notified. A
// thread that takes a job passes on what is left to do: another ready job, or the keeping. A thread
// that finishes a job looks for itself, so nobody is notified of what it puts back.
class ThreadPool {
 public:
  ThreadPool(int threads, const char* thread_name, const Clock& clock) : clock_(clock) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { Run(); });
      ::pthread_setname_np(threads_.back().native_handle(), thread_name);
    }
  }
  // All are told before any is waited for. Stopped one by one they would wake each other in turn,
  // and on a busy machine the end would take as many time slices as there are threads.
  ~ThreadPool() {
    MutexLock lock(mu_);
    ending_ = true;
    work_.NotifyAll();
  }

  void Wake(Job& job);
  // Returns true when the job is not running and will not run; false at once if the caller is the
  // job itself.
  bool End(Job& job);

 private:
  struct TimerOrder {
    bool operator()(const Job* a, const Job* b) const {
      return std::pair(*a->timer, a->timer_sequence) < std::pair(*b->timer, b->timer_sequence);
    }
  };

  void Run();
  std::shared_ptr<Job> Next();
  void Finish(Job& job, const NextRun& next);
  void WaitForWork() LS_REQUIRES(mu_);
  void PushReady(Job& job) LS_REQUIRES(mu_);
  void PushTimer(Job& job, MonoTime at) LS_REQUIRES(mu_);
  void DropTimer(Job& job) LS_REQUIRES(mu_);
  void PushDueTimers() LS_REQUIRES(mu_);
  bool NeedsKeeper() const LS_REQUIRES(mu_) { return keeper_ == 0 && !timers_.empty(); }

  const Clock& clock_;
  Mutex mu_{LockRank::kScheduler};
  CondVar work_;
  CondVar ended_;
  std::list<Job*> ready_ LS_GUARDED_BY(mu_);
  std::set<Job*, TimerOrder> timers_ LS_GUARDED_BY(mu_);
  std::uint64_t timer_sequence_ LS_GUARDED_BY(mu_) = 0;
  int idle_ LS_GUARDED_BY(mu_) = 0;
  // Each turn as keeper has a number; 0: nobody waits for the first timer.
  std::uint64_t keeper_ LS_GUARDED_BY(mu_) = 0;
  std::uint64_t last_turn_ LS_GUARDED_BY(mu_) = 0;
  bool ending_ LS_GUARDED_BY(mu_) = false;
  std::vector<std::jthread> threads_;
};

void ThreadPool::Wake(Job& job) {
  MutexLock lock(mu_);
  switch (job.state) {
    case State::kWaiting:
      DropTimer(job);
      PushReady(job);
      if (idle_ > 0) work_.NotifyOne();
      break;
    case State::kRunning:
      job.woken = true;
      break;
    case State::kReady:
    case State::kEnded:
      break;
  }
}

bool ThreadPool::End(Job& job) {
  MutexLock lock(mu_);
  DropTimer(job);
  if (job.state == State::kReady) ready_.erase(job.ready_at);
  job.state = State::kEnded;
  if (job.runner == std::this_thread::get_id()) return false;
  ended_.Wait(mu_, {}, [&job] { return job.runner == std::thread::id(); });
  return true;
}

void ThreadPool::Run() {
  while (const std::shared_ptr<Job> job = Next()) {
    Finish(*job, job->function(Context(job->stop.get_token(), std::nullopt, clock_)));
  }
}

std::shared_ptr<Job> ThreadPool::Next() {
  MutexLock lock(mu_);
  while (!ending_) {
    PushDueTimers();
    if (!ready_.empty()) {
      Job& job = *ready_.front();
      ready_.pop_front();
      job.state = State::kRunning;
      job.woken = false;
      job.runner = std::this_thread::get_id();
      if (idle_ > 0 && (!ready_.empty() || NeedsKeeper())) work_.NotifyOne();
      return job.shared_from_this();
    }
    WaitForWork();
  }
  return nullptr;
}

void ThreadPool::WaitForWork() {
  ++idle_;
  if (NeedsKeeper()) {
    const std::uint64_t turn = keeper_ = ++last_turn_;
    const std::chrono::nanoseconds until_first = *(*timers_.begin())->timer - clock_.Monotonic();
    work_.WaitFor(mu_, {}, std::min(until_first, kLongestWait), [this, turn]() LS_REQUIRES(mu_) {
      return ending_ || !ready_.empty() || keeper_ != turn;
    });
    if (keeper_ == turn) keeper_ = 0;
  } else {
    work_.Wait(mu_, {},
               [this]() LS_REQUIRES(mu_) { return ending_ || !ready_.empty() || NeedsKeeper(); });
  }
  --idle_;
}

void ThreadPool::Finish(Job& job, const NextRun& next) {
  MutexLock lock(mu_);
  job.runner = std::thread::id();
  if (job.state == State::kEnded) {
    ended_.NotifyAll();
  } else if (job.woken || (next.at && *next.at <= clock_.Monotonic())) {
    PushReady(job);
  } else {
    job.state = State::kWaiting;
    if (next.at) PushTimer(job, *next.at);
  }
}

void ThreadPool::PushReady(Job& job) {
  job.state = State::kReady;
  job.ready_at = ready_.insert(ready_.end(), &job);
}

void ThreadPool::PushTimer(Job& job, MonoTime at) {
  job.timer = at;
  job.timer_sequence = ++timer_sequence_;
  timers_.insert(&job);
  if (*timers_.begin() == &job) keeper_ = 0;  // The keeper waits too long now.
}

void ThreadPool::DropTimer(Job& job) {
  if (!job.timer) return;
  timers_.erase(&job);
  job.timer.reset();
}

void ThreadPool::PushDueTimers() {
  if (timers_.empty()) return;
  const MonoTime now = clock_.Monotonic();
  while (!timers_.empty() && *(*timers_.begin())->timer <= now) {
    Job& job = **timers_.begin();
    DropTimer(job);
    PushReady(job);
  }
}

class PoolTask final : public Task {
 public:
  PoolTask(ThreadPool& pool, std::shared_ptr<Job> job) : pool_(pool), job_(std::move(job)) {}
  ~PoolTask() override { PoolTask::Stop(); }
  void Wake() override { pool_.Wake(*job_); }
  void Stop() override {
    job_->stop.request_stop();
    // What the function holds goes here, not later in the thread that ran it last.
    if (pool_.End(*job_)) job_->function = nullptr;
  }

 private:
  ThreadPool& pool_;
  const std::shared_ptr<Job> job_;
};

class PoolScheduler final : public Scheduler {
 public:
  PoolScheduler(int capture_threads, int io_threads, int upkeep_threads, const Clock& clock)
      : clock_(clock),
        capture_(capture_threads, "ls-capture", clock),
        io_(io_threads, "ls-io", clock),
        upkeep_(upkeep_threads, "ls-upkeep", clock),
        directory_(1, "ls-directory", clock) {}

  std::unique_ptr<Task> Start(Pool pool, std::string name, TaskFunction function) override {
    auto job = std::make_shared<Job>(std::move(name), std::move(function));
    auto task = std::make_unique<PoolTask>(Threads(pool), std::move(job));
    task->Wake();
    return task;
  }

  const Clock& clock() const override { return clock_; }

 private:
  ThreadPool& Threads(Pool pool) {
    switch (pool) {
      case Pool::kCapture:
        return capture_;
      case Pool::kIo:
        return io_;
      case Pool::kUpkeep:
        return upkeep_;
      case Pool::kDirectory:
        break;
    }
    return directory_;
  }

  const Clock& clock_;
  ThreadPool capture_;
  ThreadPool io_;
  ThreadPool upkeep_;
  ThreadPool directory_;
};

}  // namespace

std::unique_ptr<Scheduler> MakePoolScheduler(const PoolSizes& sizes, const Clock& clock) {
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::make_unique<PoolScheduler>(
      sizes.capture_threads > 0 ? sizes.capture_threads : cores,
      sizes.io_threads > 0 ? sizes.io_threads : kDefaultIoThreads,
      sizes.upkeep_threads > 0 ? sizes.upkeep_threads : kDefaultUpkeepThreads, clock);
}

}  // namespace litestream
