#pragma once

#include <string>
#include <string_view>

#include "litestream/result.h"

namespace litestream::gs {

// Base64 of URLs, without padding (RFC 7515, 2).
std::string Base64Url(std::string_view bytes);

// "header.claims.signature", signed with RS256 (RFC 7515, A.2). `private_key` is PEM, PKCS #8 or
// PKCS #1. kInvalidArgument if it is no RSA key; never shows it.
Result<std::string> SignJwt(std::string_view private_key, std::string_view header,
                            std::string_view claims);

}  // namespace litestream::gs
