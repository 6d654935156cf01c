#pragma once

#include <memory>

#include "litestream/replica_client.h"
#include "storage/limiter.h"

namespace litestream {

// A client whose bytes wait as the limiter says, and whose calls are counted as requests: one each,
// also where the backend needs several. Calls do not wait for their turn; who makes them does
// (LimiterSeat). Waits end with the call's context, whose clock counts. Shares the limiter with
// other clients, and with the sources it opened.
std::unique_ptr<ReplicaClient> MakeLimitedClient(std::unique_ptr<ReplicaClient> client,
                                                 std::shared_ptr<Limiter> limiter);

}  // namespace litestream
