#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "http/client.h"
#include "litestream/context.h"
#include "litestream/result.h"
#include "storage/retry.h"

namespace litestream::cloud {

// What an answer means.
struct Verdict {
  std::optional<Error> error;              // Unset: a success.
  std::chrono::nanoseconds retry_after{};  // The server wants to be left alone for so long.
  // The answer taught us something (what time it is, that our keys are old): the same request may
  // be tried again at once, one time.
  bool again = false;
};

// A request to a service as its backend knows it.
struct Call {
  // Makes it anew for each attempt, signed with the time and the keys of that moment.
  std::function<Result<http::Request>(const Context&)> make;
  // What the answer to the last one made means. The body is there if the status is no success, or
  // if all of it was wanted.
  std::function<Verdict(const http::Response&)> judge;
  // A status from 300 that is no error; for Open.
  int accepted_status = 0;
};

// A call whose first attempt is under way.
struct PendingCall {
  Call call;
  Result<std::unique_ptr<http::Exchange>> exchange;
};

// Makes calls, and repeats them as their answers allow. Borrows the client. Safe for concurrent
// calls. Errors: of http::Client, and those that `judge` makes of answers.
class Caller {
 public:
  Caller(http::Client& http, const RetryPolicy& policy) : http_(http), policy_(policy) {}

  // The answer, all of it.
  Result<http::Response> Do(const Context& ctx, const Call& call) const;
  // The answer with its body still to come: of a status below 300, or the accepted one.
  Result<std::unique_ptr<http::Exchange>> Open(const Context& ctx, const Call& call) const;
  // The same, and `take` reads the body: an error of that may be worth another attempt, too.
  using Take = std::function<Result<void>(const Context&, http::Exchange&)>;
  Result<void> Read(const Context& ctx, const Call& call, const Take& take) const;
  // Several at a time: Begin does not wait for the answer, Finish does, and repeats like Do.
  PendingCall Begin(const Context& ctx, Call call) const;
  Result<http::Response> Finish(const Context& ctx, PendingCall& pending) const;

 private:
  Result<std::unique_ptr<http::Exchange>> Attempt(const Context& ctx, const Call& call,
                                                  std::chrono::nanoseconds* retry_after) const;

  http::Client& http_;
  const RetryPolicy policy_;
};

}  // namespace litestream::cloud
