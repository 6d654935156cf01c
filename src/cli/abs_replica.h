#pragma once

#include <memory>

#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica of type abs. All of them share the connections and tokens of the process.
// What the configuration leaves open is taken from LITESTREAM_AZURE_SAS_TOKEN and
// LITESTREAM_AZURE_ACCOUNT_KEY, then from AZURE_STORAGE_CONNECTION_STRING if that is of the same
// account. kInvalidArgument if that is no connection string.
Result<std::unique_ptr<ReplicaClient>> MakeAbsReplica(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
