#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "litestream/error.h"

namespace litestream::http {

// What an error of libcurl means to us. `code` is a CURLcode; headers stay free of curl's.
ErrorCode CodeOfCurl(int code);
// What a status means where a backend knows nothing better. Only for 300 and above.
ErrorCode CodeOfStatus(int status);

// Scheme, host and path: what may stand in a message. Query and user may be secrets.
std::string PublicUrl(std::string_view url);
// What a server said, for a message: at most kMaxShownBytes, a space for each control character.
std::string Shown(std::string_view text);
inline constexpr std::size_t kMaxShownBytes = 300;

}  // namespace litestream::http
