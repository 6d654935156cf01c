#pragma once

#include <memory>

#include "base/env.h"
#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica, by its type, as its configuration says; nothing is counted or limited.
// `owner` is that of files and directories of a replica of type file. kUnsupported for a type that
// this build does not know (config::CheckAvailable has the same list).
Result<std::unique_ptr<ReplicaClient>> MakeBackend(Env& env, const config::ReplicaConfig& replica,
                                                   const FileOwner& owner);

}  // namespace litestream::cli
