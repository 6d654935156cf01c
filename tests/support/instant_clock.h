#pragma once

#include <atomic>
#include <chrono>

#include "litestream/clock.h"

namespace litestream::testing {

// The machine's clock, but waiting takes no time: the clock jumps instead.
class InstantClock final : public Clock {
 public:
  WallTime Now() const override {
    return Clock::Real().Now() +
           std::chrono::duration_cast<std::chrono::milliseconds>(skipped_.load());
  }
  MonoTime Monotonic() const override { return Clock::Real().Monotonic() + skipped_.load(); }
  void Wait(const std::stop_token&, std::chrono::nanoseconds duration) const override {
    skipped_ = skipped_.load() + duration;
  }

 private:
  mutable std::atomic<std::chrono::nanoseconds> skipped_{std::chrono::nanoseconds{0}};
};

}  // namespace litestream::testing
