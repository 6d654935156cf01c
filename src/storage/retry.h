#pragma once

#include <chrono>
#include <functional>

#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

struct RetryPolicy {
  int attempts = 4;
  std::chrono::milliseconds first_delay{250};  // Doubles each time, with full jitter.
  std::chrono::milliseconds max_delay{30'000};
};

// True for what may work the next time: kUnavailable, kThrottled, kTimeout of the other side.
bool IsRetryable(const Error& error);

// How long to wait after the `failures`th failure in a row (from 1): anything between 0 and
// first_delay * 2^(failures - 1), at most max_delay. Full jitter, so that a thousand databases that
// failed together do not come back together. The clock decides, so a simulated run repeats itself.
std::chrono::nanoseconds RetryDelay(const RetryPolicy& policy, int failures, const Clock& clock);

// The only place that repeats a failed call. Returns the last error, with the number of attempts if
// there was more than one; our own cancellation or deadline ends it at once.
Result<void> Retry(const Context& ctx, const RetryPolicy& policy,
                   const std::function<Result<void>()>& call);
// The same for a server that may say when to come again: `asked`, looked at after each failure, is
// what its last answer said. At least so long is waited, but never more than kMaxRetryAfter.
inline constexpr std::chrono::seconds kMaxRetryAfter{30};
Result<void> Retry(const Context& ctx, const RetryPolicy& policy,
                   const std::function<Result<void>()>& call,
                   const std::chrono::nanoseconds& asked);

}  // namespace litestream
