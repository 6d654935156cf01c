#include "cli/supervisor.h"

#include <csignal>

#include <unistd.h>

#include "base/try.h"

namespace litestream::cli {
namespace {

constexpr int kSignalsToHurry = 2;
constexpr int kSignalsToExit = 3;

}  // namespace

Supervisor::Supervisor()
    : watcher_([this](int signal, bool from_terminal) { OnSignal(signal, from_terminal); }) {}

Supervisor::~Supervisor() {
  // Only after a failed start does the child still run here; it must not stay behind.
  MutexLock lock(mu_);
  if (child_ && !child_end_) (void)child_->Signal(SIGTERM);
}

int Supervisor::signal() const {
  MutexLock lock(mu_);
  return signal_;
}

std::optional<ChildEnd> Supervisor::child_end() const {
  MutexLock lock(mu_);
  return child_end_;
}

void Supervisor::OnSignal(int signal, bool from_terminal) {
  int count = 0;
  {
    MutexLock lock(mu_);
    if (signal_ == 0) signal_ = signal;
    count = ++signal_count_;
    if (child_ && !child_end_) {
      const bool has_it = from_terminal && child_->SharesProcessGroup();
      // A child that ended a moment ago is a zombie until it is reaped under this lock.
      if (!has_it) sent_ = child_->Signal(signal).ok();
      forwarded_ = true;
    }
  }
  if (count >= kSignalsToExit) ::_exit(128 + signal);
  if (count >= kSignalsToHurry) hurry_.request_stop();
  stop_.request_stop();
  changed_.NotifyAll();
}

Result<void> Supervisor::StartChild(const std::vector<std::string>& command) {
  const ChildProcess child = LS_TRY(ChildProcess::Start(command));
  int missed = 0;
  {
    MutexLock lock(mu_);
    child_ = child;
    missed = signal_;  // It came before there was a child.
    if (missed != 0) forwarded_ = sent_ = true;
  }
  if (missed != 0) LS_TRY(child.Signal(missed));
  child_waiter_ = std::jthread([this, child] {
    child.WaitForEnd();
    {
      MutexLock lock(mu_);
      child_end_ = child.Reap();
    }
    changed_.NotifyAll();
  });
  return {};
}

void Supervisor::Wait() {
  MutexLock lock(mu_);
  changed_.Wait(mu_, std::stop_token(),
                [this]() LS_REQUIRES(mu_) { return signal_ != 0 || child_end_.has_value(); });
}

void Supervisor::EndByItself() {
  MutexLock lock(mu_);
  ++signal_count_;
}

void Supervisor::EndBySignal(const Logger& log) {
  bool forwarded = false;
  bool sent = false;
  int signal = 0;
  {
    MutexLock lock(mu_);
    forwarded = forwarded_;
    sent = sent_;
    signal = signal_;
  }
  log.Info("signal received, litestream shutting down", {{"signal", SignalName(signal)}});
  if (!forwarded) return;  // There is no child, or it ended before the signal.
  if (sent) log.Info("sending signal to exec process");
  log.Info("waiting for exec process to close");
  MutexLock lock(mu_);
  changed_.Wait(mu_, std::stop_token(),
                [this]() LS_REQUIRES(mu_) { return child_end_.has_value(); });
}

int Supervisor::ChildExitCode() const {
  MutexLock lock(mu_);
  if (!child_end_) return 0;
  return forwarded_ && child_end_->signal != 0 ? 0 : child_end_->exit_code;
}

}  // namespace litestream::cli
