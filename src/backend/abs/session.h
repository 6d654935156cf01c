#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "backend/abs/abs_error.h"
#include "backend/abs/address.h"
#include "backend/abs/options.h"
#include "backend/abs/tokens.h"
#include "cloud/calls.h"
#include "http/client.h"
#include "http/uri.h"

namespace litestream::abs {

// What all abs replicas of a process share. Safe for concurrent calls.
class Shared {
 public:
  Shared(std::shared_ptr<http::Client> http, TokenSources sources);

  http::Client& http() const { return *http_; }
  TokenCache& tokens() { return tokens_; }

 private:
  const std::shared_ptr<http::Client> http_;  // Shared with other backends.
  const TokenSources sources_;
  TokenCache tokens_;
};

// One request.
struct Call {
  std::string method = "GET";
  std::optional<std::string> blob;  // Unset: the container itself.
  http::QueryParameters query;
  http::Headers headers;
  std::shared_ptr<const std::string> body;  // Shared: see http::Request.
  int accepted_status = 0;                  // A status from 300 that is no error; Open only.
};

// Authorised requests to one container. Repeats what may work the next time; corrects its clock,
// and gets a new token, once. Safe for concurrent calls.
class Session {
 public:
  // Borrows nothing. `address` is that of `options`.
  Session(Options options, Address address, std::shared_ptr<Shared> shared);

  const Options& options() const { return options_; }
  const Address& address() const { return address_; }
  Access access() const { return access_; }

  // The answer, of the status that its method has in Azure. Others are errors, with the code that
  // abs_error.h gives them.
  Result<http::Response> Do(const Context& ctx, const Call& call);
  // The same, with the body still to come.
  Result<std::unique_ptr<http::Exchange>> Open(const Context& ctx, const Call& call);
  // Several at a time: Begin does not wait for the answer, Finish does, and repeats like Do.
  cloud::PendingCall Begin(const Context& ctx, Call call);
  Result<http::Response> Finish(const Context& ctx, cloud::PendingCall& pending);

 private:
  // What a request went out with.
  struct Attempt {
    std::string token;  // Where tokens are used.
    WallTime time;
  };
  Result<http::Request> Authorise(const Context& ctx, const Call& call, Attempt& attempt);
  // What the answer to it means. Takes note of what another attempt can use.
  cloud::Verdict Judge(const Call& call, const http::Response& response, const Attempt& attempt);
  cloud::Call Repeatable(Call call);
  WallTime Now() const;

  const Options options_;
  const Address address_;
  const Access access_;
  const std::string key_;                 // The account's, as bytes.
  const std::shared_ptr<Shared> shared_;  // Shared by all replicas of the process.
  const cloud::Caller caller_;
  std::atomic<std::int64_t> clock_offset_ms_ = 0;  // The server's clock minus ours.
};

}  // namespace litestream::abs
