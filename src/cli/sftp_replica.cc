#include "cli/sftp_replica.h"

#include <algorithm>

#include <fmt/core.h>

#include "backend/sftp/address.h"
#include "backend/sftp/sftp_client.h"
#include "base/try.h"
#include "cli/common.h"
#include "config/env_expand.h"
#include "config/paths.h"

namespace litestream::cli {
namespace {

constexpr std::chrono::milliseconds kMinStallTimeout{100};

}  // namespace

Result<std::unique_ptr<ReplicaClient>> MakeSftpReplica(const config::ReplicaConfig& replica) {
  // Shared with sources that clients have opened.
  static sftp::Shared shared;
  const sftp::HostAndPort address = LS_TRY(sftp::ParseHostAndPort(replica.host));
  const std::string home = config::LookupEnvironment("HOME");
  sftp::Options options{
      .connect = {.host = address.host,
                  .port = address.port,
                  .user = replica.user,
                  .password = replica.password,
                  .host_key = replica.host_key,
                  .known_hosts_path = home.empty() ? "" : home + "/.ssh/known_hosts",
                  .agent_socket = config::LookupEnvironment("SSH_AUTH_SOCK")},
      .path = replica.path,
      .concurrent_writes = replica.concurrent_writes.value_or(true),
      // Clients are made where there is no logger, by one-shot commands too; their output is not
      // to be mixed with this.
      .log = MakeLogger({}, "", /*force_stderr=*/true)};
  if (!replica.key_path.empty()) {
    options.connect.key_path = LS_TRY(config::ExpandPath(replica.key_path));
  }
  // Until an answer comes it may take twice as long, as with other backends.
  if (replica.stall_timeout) {
    options.connect.stall_timeout =
        2 * std::max(kMinStallTimeout,
                     std::chrono::ceil<std::chrono::milliseconds>(*replica.stall_timeout));
  }
  return MakeSftpClient(std::move(options), shared);
}

}  // namespace litestream::cli
