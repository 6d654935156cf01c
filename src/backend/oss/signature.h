#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/headers.h"
#include "http/sigv4.h"
#include "http/uri.h"
#include "litestream/types.h"

namespace litestream::oss {

// What version 4 of OSS's signatures covers of a request.
// alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4
struct SignatureInput {
  std::string method;
  // "/", "/bucket/" or "/bucket/key", escaped: with the bucket also where it is in the host's name.
  std::string escaped_resource;
  http::QueryParameters query;
  // Those named x-oss-*, Content-Type and Content-MD5 are signed, and the additional ones.
  http::Headers headers;
  std::vector<std::string> additional_headers;  // Lower case.
  WallTime time;
  std::string region;
};

// The headers to add: x-oss-date, x-oss-content-sha256, x-oss-security-token, Authorization. The
// content is not signed: OSS takes UNSIGNED-PAYLOAD only.
http::Headers Sign(const SignatureInput& input, const http::SigningKeys& keys);

// "a=1&b": escaped, in the order of the escaped names; without "=" where there is no value.
std::string CanonicalQuery(const http::QueryParameters& parameters);
// What is hashed into the signature, with the headers that Sign adds; for tests.
std::string CanonicalRequest(const SignatureInput& input, const http::Headers& all_headers);

}  // namespace litestream::oss
