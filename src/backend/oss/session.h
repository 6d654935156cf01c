#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "backend/oss/address.h"
#include "backend/oss/credentials.h"
#include "backend/oss/options.h"
#include "base/sync.h"
#include "cloud/bucket_session.h"

namespace litestream::oss {

// What all OSS replicas of a process share. Safe for concurrent calls.
class Shared final : public cloud::SharedKeys<CredentialSources> {
 public:
  Shared(std::shared_ptr<http::Client> http, CredentialSources sources)
      : SharedKeys(std::move(http), std::move(sources), FindCredentials) {}

  // Whether a bucket keeps old versions of its objects, or once did; unset: not known yet.
  std::optional<bool> versioned(const std::string& bucket) const;
  // From the answer to an upload.
  void NoteUpload(const std::string& bucket, const http::Headers& headers);

 private:
  mutable Mutex mu_{LockRank::kStorage};
  std::map<std::string, bool> versioned_ LS_GUARDED_BY(mu_);
};

// Signed requests to one bucket. Safe for concurrent calls.
class Session final : public cloud::BucketSession {
 public:
  // `address` is that of the options.
  Session(Options options, Address address, std::shared_ptr<Shared> shared);

  const Options& options() const { return options_; }
  Shared& shared() { return *shared_; }

 private:
  Result<http::Request> Sign(const Context& ctx, const cloud::BucketCall& call,
                             http::SigningKeys& keys) override;
  cloud::Refusal Understand(const cloud::BucketCall& call,
                            const http::Response& response) const override;
  bool RenewKeys(const http::SigningKeys& keys) override;
  std::string Doing(const cloud::BucketCall& call) const override;

  const Options options_;
  const Address address_;
  const std::shared_ptr<Shared> shared_;  // Shared by all replicas of the process.
};

}  // namespace litestream::oss
