#pragma once

#include <string>
#include <string_view>

#include "litestream/result.h"

namespace litestream::nats {

// The public key ("U...") that belongs to the seed ("SU...") of a user. kInvalidArgument if it is
// none; the message does not show it.
Result<std::string> PublicNkey(std::string_view seed);

// What a file of credentials (.creds) holds.
struct UserCredentials {
  std::string jwt;
  std::string seed;
};
// kInvalidArgument if one of the two is not in it; the message shows nothing of it.
Result<UserCredentials> ParseCredentials(std::string_view text);

}  // namespace litestream::nats
