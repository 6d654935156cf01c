#pragma once

#include <memory>

#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica of type gs. All of them share the connections and tokens of the process.
// With STORAGE_EMULATOR_HOST requests go there, without a token; with
// CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE there, with one.
Result<std::unique_ptr<ReplicaClient>> MakeGsReplica(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
