#pragma once

#include <string_view>

#include "backend/sftp/packet.h"
#include "litestream/error.h"

namespace litestream::sftp {

// What an answer of the server means to us, and a message that says what, where and what to change.
// `doing` is "remove /srv/app/ltx/0/..." or the like.
Error StatusError(const Status& status, std::string_view doing);

}  // namespace litestream::sftp
