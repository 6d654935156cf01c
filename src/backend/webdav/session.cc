#include "backend/webdav/session.h"

#include <optional>
#include <utility>

#include <fmt/core.h>

#include "backend/webdav/dav_error.h"
#include "backend/webdav/multistatus.h"
#include "base/try.h"
#include "http/date.h"
#include "http/uri.h"

namespace litestream::webdav {
namespace {

constexpr int kMultistatus = 207;
// For the end of what failed; less after a stop, for which a second is the limit.
constexpr std::chrono::milliseconds kDeleteTime{3'000};
constexpr std::chrono::milliseconds kDeleteTimeAtStop{700};
// rclone has a file locked until it has noticed that the rest of it will not come.
constexpr RetryPolicy kDeleteRetry{.attempts = 6,
                                   .first_delay = std::chrono::milliseconds(50),
                                   .max_delay = std::chrono::milliseconds(1'000)};

RetryPolicy OneAttempt(RetryPolicy policy) {
  policy.attempts = 1;
  return policy;
}

// In an answer about several resources, the status of the first one that failed because of itself;
// 0: none did.
Result<int> FailedStatus(const http::Response& answer) {
  constexpr int kFailedDependency = 424;
  int failed = 0;
  LS_TRY(ReadMultistatus(answer.body, [&](const Resource& resource) -> Result<void> {
    const int status = resource.status >= 300 ? resource.status : resource.property_status;
    if (status >= 300 && (failed == 0 || failed == kFailedDependency)) failed = status;
    return {};
  }));
  return failed;
}

}  // namespace

Session::Session(Options options, Location location, std::shared_ptr<http::Client> http)
    : options_(std::move(options)),
      location_(std::move(location)),
      http_(std::move(http)),
      caller_(*http_, options_.retry),
      once_(*http_, OneAttempt(options_.retry)),
      authenticator_({.username = location_.username,
                      .password = location_.password,
                      .secure = location_.scheme == "https",
                      .allow_plain = options_.skip_verify || http::IsPrivateHost(location_.host) ||
                                     http::IsLocalName(location_.host)},
                     *options_.env) {}

std::string Session::Doing(const Call& call) const {
  return fmt::format("webdav: {} {}", call.method, location_.Describe(call.path));
}

Result<http::Request> Session::Make(const Call& call, Authenticator::Used* used) {
  const std::string path = http::EscapePath(call.path);
  http::Request request{
      .method = call.method,
      .url = location_.origin + path,
      .headers = call.headers,
      .body = call.body,
      .tls = {.verify = !options_.skip_verify,
              .ca_file = options_.ca_file,
              .client_certificate = options_.client_certificate,
              .client_key = options_.client_key},
      .timeouts = {.first_byte = 2 * options_.stall_timeout, .stall = options_.stall_timeout}};
  if (auto header = authenticator_.MakeHeader(call.method, path, used)) {
    request.headers.push_back(*std::move(header));
  }
  if (call.source) {
    request.source = LS_TRY(call.source());
    // Not every server takes a body in chunks; some take it for an empty one.
    request.source_bytes = call.source_bytes;
  }
  return request;
}

cloud::Verdict Session::Judge(const Call& call, const http::Response& answer,
                              const Authenticator::Used& used) {
  if (call.last_status != nullptr) *call.last_status = answer.status;
  int status = answer.status;
  if (status == kMultistatus && !call.method.starts_with("PROP")) {
    auto failed = FailedStatus(answer);
    if (!failed.ok()) return {.error = std::move(failed).error().Wrap(Doing(call))};
    status = failed.value();
  }
  if (status < 300) return {};
  http::Response described{.status = status, .headers = answer.headers, .body = answer.body};
  cloud::Verdict verdict{
      .error = Describe(call.method, Doing(call), described, authenticator_.has_user())};
  if (status == 401) {
    auto learned = authenticator_.Learn(answer.headers, used);
    if (!learned.ok()) return {.error = std::move(learned).error().Wrap(Doing(call))};
    verdict.again = learned.value();
  }
  // The body is gone; the next one will be taken.
  if (verdict.again && call.once && call.source) {
    return {.error =
                Error(ErrorCode::kUnavailable,
                      fmt::format("{}: the server wanted to know anew who asks", Doing(call)))};
  }
  if (status >= 500 || status == 429) {
    verdict.retry_after = http::RetryAfter(answer.headers, options_.env->clock().Now());
  }
  return verdict;
}

cloud::Call Session::Repeatable(Call call) {
  // What the request is and what it was sent with last: shared by the two that know of it.
  struct State {
    Call call;
    Authenticator::Used used;
  };
  const int accepted_status = call.accepted_status;
  const auto state = std::make_shared<State>(State{.call = std::move(call), .used = {}});
  return {.make = [this, state](const Context&) { return Make(state->call, &state->used); },
          .judge =
              [this, state](const http::Response& answer) {
                return Judge(state->call, answer, state->used);
              },
          .accepted_status = accepted_status};
}

Result<http::Response> Session::Do(const Context& ctx, const Call& call) {
  return CallerOf(call).Do(ctx, Repeatable(call));
}

Result<std::unique_ptr<http::Exchange>> Session::Open(const Context& ctx, const Call& call) {
  return CallerOf(call).Open(ctx, Repeatable(call));
}

Result<void> Session::Read(const Context& ctx, const Call& call, const cloud::Caller::Take& take) {
  return CallerOf(call).Read(ctx, Repeatable(call), take);
}

cloud::PendingCall Session::Begin(const Context& ctx, Call call) {
  return caller_.Begin(ctx, Repeatable(std::move(call)));
}

Result<http::Response> Session::Finish(const Context& ctx, cloud::PendingCall& pending) {
  return caller_.Finish(ctx, pending);
}

void Session::DeleteQuietly(const Context& ctx, const std::string& path) {
  const Clock& clock = Clock::Real();
  const Context own({}, clock.Monotonic() + (ctx.Check().ok() ? kDeleteTime : kDeleteTimeAtStop),
                    clock);
  const cloud::Caller caller(*http_, kDeleteRetry);
  (void)caller.Do(own, Repeatable({.method = "DELETE", .path = path}));
}

}  // namespace litestream::webdav
