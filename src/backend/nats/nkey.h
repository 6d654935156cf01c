#pragma once

#include <string>
#include <string_view>

#include "litestream/result.h"

namespace litestream::nats {

// The public key ("U...") that belongs to the seed ("SU...") of a user. kInvalidArgument if it is
// none; the message does not show it.
Result<std::string> PublicNkey(std::string_view seed);

}  // namespace litestream::nats
