#include "cloud/calls.h"

#include <algorithm>
#include <utility>

#include "base/try.h"

namespace litestream::cloud {
namespace {

// Of one attempt, if its answer teaches us something.
constexpr int kTries = 2;

}  // namespace

Result<std::unique_ptr<http::Exchange>> Caller::Attempt(
    const Context& ctx, const Call& call, std::chrono::nanoseconds* retry_after) const {
  for (int attempt = 1;; ++attempt) {
    auto exchange = LS_TRY(http_.Begin(ctx, LS_TRY(call.make(ctx))));
    LS_TRY(exchange->Wait(ctx));
    if (exchange->status() < 300 || exchange->status() == call.accepted_status) return exchange;
    Verdict verdict = call.judge(LS_TRY(exchange->Finish(ctx)));
    if (verdict.again && attempt < kTries) continue;
    *retry_after = verdict.retry_after;
    if (verdict.error) return *std::move(verdict.error);
    return Error(ErrorCode::kInternal, "a status that is no success passed for one");
  }
}

Result<std::unique_ptr<http::Exchange>> Caller::Open(const Context& ctx, const Call& call) const {
  std::unique_ptr<http::Exchange> opened;
  std::chrono::nanoseconds retry_after{0};
  LS_TRY(Retry(
      ctx, policy_,
      [&]() -> Result<void> {
        retry_after = std::chrono::nanoseconds::zero();
        opened = LS_TRY(Attempt(ctx, call, &retry_after));
        return {};
      },
      retry_after));
  return opened;
}

Result<void> Caller::Read(const Context& ctx, const Call& call, const Take& take) const {
  std::chrono::nanoseconds retry_after{0};
  return Retry(
      ctx, policy_,
      [&]() -> Result<void> {
        retry_after = std::chrono::nanoseconds::zero();
        const auto exchange = LS_TRY(Attempt(ctx, call, &retry_after));
        return take(ctx, *exchange);
      },
      retry_after);
}

Result<http::Response> Caller::Do(const Context& ctx, const Call& call) const {
  http::Response response;
  std::chrono::nanoseconds retry_after{0};
  LS_TRY(Retry(
      ctx, policy_,
      [&]() -> Result<void> {
        retry_after = std::chrono::nanoseconds::zero();
        const auto exchange = LS_TRY(Attempt(ctx, call, &retry_after));
        response = LS_TRY(exchange->Finish(ctx));
        if (response.status == call.accepted_status) return {};
        Verdict verdict = call.judge(response);
        retry_after = verdict.retry_after;
        if (verdict.error) return *std::move(verdict.error);
        return {};
      },
      retry_after));
  return response;
}

PendingCall Caller::Begin(const Context& ctx, Call call) const {
  auto exchange = [&]() -> Result<std::unique_ptr<http::Exchange>> {
    return http_.Begin(ctx, LS_TRY(call.make(ctx)));
  }();
  return {.call = std::move(call), .exchange = std::move(exchange)};
}

Result<http::Response> Caller::Finish(const Context& ctx, PendingCall& pending) const {
  auto first = [&]() -> Result<http::Response> {
    auto exchange = LS_TRY(std::move(pending.exchange));
    return exchange->Finish(ctx);
  }();
  Verdict verdict;
  if (first.ok()) {
    verdict = pending.call.judge(first.value());
    if (!verdict.error) return first;
    if (verdict.again) return Do(ctx, pending.call);
  } else {
    verdict.error = first.error();
  }
  if (!IsRetryable(*verdict.error)) return *std::move(verdict.error);
  const auto asked = std::min<std::chrono::nanoseconds>(verdict.retry_after, kMaxRetryAfter);
  LS_TRY(ctx.Wait(asked + RetryDelay(policy_, 1, ctx.clock())), "{}", verdict.error->message());
  return Do(ctx, pending.call);
}

}  // namespace litestream::cloud
