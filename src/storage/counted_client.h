#pragma once

#include <memory>

#include "litestream/replica_client.h"
#include "storage/operation_counts.h"

namespace litestream {

// A client whose calls, bytes, durations and errors are counted: the same way for every backend. A
// GET ends when its source goes; its duration is what was spent in calls. Bytes are those that went
// over, also if the call failed then. A call that was cancelled is no error. Shares the counts with
// other clients, and with the sources it opened.
std::unique_ptr<ReplicaClient> MakeCountedClient(std::unique_ptr<ReplicaClient> client,
                                                 std::shared_ptr<OperationCounts> counts);

}  // namespace litestream
