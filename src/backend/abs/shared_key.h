#pragma once

#include <cstdint>
#include <string>

#include "http/headers.h"
#include "http/uri.h"

namespace litestream::abs {

// A request as Azure signs it. Source: learn.microsoft.com, "Authorize with Shared Key".
struct SharedKeyInput {
  std::string method;
  std::string account;
  std::string escaped_path;     // Exactly as sent; with the account of a path-style endpoint.
  http::QueryParameters query;  // Not escaped.
  http::Headers headers;        // All that are sent, x-ms-date among them.
  std::uint64_t body_bytes = 0;
};

// The text that the signature is of.
std::string StringToSign(const SharedKeyInput& input);
// Value of the Authorization header; `key` is the account's as bytes.
std::string SharedKeyAuthorization(const SharedKeyInput& input, const std::string& key);

}  // namespace litestream::abs
