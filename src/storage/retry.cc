#include "storage/retry.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream {
namespace {

// SplitMix64's step: neighbouring inputs give unrelated outputs.
std::uint64_t Scramble(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

bool IsRetryable(const Error& error) {
  return error.Is(ErrorCode::kUnavailable) || error.Is(ErrorCode::kThrottled) ||
         error.Is(ErrorCode::kTimeout);
}

std::chrono::nanoseconds RetryDelay(const RetryPolicy& policy, int failures, const Clock& clock) {
  const std::chrono::nanoseconds max = policy.max_delay;
  std::chrono::nanoseconds bound = policy.first_delay;
  for (int i = 1; i < failures && bound < max; ++i) bound *= 2;
  bound = std::min(bound, max);
  if (bound <= std::chrono::nanoseconds::zero()) return std::chrono::nanoseconds::zero();
  const auto now = static_cast<std::uint64_t>(clock.Monotonic().time_since_epoch().count());
  const auto random = Scramble(now ^ Scramble(static_cast<std::uint64_t>(failures)));
  return std::chrono::nanoseconds(random % (static_cast<std::uint64_t>(bound.count()) + 1));
}

Result<void> Retry(const Context& ctx, const RetryPolicy& policy,
                   const std::function<Result<void>()>& call) {
  return Retry(ctx, policy, call, std::chrono::nanoseconds::zero());
}

Result<void> Retry(const Context& ctx, const RetryPolicy& policy,
                   const std::function<Result<void>()>& call,
                   const std::chrono::nanoseconds& asked) {
  for (int failures = 1;; ++failures) {
    LS_TRY(ctx.Check());
    auto result = call();
    if (result.ok()) return {};
    if (!IsRetryable(result.error())) return result;
    // A timeout of our own looks like one of the other side; the context knows.
    LS_TRY(ctx.Check(), "{}", result.error().message());
    if (failures >= policy.attempts) {
      if (failures == 1) return result;
      return std::move(result).error().Wrap(fmt::format("after {} attempts", failures));
    }
    // Jitter on top, or all that were told the same come back together.
    const auto least = std::min<std::chrono::nanoseconds>(asked, kMaxRetryAfter);
    LS_TRY(ctx.Wait(least + RetryDelay(policy, failures, ctx.clock())), "{}",
           result.error().message());
  }
}

}  // namespace litestream
