#pragma once

#include <chrono>
#include <stop_token>

#include "litestream/types.h"

namespace litestream {

// Where the program gets the time from, so that tests and the simulator can set it.
// Implementations are safe for concurrent calls.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() const = 0;
  virtual MonoTime Monotonic() const = 0;
  // Returns after `duration`, or earlier when `stop` is requested.
  virtual void Wait(const std::stop_token& stop, std::chrono::nanoseconds duration) const = 0;

  // The machine's clock. Lives for ever.
  static const Clock& Real();
};

}  // namespace litestream
