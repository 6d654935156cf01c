#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <utility>

#include "litestream/clock.h"
#include "litestream/result.h"

namespace litestream {

// Says how long a call may go on: until someone asks it to stop, or until a deadline. Cheap to
// copy; pass by const reference as the first parameter. Borrows the clock.
class Context {
 public:
  explicit Context(std::stop_token stop, std::optional<MonoTime> deadline = std::nullopt,
                   const Clock& clock = Clock::Real())
      : stop_(std::move(stop)), deadline_(deadline), clock_(&clock) {}
  // Never stops.
  static Context Background() { return Context(std::stop_token()); }

  const std::stop_token& stop() const { return stop_; }
  std::optional<MonoTime> deadline() const { return deadline_; }
  const Clock& clock() const { return *clock_; }

  // kCancelled or kTimeout when the call has to end.
  Result<void> Check() const {
    if (stop_.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    if (deadline_ && clock_->Monotonic() >= *deadline_) {
      return Error(ErrorCode::kTimeout, "deadline passed");
    }
    return {};
  }
  // Waits; an error when the wait was cut short.
  Result<void> Wait(std::chrono::nanoseconds duration) const {
    if (deadline_) {
      const auto left = *deadline_ - clock_->Monotonic();
      if (left < duration) duration = left;
    }
    clock_->Wait(stop_, duration);
    return Check();
  }
  // The same, but at most until `deadline`.
  Context WithDeadline(MonoTime deadline) const {
    return Context(stop_, deadline_ && *deadline_ < deadline ? *deadline_ : deadline, *clock_);
  }

 private:
  std::stop_token stop_;
  std::optional<MonoTime> deadline_;
  const Clock* clock_;
};

}  // namespace litestream
