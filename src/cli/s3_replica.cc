#include "cli/s3_replica.h"

#include "backend/s3/s3_client.h"
#include "cli/http_client.h"
#include "config/env_expand.h"
#include "config/s3_url.h"

namespace litestream::cli {
namespace {

s3::Options OptionsOf(const config::ReplicaConfig& replica) {
  s3::Options options{.bucket = replica.bucket,
                      .path = replica.path,
                      .region = replica.region,
                      .endpoint = replica.endpoint,
                      .force_path_style = replica.force_path_style,
                      .sign_payload = replica.sign_payload,
                      .require_content_md5 = replica.require_content_md5,
                      .skip_verify = replica.skip_verify.value_or(false),
                      .ca_file = replica.ca_file,
                      .client_certificate = replica.client_cert,
                      .client_key = replica.client_key,
                      .storage_class = replica.storage_class,
                      .part_size_bytes = replica.part_size,
                      .concurrency = ConcurrencyOf(replica),
                      .encryption = {.server_key = replica.sse_s3.value_or(false),
                                     .kms_key_id = replica.sse_kms_key_id,
                                     .customer_key = replica.sse_customer_key,
                                     .customer_key_md5 = {},
                                     .customer_algorithm = replica.sse_customer_algorithm},
                      .requester_pays = replica.requester_pays.value_or(false),
                      .access_key_id = replica.access_key_id,
                      .secret_access_key = replica.secret_access_key,
                      .session_token = replica.session_token};
  if (const auto timeout = StallTimeoutOf(replica)) options.stall_timeout = *timeout;
  for (const char* name : {"LITESTREAM_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}) {
    if (!options.endpoint.empty()) break;
    options.endpoint = config::CompleteEndpoint(config::LookupEnvironment(name));
  }
  return options;
}

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeS3Replica(const config::ReplicaConfig& replica) {
  // Shared with sources that clients have opened.
  static const auto shared = std::make_shared<s3::Shared>(
      SharedHttpClient(), s3::CredentialSources{.environment = config::LookupEnvironment});
  return MakeS3Client(OptionsOf(replica), shared);
}

}  // namespace litestream::cli
