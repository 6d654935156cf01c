#include "cli/http_client.h"

#include <algorithm>

namespace litestream::cli {
namespace {

constexpr std::int64_t kMaxConcurrency = 64;
constexpr std::chrono::milliseconds kMinStallTimeout{100};

}  // namespace

const std::shared_ptr<http::Client>& SharedHttpClient() {
  // Shared with sources that clients have opened.
  static const auto client = std::make_shared<http::Client>();
  return client;
}

std::optional<std::chrono::milliseconds> StallTimeoutOf(const config::ReplicaConfig& replica) {
  if (!replica.stall_timeout) return std::nullopt;
  return std::max(kMinStallTimeout,
                  std::chrono::ceil<std::chrono::milliseconds>(*replica.stall_timeout));
}

std::optional<int> ConcurrencyOf(const config::ReplicaConfig& replica) {
  if (!replica.concurrency) return std::nullopt;
  return static_cast<int>(std::clamp<std::int64_t>(*replica.concurrency, 1, kMaxConcurrency));
}

}  // namespace litestream::cli
