#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "litestream/clock.h"
#include "storage/retry.h"

namespace litestream::gs {

inline constexpr std::string_view kDefaultEndpoint = "https://storage.googleapis.com";
// Chunks of a resumable upload are a multiple of this, but for the last one.
inline constexpr std::uint64_t kChunkUnit = 256 * 1024;

struct Options {
  std::string bucket;
  std::string path;  // Keys are "<path>/ltx/<level>/<name>"; cleaned like a path of a file system.
  // Scheme and authority, where requests go. Empty: Google's.
  std::string endpoint;
  // Requests carry no token: an emulator.
  bool anonymous = false;
  // How long not a byte may come, and twice as long until the first one.
  std::chrono::milliseconds stall_timeout{30'000};
  // An object that is larger goes in chunks of that size, with up to three of them in memory.
  std::uint64_t chunk_bytes = 8 << 20;

  RetryPolicy retry{.attempts = 6,
                    .first_delay = std::chrono::milliseconds(500),
                    .max_delay = std::chrono::milliseconds(20'000)};
  const Clock* clock = &Clock::Real();
};

}  // namespace litestream::gs
