#include "cli/abs_replica.h"

#include <algorithm>

#include "backend/abs/abs_client.h"
#include "base/try.h"
#include "cli/http_client.h"
#include "config/env_expand.h"
#include "config/s3_url.h"

namespace litestream::cli {
namespace {

constexpr std::int64_t kMaxConcurrency = 64;
constexpr std::chrono::milliseconds kMinStallTimeout{100};

abs::Options OptionsOf(const config::ReplicaConfig& replica) {
  abs::Options options{.container = replica.bucket,
                       .path = replica.path,
                       .account_name = replica.account_name,
                       .endpoint = config::CompleteEndpoint(replica.endpoint),
                       .sas_token = replica.sas_token,
                       .account_key = replica.account_key,
                       .skip_verify = replica.skip_verify.value_or(false),
                       .ca_file = replica.ca_file,
                       .client_certificate = replica.client_cert,
                       .client_key = replica.client_key,
                       .block_bytes = replica.part_size};
  if (replica.stall_timeout) {
    options.stall_timeout = std::max(
        kMinStallTimeout, std::chrono::ceil<std::chrono::milliseconds>(*replica.stall_timeout));
  }
  if (replica.concurrency) {
    options.concurrency =
        static_cast<int>(std::clamp<std::int64_t>(*replica.concurrency, 1, kMaxConcurrency));
  }
  if (options.sas_token.empty()) {
    options.sas_token = config::LookupEnvironment("LITESTREAM_AZURE_SAS_TOKEN");
  }
  if (options.account_key.empty()) {
    options.account_key = config::LookupEnvironment("LITESTREAM_AZURE_ACCOUNT_KEY");
  }
  return options;
}

// A connection string is for whatever runs here. It counts where nothing else was said, and never
// for another account than the one that was named.
Result<void> TakeConnectionString(std::string_view text, abs::Options& options) {
  if (text.empty() || !options.sas_token.empty() || !options.account_key.empty()) return {};
  const auto found = LS_TRY(abs::ParseConnectionString(text), "AZURE_STORAGE_CONNECTION_STRING");
  abs::Options merged = options;
  if (merged.endpoint.empty()) merged.endpoint = found.endpoint;
  if (merged.account_name.empty()) merged.account_name = found.account_name;
  const auto wanted = abs::MakeAddress(options);
  const auto theirs = abs::MakeAddress({.container = options.container,
                                        .account_name = found.account_name,
                                        .endpoint = found.endpoint});
  if (wanted.ok() && theirs.ok() && (wanted.value().account != theirs.value().account)) {
    return {};
  }
  merged.sas_token = found.sas_token;
  merged.account_key = found.account_key;
  options = std::move(merged);
  return {};
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeAbsReplica(const config::ReplicaConfig& replica) {
  // Shared with sources that clients have opened.
  static const auto shared = std::make_shared<abs::Shared>(
      SharedHttpClient(), abs::TokenSources{.environment = config::LookupEnvironment});
  abs::Options options = OptionsOf(replica);
  LS_TRY(
      TakeConnectionString(config::LookupEnvironment("AZURE_STORAGE_CONNECTION_STRING"), options));
  return MakeAbsClient(std::move(options), shared);
}

}  // namespace litestream::cli
