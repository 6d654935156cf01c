#include "base/errno_error.h"

#include <cerrno>
#include <string>
#include <system_error>

#include <fmt/core.h>

namespace litestream {
namespace {

std::string Describe(int error_number) {
  std::string text = std::generic_category().message(error_number);
  if (error_number == EMFILE) text += " (raise the limit, see `ulimit -n`)";
  return text;
}

}  // namespace

ErrorCode CodeFromErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return ErrorCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kDenied;
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case EINVAL:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return ErrorCode::kInvalidArgument;
    case EAGAIN:
    case EBUSY:
    case ETIMEDOUT:  // A network file system whose server is away.
    case EHOSTDOWN:
      return ErrorCode::kUnavailable;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorCode::kUnsupported;
    case EBADF:
    case EFAULT:
      return ErrorCode::kInternal;
    default:
      return ErrorCode::kIo;
  }
}

Error ErrnoError(int error_number, std::string_view call, const std::filesystem::path& path) {
  return {CodeFromErrno(error_number),
          fmt::format("{} {}: {}", call, path.native(), Describe(error_number))};
}

Error ErrnoError(int error_number, std::string_view call) {
  return {CodeFromErrno(error_number), fmt::format("{}: {}", call, Describe(error_number))};
}

}  // namespace litestream
