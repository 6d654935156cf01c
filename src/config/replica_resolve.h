#pragma once

#include "config/config.h"

namespace litestream::config {

// Takes the URL of a replica apart into the other fields, sets its type and name, and checks that
// nothing needed is missing and nothing is said twice. Expects inherited settings filled in.
Result<void> ResolveReplica(Env& env, ReplicaConfig& replica);

// The same replica for one database below a directory: `relative` (with slashes) behind its path.
void AppendToReplica(ReplicaConfig& replica, std::string_view relative);

}  // namespace litestream::config
