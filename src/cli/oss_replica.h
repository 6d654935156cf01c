#pragma once

#include <memory>

#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica of type oss. All of them share the connections and credentials of the
// process. Where the configuration says no endpoint or region, OSS_ENDPOINT and OSS_REGION count.
Result<std::unique_ptr<ReplicaClient>> MakeOssReplica(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
