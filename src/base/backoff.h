#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace litestream {

// Delays between attempts: each twice as long as the one before, up to a limit.
class Backoff {
 public:
  Backoff(std::chrono::nanoseconds first, std::chrono::nanoseconds limit)
      : first_(first), limit_(limit), next_(std::min(first, limit)) {}

  std::chrono::nanoseconds Next() {
    const std::chrono::nanoseconds delay = next_;
    next_ = delay > limit_ / 2 ? limit_ : delay * 2;
    return delay;
  }

  // The same, shortened by up to half, so that many who failed together do not come back together.
  // `random`: 64 random bits (see Env::Random).
  std::chrono::nanoseconds NextJittered(std::uint64_t random) {
    const std::chrono::nanoseconds delay = Next();
    const auto half = static_cast<std::uint64_t>(delay.count()) / 2;
    return delay - std::chrono::nanoseconds(static_cast<std::int64_t>(random % (half + 1)));
  }

  // After a success: start over.
  void Reset() { next_ = std::min(first_, limit_); }

 private:
  std::chrono::nanoseconds first_;
  std::chrono::nanoseconds limit_;
  std::chrono::nanoseconds next_;
};

}  // namespace litestream
