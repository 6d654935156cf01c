#pragma once

#include <filesystem>
#include <string_view>

#include "litestream/error.h"

namespace litestream {

// What the number that a system call left in errno means to us.
ErrorCode CodeFromErrno(int error_number);

// "open /x/y: Permission denied"
Error ErrnoError(int error_number, std::string_view call, const std::filesystem::path& path);
// "inotify_init1: Too many open files"
Error ErrnoError(int error_number, std::string_view call);

}  // namespace litestream
