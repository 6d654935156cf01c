#pragma once

#include <atomic>
#include <chrono>

#include "litestream/clock.h"

namespace litestream {

// A clock that stands still until it is moved. Waiting moves it, so nothing ever really waits.
class ManualClock final : public Clock {
 public:
  // 2026-01-01 00:00:00 UTC, unless told otherwise.
  explicit ManualClock(WallTime now = WallTime(std::chrono::milliseconds(1'767'225'600'000)))
      : wall_(std::chrono::nanoseconds(now.time_since_epoch())) {}

  WallTime Now() const override {
    return std::chrono::floor<std::chrono::milliseconds>(
        std::chrono::sys_time<std::chrono::nanoseconds>(wall_.load() + passed_.load()));
  }
  MonoTime Monotonic() const override { return kStart + passed_.load(); }
  void Wait(const std::stop_token& stop, std::chrono::nanoseconds duration) const override {
    if (!stop.stop_requested()) Advance(duration);
  }

  // Both clocks go on; never back.
  void Advance(std::chrono::nanoseconds duration) const {
    if (duration > std::chrono::nanoseconds::zero()) AdvanceTo(Monotonic() + duration);
  }
  void AdvanceTo(MonoTime time) const {
    std::chrono::nanoseconds at = passed_.load();
    while (at < time - kStart && !passed_.compare_exchange_weak(at, time - kStart)) {
    }
  }
  // Somebody sets the time of day; the monotonic clock does not notice.
  void SetNow(WallTime now) {
    wall_ = std::chrono::nanoseconds(now.time_since_epoch()) - passed_.load();
  }

 private:
  // Not zero, so that tests can go back from it.
  static constexpr MonoTime kStart{std::chrono::hours(24)};

  std::atomic<std::chrono::nanoseconds> wall_;  // The time of day at kStart.
  mutable std::atomic<std::chrono::nanoseconds> passed_{std::chrono::nanoseconds::zero()};
};

}  // namespace litestream
