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

// The only place that repeats a failed call.
Result<void> Retry(const Context& ctx, const RetryPolicy& policy,
                   const std::function<Result<void>()>& call);

}  // namespace litestream
