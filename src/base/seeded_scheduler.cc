#include "base/seeded_scheduler.h"

#include <optional>
#include <utility>

namespace litestream {

// Guarded by the scheduler's mutex from `ready` on.
struct SeededScheduler::Job {
  Job(std::string n, TaskFunction f) : name(std::move(n)), function(std::move(f)) {}
  const std::string name;
  TaskFunction function;
  std::stop_source stop;

  bool ready = true;  // Started or woken, and not run since.
  bool running = false;
  std::optional<MonoTime> timer;
};

class SeededScheduler::Handle final : public Task {
 public:
  Handle(SeededScheduler& scheduler, std::shared_ptr<Job> job)
      : scheduler_(scheduler), job_(std::move(job)) {}
  ~Handle() override { Handle::Stop(); }
  void Wake() override { scheduler_.Wake(*job_); }
  void Stop() override {
    job_->stop.request_stop();
    if (scheduler_.End(*job_)) job_->function = nullptr;
  }

 private:
  SeededScheduler& scheduler_;
  const std::shared_ptr<Job> job_;
};

SeededScheduler::SeededScheduler(std::uint64_t seed, ManualClock& clock)
    : clock_(clock), random_(seed) {}

std::unique_ptr<Task> SeededScheduler::Start(Pool /*pool*/, std::string name,
                                             TaskFunction function) {
  auto job = std::make_shared<Job>(std::move(name), std::move(function));
  MutexLock lock(mu_);
  jobs_.push_back(job);
  return std::make_unique<Handle>(*this, std::move(job));
}

void SeededScheduler::Wake(Job& job) {
  MutexLock lock(mu_);
  job.ready = true;
}

bool SeededScheduler::End(Job& job) {
  MutexLock lock(mu_);
  std::erase_if(jobs_, [&job](const auto& j) { return j.get() == &job; });
  return !job.running;
}

std::shared_ptr<SeededScheduler::Job> SeededScheduler::Pick() {
  const MonoTime now = clock_.Monotonic();
  MutexLock lock(mu_);
  std::vector<std::shared_ptr<Job>> candidates;
  for (const auto& job : jobs_) {
    const bool due = job->ready || (job->timer && *job->timer <= now);
    if (due && !job->running) candidates.push_back(job);
  }
  if (candidates.empty()) return nullptr;
  // Not a std distribution: those differ between standard libraries.
  const std::shared_ptr<Job>& job = candidates[random_() % candidates.size()];
  job->ready = false;
  job->timer.reset();
  job->running = true;
  return job;
}

bool SeededScheduler::RunOne() {
  const std::shared_ptr<Job> job = Pick();
  if (!job) return false;
  const NextRun next = job->function(Context(job->stop.get_token(), std::nullopt, clock_));
  MutexLock lock(mu_);
  job->running = false;
  job->timer = next.at;
  return true;
}

std::size_t SeededScheduler::RunUntilIdle(std::size_t max_runs) {
  std::size_t runs = 0;
  while (runs < max_runs && RunOne()) ++runs;
  return runs;
}

std::size_t SeededScheduler::RunFor(std::chrono::nanoseconds duration, std::size_t max_runs) {
  const MonoTime end = clock_.Monotonic() + duration;
  std::size_t runs = 0;
  while (true) {
    runs += RunUntilIdle(max_runs - runs);
    if (runs >= max_runs) return runs;
    MonoTime next = end;
    {
      MutexLock lock(mu_);
      for (const auto& job : jobs_) {
        if (job->timer && *job->timer < next) next = *job->timer;
      }
    }
    clock_.AdvanceTo(next);
    if (next == end) return runs + RunUntilIdle(max_runs - runs);
  }
}

}  // namespace litestream
