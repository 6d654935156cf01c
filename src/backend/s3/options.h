#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "litestream/clock.h"
#include "storage/retry.h"

namespace litestream::s3 {

// Server-side encryption. At most one of the three ways.
struct Encryption {
  bool server_key = false;  // SSE-S3: keys of the server.
  std::string kms_key_id;   // SSE-KMS
  // SSE-C: 32 bytes in base64, which go with every request and are kept nowhere.
  std::string customer_key;
  std::string customer_key_md5;    // Empty: computed.
  std::string customer_algorithm;  // Empty: AES256, the only one.
};

struct Options {
  std::string bucket;    // Or the ARN of an access point.
  std::string path;      // Keys are "<path>/<level>/<name>"; taken as it is.
  std::string region;    // Empty: us-east-1 with an endpoint, else asked for.
  std::string endpoint;  // With scheme, perhaps with a path; empty: AWS.
  // Unset: what the provider wants.
  std::optional<bool> force_path_style;
  std::optional<bool> sign_payload;
  std::optional<bool> require_content_md5;
  bool skip_verify = false;
  std::string ca_file;
  std::string client_certificate;  // PEM files, where the server wants to know who asks.
  std::string client_key;
  // How long not a byte may come, and twice as long until the first one.
  std::chrono::milliseconds stall_timeout{30'000};
  std::string storage_class;
  std::optional<std::uint64_t> part_size_bytes;
  std::optional<int> concurrency;  // Parts at a time.
  Encryption encryption;
  bool requester_pays = false;
  // Both or none; none: from where AWS programs take them.
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;

  RetryPolicy retry{.attempts = 6,
                    .first_delay = std::chrono::milliseconds(500),
                    .max_delay = std::chrono::milliseconds(20'000)};
  // For signatures.
  const Clock* clock = &Clock::Real();
};

inline constexpr std::uint64_t kMinPartBytes = 5 << 20;

}  // namespace litestream::s3
