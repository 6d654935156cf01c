#pragma once

#include <memory>

#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica of type nats. All with the same server and credentials share a
// connection.
Result<std::unique_ptr<ReplicaClient>> MakeNatsReplica(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
