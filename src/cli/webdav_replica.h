#pragma once

#include <memory>

#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica of type webdav. All of them share the connections of the process.
Result<std::unique_ptr<ReplicaClient>> MakeWebdavReplica(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
