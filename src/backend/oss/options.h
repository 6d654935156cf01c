#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "litestream/clock.h"
#include "storage/retry.h"

namespace litestream::oss {

struct Options {
  std::string bucket;
  std::string path;      // Keys are "<path>/<level>/<name>"; taken as it is, but for an empty one.
  std::string region;    // "cn-hangzhou"; empty: that of the endpoint, else kDefaultRegion.
  std::string endpoint;  // http:// or https://, without a path; empty: the region's public one.
  bool skip_verify = false;
  std::string ca_file;
  // How long not a byte may come, and twice as long until the first one.
  std::chrono::milliseconds stall_timeout{30'000};
  std::optional<std::uint64_t> part_size_bytes;
  std::optional<int> concurrency;  // Parts at a time.
  // Both or none; none: from where programs of Alibaba Cloud take them.
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;

  RetryPolicy retry{.attempts = 6,
                    .first_delay = std::chrono::milliseconds(500),
                    .max_delay = std::chrono::milliseconds(20'000)};
  // For signatures.
  const Clock* clock = &Clock::Real();
};

inline constexpr const char* kDefaultRegion = "cn-hangzhou";
// Of an upload in parts. alibabacloud.com/help/en/oss/developer-reference/uploadpart
inline constexpr std::uint64_t kMinPartBytes = 100 << 10;
inline constexpr std::uint64_t kMaxPartBytes = 5ULL << 30;
inline constexpr std::uint64_t kDefaultPartBytes = 6 << 20;
inline constexpr int kDefaultConcurrency = 3;

}  // namespace litestream::oss
