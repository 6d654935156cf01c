#include "cli/oss_replica.h"

#include "backend/oss/oss_client.h"
#include "cli/http_client.h"
#include "config/env_expand.h"
#include "config/s3_url.h"

namespace litestream::cli {
namespace {

oss::Options OptionsOf(const config::ReplicaConfig& replica) {
  oss::Options options{.bucket = replica.bucket,
                       .path = replica.path,
                       .region = replica.region,
                       .endpoint = replica.endpoint,
                       .skip_verify = replica.skip_verify.value_or(false),
                       .ca_file = replica.ca_file,
                       .part_size_bytes = replica.part_size,
                       .concurrency = ConcurrencyOf(replica),
                       .access_key_id = replica.access_key_id,
                       .secret_access_key = replica.secret_access_key,
                       .session_token = replica.session_token};
  if (const auto timeout = StallTimeoutOf(replica)) options.stall_timeout = *timeout;
  if (options.endpoint.empty()) {
    options.endpoint = config::CompleteEndpoint(config::LookupEnvironment("OSS_ENDPOINT"));
  }
  if (options.region.empty()) options.region = config::LookupEnvironment("OSS_REGION");
  return options;
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeOssReplica(const config::ReplicaConfig& replica) {
  // Shared with sources that clients have opened.
  static const auto shared = std::make_shared<oss::Shared>(
      SharedHttpClient(), oss::CredentialSources{.environment = config::LookupEnvironment});
  return MakeOssClient(OptionsOf(replica), shared);
}

}  // namespace litestream::cli
