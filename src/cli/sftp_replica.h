#pragma once

#include <memory>

#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica of type sftp. All of them share the connections of the process. Without
// host-key, ~/.ssh/known_hosts counts; without key-path, the agent of SSH_AUTH_SOCK.
Result<std::unique_ptr<ReplicaClient>> MakeSftpReplica(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
