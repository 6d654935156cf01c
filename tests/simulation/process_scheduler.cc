// The engine's tasks as threads of a simulated process: as many as there are tasks, so any of them
// can run beside any other, in an order that the world decides.

#include <algorithm>
#include <utility>

#include "tests/simulation/process.h"

namespace litestream::sim {
namespace {

struct Job {
  Job(Process& p, std::string n, TaskFunction f)
      : process(p), name(std::move(n)), function(std::move(f)) {}
  Process& process;
  const std::string name;
  TaskFunction function;
  std::stop_source stop;
  Thread* thread = nullptr;
  bool ready = true;
  bool running = false;
  std::optional<MonoTime> timer;
  std::vector<Thread*> waiters;

  void Run() {
    World& world = process.world();
    const Clock& clock = process.clock();
    while (!stop.stop_requested()) {
      const MonoTime now = clock.Monotonic();
      const bool due = ready || (timer && *timer <= now);
      if (!due || process.dead()) {
        if (timer) {
          world.SleepUntil(world.now_ns() + (*timer - now).count(), true);
        } else {
          world.Park();
        }
        continue;
      }
      ready = false;
      timer.reset();
      running = true;
      world.Note(process.name(), "step", name);
      const NextRun next = function(Context(stop.get_token(), std::nullopt, clock));
      running = false;
      timer = next.at;
      for (Thread* const waiter : std::exchange(waiters, {})) world.Wake(*waiter);
    }
    thread = nullptr;
  }
};

class Handle final : public Task {
 public:
  explicit Handle(std::shared_ptr<Job> job) : job_(std::move(job)) {}
  ~Handle() override { Handle::Stop(); }

  void Wake() override {
    job_->ready = true;
    if (job_->thread != nullptr) job_->process.world().Wake(*job_->thread);
  }

  void Stop() override {
    World& world = job_->process.world();
    job_->stop.request_stop();
    if (job_->thread != nullptr) world.Wake(*job_->thread);
    while (job_->running && world.current() != job_->thread) {
      job_->waiters.push_back(world.current());
      world.Park();
      std::erase(job_->waiters, world.current());
    }
    if (!job_->running) job_->function = nullptr;
  }

 private:
  // Shared with the thread, which ends a little later.
  const std::shared_ptr<Job> job_;
};

class ProcessScheduler final : public Scheduler {
 public:
  explicit ProcessScheduler(Process& process) : process_(process) {}

  std::unique_ptr<Task> Start(Pool /*pool*/, std::string name, TaskFunction function) override {
    auto job = std::make_shared<Job>(process_, name, std::move(function));
    job->thread = &process_.Spawn(std::move(name), [job] { job->Run(); });
    return std::make_unique<Handle>(std::move(job));
  }
  const Clock& clock() const override { return process_.clock(); }

 private:
  Process& process_;
};

}  // namespace

std::unique_ptr<Scheduler> MakeProcessScheduler(Process& process) {
  return std::make_unique<ProcessScheduler>(process);
}

}  // namespace litestream::sim
