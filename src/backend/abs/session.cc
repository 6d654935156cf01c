#include "backend/abs/session.h"

#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "backend/abs/shared_key.h"
#include "base/try.h"
#include "http/date.h"
#include "http/digest.h"

namespace litestream::abs {
namespace {

// The oldest that knows all we ask for. Azure's own and Azurite take it.
constexpr std::string_view kVersion = "2021-12-02";
// The server takes requests that are a quarter of an hour off.
constexpr std::chrono::minutes kClockTolerance{10};

TokenSources WithHttp(TokenSources sources, std::shared_ptr<http::Client> http) {
  sources.http = std::move(http);
  return sources;
}

Access AccessOf(const Options& options) {
  if (!options.sas_token.empty()) return Access::kSas;
  return options.account_key.empty() ? Access::kToken : Access::kKey;
}

Options WithoutMark(Options options) {
  if (options.sas_token.starts_with('?')) options.sas_token.erase(0, 1);
  return options;
}

// What Azure answers to a request that it did. Somebody else, say the sign-in page of a network,
// may answer 200 to anything.
bool IsDone(std::string_view method, int status) {
  if (method == "PUT") return status == 201;
  if (method == "DELETE") return status == 202;
  return status == 200 || status == 206;
}

std::chrono::nanoseconds RetryAfter(const http::Response& response, WallTime now) {
  for (const std::string_view name : {"retry-after-ms", "x-ms-retry-after-ms"}) {
    const std::string value = http::HeaderValue(response.headers, name);
    std::uint32_t milliseconds = 0;
    const char* const end = value.data() + value.size();
    if (!value.empty() && std::from_chars(value.data(), end, milliseconds).ptr == end) {
      return std::chrono::milliseconds(milliseconds);
    }
  }
  return http::RetryAfter(response.headers, now);
}

}  // namespace

Shared::Shared(std::shared_ptr<http::Client> http, TokenSources sources)
    : http_(std::move(http)),
      sources_(WithHttp(std::move(sources), http_)),
      tokens_([this](const Context& ctx) { return FindToken(ctx, sources_); }, *sources_.clock) {}

Session::Session(Options options, Address address, std::shared_ptr<Shared> shared)
    : options_(WithoutMark(std::move(options))),
      address_(std::move(address)),
      access_(AccessOf(options_)),
      key_(http::FromBase64(options_.account_key).value_or("")),
      shared_(std::move(shared)),
      caller_(shared_->http(), options_.retry) {}

WallTime Session::Now() const {
  return options_.clock->Now() + std::chrono::milliseconds(clock_offset_ms_.load());
}

Result<http::Request> Session::Authorise(const Context& ctx, const Call& call, Attempt& attempt) {
  attempt.time = Now();
  const std::string path = address_.container_path + (call.blob ? BlobPath(*call.blob) : "");
  std::string query = http::CanonicalQuery(call.query);
  http::Request request{
      .method = call.method,
      .url = {},
      .headers = call.headers,
      .body = call.body,
      .tls = {.verify = !options_.skip_verify,
              .ca_file = options_.ca_file,
              .client_certificate = options_.client_certificate,
              .client_key = options_.client_key},
      .timeouts = {.first_byte = 2 * options_.stall_timeout, .stall = options_.stall_timeout}};
  request.headers.push_back({"x-ms-date", http::FormatDate(attempt.time)});
  request.headers.push_back({"x-ms-version", std::string(kVersion)});
  switch (access_) {
    case Access::kSas:
      query += (query.empty() ? "" : "&") + options_.sas_token;
      break;
    case Access::kKey: {
      const SharedKeyInput input{.method = call.method,
                                 .account = address_.account,
                                 .escaped_path = path,
                                 .query = call.query,
                                 .headers = request.headers,
                                 .body_bytes = call.body ? call.body->size() : 0};
      request.headers.push_back({"Authorization", SharedKeyAuthorization(input, key_)});
      break;
    }
    case Access::kToken:
      attempt.token = LS_TRY(shared_->tokens().Get(ctx), "abs");
      request.headers.push_back({"Authorization", "Bearer " + attempt.token});
      break;
  }
  request.url = address_.origin + path + (query.empty() ? "" : "?" + query);
  // PUT has a length, even if it is 0.
  if (!request.body && call.method == "PUT") request.body = std::make_shared<const std::string>();
  return request;
}

cloud::Verdict Session::Judge(const Call& call, const http::Response& response,
                              const Attempt& attempt) {
  if (IsDone(call.method, response.status)) return {};
  const ServerError error = ParseServerError(response);
  const Asked asked{.doing = fmt::format("abs: {} {}{}", call.method, options_.container,
                                         call.blob ? "/" + *call.blob : ""),
                    .account = address_.account,
                    .access = access_,
                    .sas_token = options_.sas_token};
  cloud::Verdict verdict{.error = Describe(error, asked)};
  if (error.status >= 500 || error.status == 429) {
    verdict.retry_after = RetryAfter(response, options_.clock->Now());
  }
  // The time of that request: another answer may have corrected the clock since.
  const bool skewed = error.server_time != WallTime() &&
                      std::chrono::abs(error.server_time - attempt.time) > kClockTolerance;
  if (access_ == Access::kKey && error.status == 403 && skewed) {
    clock_offset_ms_ = (error.server_time - options_.clock->Now()).count();
    verdict.again = true;
  }
  // Azure says 401 of a token that has expired, Azurite the other.
  const bool refused = error.status == 401 || error.code == "AuthenticationFailed";
  if (access_ == Access::kToken && refused) {
    shared_->tokens().Refused(attempt.token);
    verdict.again = true;
  }
  return verdict;
}

cloud::Call Session::Repeatable(Call call) {
  // What the request is and how it went out last: shared by the two that know of it.
  struct State {
    Call call;
    Attempt attempt;
  };
  const int accepted_status = call.accepted_status;
  const auto state = std::make_shared<State>(State{.call = std::move(call), .attempt = {}});
  return {.make = [this, state](
                      const Context& ctx) { return Authorise(ctx, state->call, state->attempt); },
          .judge =
              [this, state](const http::Response& response) {
                return Judge(state->call, response, state->attempt);
              },
          .accepted_status = accepted_status};
}

Result<std::unique_ptr<http::Exchange>> Session::Open(const Context& ctx, const Call& call) {
  return caller_.Open(ctx, Repeatable(call));
}

Result<http::Response> Session::Do(const Context& ctx, const Call& call) {
  return caller_.Do(ctx, Repeatable(call));
}

cloud::PendingCall Session::Begin(const Context& ctx, Call call) {
  return caller_.Begin(ctx, Repeatable(std::move(call)));
}

Result<http::Response> Session::Finish(const Context& ctx, cloud::PendingCall& pending) {
  return caller_.Finish(ctx, pending);
}

}  // namespace litestream::abs
