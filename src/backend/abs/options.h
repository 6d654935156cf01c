#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "litestream/clock.h"
#include "storage/retry.h"

namespace litestream::abs {

struct Options {
  std::string container;
  std::string path;          // Blobs are "<path>/ltx/<level>/<name>"; cleaned.
  std::string account_name;  // Empty: as the endpoint says.
  std::string endpoint;  // With scheme, perhaps with a path; empty: that of the account in Azure.
  // The first of these that is there; without any, tokens of Microsoft Entra ID (tokens.h).
  std::string sas_token;    // With or without "?" before it; goes with each request as it is.
  std::string account_key;  // In base64, as the portal shows it.
  bool skip_verify = false;
  std::string ca_file;
  std::string client_certificate;  // PEM files, where a proxy wants to know who asks.
  std::string client_key;
  // How long not a byte may come, and twice as long until the first one.
  std::chrono::milliseconds stall_timeout{30'000};
  std::optional<std::uint64_t> block_bytes;  // Unset: kBlockBytes, and more for large files.
  std::optional<int> concurrency;            // Blocks at a time.

  RetryPolicy retry{.attempts = 6,
                    .first_delay = std::chrono::milliseconds(500),
                    .max_delay = std::chrono::milliseconds(20'000)};
  // For signatures.
  const Clock* clock = &Clock::Real();
};

inline constexpr std::uint64_t kBlockBytes = 8 << 20;
inline constexpr int kConcurrency = 4;
// Of Azure.
inline constexpr std::uint64_t kMaxBlockBytes = 4000ULL << 20;
inline constexpr std::uint64_t kMaxBlocks = 50'000;

}  // namespace litestream::abs
