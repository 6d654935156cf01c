#include "litestream/clock.h"

#include <algorithm>

#include "base/sync.h"

namespace litestream {
namespace {

// Added to the time of day this still fits into 64 bits of nanoseconds.
constexpr std::chrono::nanoseconds kLongestWait = std::chrono::hours(24 * 365);

class RealClock final : public Clock {
 public:
  WallTime Now() const override {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }

  MonoTime Monotonic() const override { return std::chrono::steady_clock::now(); }

  void Wait(const std::stop_token& stop, std::chrono::nanoseconds duration) const override {
    if (duration <= std::chrono::nanoseconds::zero()) return;
    Mutex mu;
    CondVar stopped;
    MutexLock lock(mu);
    stopped.WaitFor(mu, stop, std::min(duration, kLongestWait), [] { return false; });
  }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock& clock = *new RealClock;  // Never destroyed: threads may outlive main.
  return clock;
}

}  // namespace litestream
