#pragma once

#include <string>
#include <string_view>

#include "http/headers.h"
#include "http/uri.h"
#include "litestream/types.h"

namespace litestream::http {

struct SigningKeys {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // Empty: none.
  friend bool operator==(const SigningKeys&, const SigningKeys&) = default;
};

// What AWS Signature Version 4 covers of a request. docs.aws.amazon.com, "Create a signed AWS API
// request". For S3: the path is escaped once, and not cleaned.
struct SigV4Input {
  std::string method;
  std::string host;  // As in the Host header.
  std::string escaped_path;
  QueryParameters query;
  Headers headers;           // Those to sign: any case, any order.
  std::string payload_hash;  // Hex SHA-256 of the body, or "UNSIGNED-PAYLOAD".
  WallTime time;
  std::string region;
  std::string service = "s3";
};
inline constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";

// The headers to add: x-amz-date, x-amz-content-sha256 (for S3), x-amz-security-token,
// Authorization.
Headers SignV4(const SigV4Input& input, const SigningKeys& keys);
// What is hashed into the signature; for tests.
std::string CanonicalRequest(const SigV4Input& input, const Headers& all_headers);

// "20260102T030405Z"
std::string FormatAmzDate(WallTime time);

}  // namespace litestream::http
