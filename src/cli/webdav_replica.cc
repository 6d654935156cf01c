#include "cli/webdav_replica.h"

#include <algorithm>

#include "backend/webdav/webdav_client.h"
#include "cli/http_client.h"
#include "config/env_expand.h"

namespace litestream::cli {

Result<std::unique_ptr<ReplicaClient>> MakeWebdavReplica(const config::ReplicaConfig& replica) {
  constexpr std::chrono::milliseconds kMinStallTimeout{100};
  webdav::Options options{.url = replica.webdav_url,
                          .path = replica.path,
                          .username = replica.webdav_username,
                          .password = replica.webdav_password,
                          .skip_verify = replica.skip_verify.value_or(false),
                          .ca_file = replica.ca_file,
                          .client_certificate = replica.client_cert,
                          .client_key = replica.client_key};
  if (replica.stall_timeout) {
    options.stall_timeout = std::max(
        kMinStallTimeout, std::chrono::ceil<std::chrono::milliseconds>(*replica.stall_timeout));
  }
  if (const std::string directory = config::LookupEnvironment("TMPDIR"); !directory.empty()) {
    options.stage_directory = directory;
  }
  return MakeWebdavClient(std::move(options), SharedHttpClient());
}

}  // namespace litestream::cli
