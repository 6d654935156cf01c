#include "backend/gs/session.h"

#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "http/date.h"

namespace litestream::gs {
namespace {

constexpr int kUnauthorized = 401;

CredentialSources WithHttp(CredentialSources sources, std::shared_ptr<http::Client> http) {
  sources.http = std::move(http);
  return sources;
}

}  // namespace

Shared::Shared(std::shared_ptr<http::Client> http, CredentialSources sources)
    : http_(std::move(http)),
      sources_(WithHttp(std::move(sources), http_)),
      tokens_([this](const Context& ctx) { return FindToken(ctx, sources_); }, *sources_.clock) {}

Session::Session(Options options, std::shared_ptr<Shared> shared)
    : options_(std::move(options)),
      origin_(options_.endpoint.empty() ? std::string(kDefaultEndpoint) : options_.endpoint),
      shared_(std::move(shared)),
      caller_(shared_->http(), options_.retry) {}

std::string Session::Doing(std::string_view method, const std::optional<std::string>& key) const {
  return key ? fmt::format("gs: {} {}/{}", method, options_.bucket, *key)
             : fmt::format("gs: {} {}", method, options_.bucket);
}

http::Timeouts Session::Timeouts() const {
  return {.first_byte = 2 * options_.stall_timeout, .stall = options_.stall_timeout};
}

Result<http::Request> Session::Make(const Context& ctx, const Call& call, Token& token) {
  std::string url = fmt::format("{}{}/storage/v1/b/{}/o", origin_, call.uploads ? "/upload" : "",
                                http::EscapeComponent(options_.bucket));
  if (call.key && !call.uploads) url += "/" + http::EscapeComponent(*call.key);
  const std::string query = http::CanonicalQuery(call.query);
  if (!query.empty()) url += "?" + query;
  http::Request request{.method = call.method,
                        .url = std::move(url),
                        .headers = call.headers,
                        .body = call.body,
                        .tls = {},
                        .timeouts = Timeouts()};
  if (options_.anonymous) return request;
  token = LS_TRY(shared_->tokens().Get(ctx), "gs: {}", options_.bucket);
  request.headers.push_back({"Authorization", "Bearer " + token.access_token});
  if (!token.user_project.empty()) {
    request.headers.push_back({"X-Goog-User-Project", token.user_project});
  }
  return request;
}

std::optional<Error> Session::ErrorOf(const http::Response& response, std::string_view doing,
                                      int accepted_status,
                                      std::chrono::nanoseconds* retry_after) const {
  if (response.status < 300 || response.status == accepted_status) return std::nullopt;
  if (response.status >= 429) {
    *retry_after = http::RetryAfter(response.headers, options_.clock->Now());
  }
  return Describe(ParseServerError(response), doing);
}

cloud::Verdict Session::Judge(const Call& call, const http::Response& response,
                              const Token& token) {
  cloud::Verdict verdict;
  verdict.error =
      ErrorOf(response, Doing(call.method, call.key), call.accepted_status, &verdict.retry_after);
  if (!verdict.error) {
    bucket_seen_ = true;
  } else if (response.status == kUnauthorized && !options_.anonymous) {
    shared_->tokens().Refused(token);
    verdict.again = true;
  }
  return verdict;
}

cloud::Call Session::Repeatable(Call call) {
  // What the request is and which token it last went with: shared by the two that know of it.
  struct State {
    Call call;
    Token token;
  };
  const int accepted_status = call.accepted_status;
  const auto state = std::make_shared<State>(State{.call = std::move(call), .token = {}});
  return {
      .make = [this, state](const Context& ctx) { return Make(ctx, state->call, state->token); },
      .judge =
          [this, state](const http::Response& response) {
            return Judge(state->call, response, state->token);
          },
      .accepted_status = accepted_status};
}

Error Session::AboutObject(const Context& ctx, const Call& call, Error error) {
  if (!error.Is(ErrorCode::kNotFound)) return error;
  if (!call.key || call.uploads) {
    return {ErrorCode::kInvalidArgument,
            error.message() + "; create the bucket, or correct its name"};
  }
  if (bucket_seen_ || error.message().find("No such object") != std::string::npos) return error;
  // Not every answer tells what is missing.
  const Call list{.query = {{"fields", "nextPageToken"}, {"maxResults", "1"}}};
  const auto listed = caller_.Do(ctx, Repeatable(list));
  if (listed.ok() || listed.error().Is(ErrorCode::kDenied)) return error;
  return AboutObject(ctx, list, listed.error());
}

Result<http::Response> Session::Do(const Context& ctx, const Call& call) {
  auto answer = caller_.Do(ctx, Repeatable(call));
  if (!answer.ok()) return AboutObject(ctx, call, std::move(answer).error());
  return answer;
}

Result<std::unique_ptr<http::Exchange>> Session::Open(const Context& ctx, const Call& call) {
  auto exchange = caller_.Open(ctx, Repeatable(call));
  if (!exchange.ok()) return AboutObject(ctx, call, std::move(exchange).error());
  return exchange;
}

cloud::PendingCall Session::Begin(const Context& ctx, Call call) {
  return caller_.Begin(ctx, Repeatable(std::move(call)));
}

Result<http::Response> Session::Finish(const Context& ctx, const Call& call,
                                       cloud::PendingCall& pending) {
  auto answer = caller_.Finish(ctx, pending);
  if (!answer.ok()) return AboutObject(ctx, call, std::move(answer).error());
  return answer;
}

}  // namespace litestream::gs
