#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/gs/credentials.h"
#include "backend/gs/gs_error.h"
#include "backend/gs/options.h"
#include "cloud/calls.h"
#include "http/client.h"
#include "http/uri.h"

namespace litestream::gs {

// What all replicas of a process share. Safe for concurrent calls.
class Shared {
 public:
  Shared(std::shared_ptr<http::Client> http, CredentialSources sources);

  http::Client& http() const { return *http_; }
  TokenCache& tokens() { return tokens_; }

 private:
  const std::shared_ptr<http::Client> http_;  // Shared with other backends.
  const CredentialSources sources_;
  TokenCache tokens_;
};

// One request.
struct Call {
  std::string method = "GET";
  std::optional<std::string> key;  // Unset: the bucket's list of objects.
  bool uploads = false;            // Makes an object; its name is in the query.
  http::QueryParameters query;
  http::Headers headers;
  std::shared_ptr<const std::string> body;  // Shared: see http::Request.
  int accepted_status = 0;                  // A status from 300 that is no error.
};

// Requests to one bucket with a token. Repeats what may work the next time; gets a new token, once.
// Safe for concurrent calls.
class Session {
 public:
  Session(Options options, std::shared_ptr<Shared> shared);

  const Options& options() const { return options_; }
  http::Client& http() { return shared_->http(); }
  // Requests go over http.
  bool IsPlain() const { return origin_.starts_with("http://"); }

  // The answer, of a status below 300 or the accepted one. Others are errors, with the code that
  // gs_error.h gives them; kNotFound is about the object, never the bucket.
  Result<http::Response> Do(const Context& ctx, const Call& call);
  // The same, with the body still to come.
  Result<std::unique_ptr<http::Exchange>> Open(const Context& ctx, const Call& call);
  // Several at a time: Begin does not wait for the answer, Finish does, and repeats like Do.
  cloud::PendingCall Begin(const Context& ctx, Call call);
  Result<http::Response> Finish(const Context& ctx, const Call& call, cloud::PendingCall& pending);

  // For requests to the URL of an upload, which needs no token: it is a secret itself.
  http::Timeouts Timeouts() const;
  // What an answer from there means; unset if it is a success or has the accepted status.
  std::optional<Error> ErrorOf(const http::Response& response, std::string_view doing,
                               int accepted_status, std::chrono::nanoseconds* retry_after) const;
  // "gs: PUT bucket/key"
  std::string Doing(std::string_view method, const std::optional<std::string>& key) const;

 private:
  // With the token that `token` then holds.
  Result<http::Request> Make(const Context& ctx, const Call& call, Token& token);
  cloud::Verdict Judge(const Call& call, const http::Response& response, const Token& token);
  cloud::Call Repeatable(Call call);
  // `error` of a call, unless it is the bucket that is missing.
  Error AboutObject(const Context& ctx, const Call& call, Error error);

  const Options options_;
  const std::string origin_;
  const std::shared_ptr<Shared> shared_;  // Shared by all replicas of the process.
  const cloud::Caller caller_;
  std::atomic<bool> bucket_seen_ = false;
};

}  // namespace litestream::gs
