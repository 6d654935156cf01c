#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "backend/s3/address.h"
#include "backend/s3/credentials.h"
#include "backend/s3/options.h"
#include "backend/s3/provider.h"
#include "backend/s3/s3_error.h"
#include "base/sync.h"
#include "cloud/bucket_session.h"
#include "http/client.h"

namespace litestream::s3 {

// What all S3 replicas of a process share. Safe for concurrent calls.
class Shared final : public cloud::SharedKeys<CredentialSources> {
 public:
  Shared(std::shared_ptr<http::Client> http, CredentialSources sources)
      : SharedKeys(std::move(http), std::move(sources), FindCredentials) {}

  // Whether the server at that host keeps to conditional writes; unset: not known yet.
  std::optional<bool> conditional_writes(const std::string& host) const;
  void SetConditionalWrites(const std::string& host, bool works);
  // The region of a bucket that AWS was asked for; "": not known yet.
  std::string region(const std::string& bucket) const;
  void SetRegion(const std::string& bucket, const std::string& region);

 private:
  mutable Mutex mu_{LockRank::kStorage};
  std::map<std::string, bool> conditional_ LS_GUARDED_BY(mu_);
  std::map<std::string, std::string> regions_ LS_GUARDED_BY(mu_);
};

// Signed requests to one bucket. Safe for concurrent calls.
class Session final : public cloud::BucketSession {
 public:
  Session(Options options, std::shared_ptr<Shared> shared);

  const Options& options() const { return options_; }
  const Provider& provider() const { return provider_; }
  Shared& shared() { return *shared_; }
  // Where requests go; asks AWS for the region if nobody said it.
  Result<Address> Where(const Context& ctx);

 private:
  Result<http::Request> Sign(const Context& ctx, const cloud::BucketCall& call,
                             http::SigningKeys& keys) override;
  cloud::Refusal Understand(const cloud::BucketCall& call,
                            const http::Response& response) const override;
  bool RenewKeys(const http::SigningKeys& keys) override;
  Result<http::SigningKeys> Keys(const Context& ctx);
  Result<std::string> AskForRegion(const Context& ctx);
  http::TlsOptions Tls() const;
  std::string Doing(const cloud::BucketCall& call) const override;

  const Options options_;
  const std::shared_ptr<Shared> shared_;  // Shared by all replicas of the process.
  const Provider provider_;
  Mutex mu_{LockRank::kStorage};
  std::optional<Address> address_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::s3
