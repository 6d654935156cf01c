#pragma once

#include <string_view>

#include "http/client.h"
#include "litestream/error.h"

namespace litestream::webdav {

// What a status means to us, by what was asked. One table for every request; see
// dav_error_test.cc. Only for 300 and above.
ErrorCode MeaningOf(std::string_view method, int status);

// For people: what was done, what the server says, what to change. `doing` is "webdav: PUT /x";
// `has_user`: credentials were sent.
Error Describe(std::string_view method, std::string_view doing, const http::Response& answer,
               bool has_user);

}  // namespace litestream::webdav
