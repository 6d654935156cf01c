#include "cli/signals.h"

#include <csignal>
#include <cstdint>

#include <fmt/core.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace litestream::cli {
namespace {

sigset_t WatchedSignals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

SignalWatcher::SignalWatcher(Handler handler) {
  const sigset_t set = WatchedSignals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC));
  wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
  thread_ = std::jthread([this, handler = std::move(handler)] { Run(handler); });
}

SignalWatcher::~SignalWatcher() {
  const std::uint64_t one = 1;
  // The counter cannot overflow, so this cannot fail.
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
  thread_.join();
  const sigset_t set = WatchedSignals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void SignalWatcher::Run(const Handler& handler) const {
  while (true) {
    pollfd ready[2] = {{.fd = signals_.get(), .events = POLLIN},
                       {.fd = wake_.get(), .events = POLLIN}};
    if (::poll(ready, 2, -1) < 0) continue;
    if (ready[1].revents != 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
    handler(static_cast<int>(info.ssi_signo), info.ssi_code == SI_KERNEL);
  }
}

std::string SignalName(int signal) {
  if (signal == SIGINT) return "interrupt";
  if (signal == SIGTERM) return "terminated";
  return fmt::format("signal {}", signal);
}

}  // namespace litestream::cli
