#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/s3/address.h"
#include "backend/s3/credentials.h"
#include "backend/s3/options.h"
#include "backend/s3/provider.h"
#include "backend/s3/s3_error.h"
#include "base/sync.h"
#include "cloud/calls.h"
#include "http/client.h"
#include "http/uri.h"

namespace litestream::s3 {

// What all S3 replicas of a process share. Safe for concurrent calls.
class Shared {
 public:
  Shared(std::shared_ptr<http::Client> http, CredentialSources sources);

  http::Client& http() const { return *http_; }
  const CredentialSources& sources() const { return sources_; }
  // Those of the environment, looked for once for all.
  CredentialCache& credentials() { return credentials_; }
  // Whether the server at that host keeps to conditional writes; unset: not known yet.
  std::optional<bool> conditional_writes(const std::string& host) const;
  void SetConditionalWrites(const std::string& host, bool works);
  // The region of a bucket that AWS was asked for; "": not known yet.
  std::string region(const std::string& bucket) const;
  void SetRegion(const std::string& bucket, const std::string& region);

 private:
  const std::shared_ptr<http::Client> http_;  // Shared with other backends.
  const CredentialSources sources_;
  CredentialCache credentials_;
  mutable Mutex mu_{LockRank::kStorage};
  std::map<std::string, bool> conditional_ LS_GUARDED_BY(mu_);
  std::map<std::string, std::string> regions_ LS_GUARDED_BY(mu_);
};

// One request.
struct Call {
  std::string method = "GET";
  std::optional<std::string> key;  // Unset: the bucket itself.
  http::QueryParameters query;
  http::Headers headers;
  std::shared_ptr<const std::string> body;  // Shared: see http::Request.
  bool with_customer_key = false;           // SSE-C headers go with it.
  int accepted_status = 0;                  // A status from 300 that is no error; Open only.
};

// Signed requests to one bucket. Repeats what may work the next time; corrects its clock, and gets
// new credentials, once. Safe for concurrent calls.
class Session {
 public:
  Session(Options options, std::shared_ptr<Shared> shared);

  const Options& options() const { return options_; }
  const Provider& provider() const { return provider_; }
  Shared& shared() { return *shared_; }
  // Where requests go; asks AWS for the region if nobody said it.
  Result<Address> Where(const Context& ctx);

  // The answer, of a status below 300. Others are errors, with the code that s3_error.h gives them.
  Result<http::Response> Do(const Context& ctx, const Call& call);
  // The same, with the body still to come.
  Result<std::unique_ptr<http::Exchange>> Open(const Context& ctx, const Call& call);
  // Several at a time: Begin does not wait for the answer, Finish does, and repeats like Do.
  cloud::PendingCall Begin(const Context& ctx, Call call);
  Result<http::Response> Finish(const Context& ctx, cloud::PendingCall& pending);

 private:
  // With the keys that `keys` then holds.
  Result<http::Request> Sign(const Context& ctx, const Call& call, http::SigningKeys& keys);
  Result<http::SigningKeys> Keys(const Context& ctx);
  // What an answer to a request that was signed with `keys` means. Takes note of what another
  // attempt can use.
  cloud::Verdict Judge(const Call& call, const http::Response& response,
                       const http::SigningKeys& keys);
  cloud::Call Repeatable(Call call);
  Result<std::string> AskForRegion(const Context& ctx);
  http::TlsOptions Tls() const;
  std::string Doing(const Call& call) const;
  WallTime Now() const;

  const Options options_;
  const std::shared_ptr<Shared> shared_;  // Shared by all replicas of the process.
  const Provider provider_;
  const cloud::Caller caller_;
  std::atomic<std::int64_t> clock_offset_ms_ = 0;  // The server's clock minus ours.
  Mutex mu_{LockRank::kStorage};
  std::optional<Address> address_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::s3
