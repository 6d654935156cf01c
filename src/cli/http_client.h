#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "config/config.h"
#include "http/client.h"

namespace litestream::cli {

// The one of the process, for replicas of all kinds. Made with the first call: where nobody speaks
// HTTP there are no threads for it.
const std::shared_ptr<http::Client>& SharedHttpClient();

// What replicas over HTTP have in common in their configuration; unset: not said.
std::optional<std::chrono::milliseconds> StallTimeoutOf(const config::ReplicaConfig& replica);
std::optional<int> ConcurrencyOf(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
