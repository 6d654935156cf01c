#include "base/errno_error.h"

#include <cerrno>
#include <cstring>

#include <gtest/gtest.h>

namespace litestream {
namespace {

TEST(ErrnoError, Codes) {
  const struct {
    int error_number;
    ErrorCode want;
  } cases[] = {
      {ENOENT, ErrorCode::kNotFound},
      {ENOTDIR, ErrorCode::kNotFound},
      {EEXIST, ErrorCode::kAlreadyExists},
      {ENOTEMPTY, ErrorCode::kAlreadyExists},
      {EACCES, ErrorCode::kDenied},
      {EPERM, ErrorCode::kDenied},
      {EROFS, ErrorCode::kDenied},
      {ENOSPC, ErrorCode::kNoSpace},
      {EDQUOT, ErrorCode::kNoSpace},
      {EINVAL, ErrorCode::kInvalidArgument},
      {EISDIR, ErrorCode::kInvalidArgument},
      {ELOOP, ErrorCode::kInvalidArgument},
      {ENAMETOOLONG, ErrorCode::kInvalidArgument},
      {EAGAIN, ErrorCode::kUnavailable},
      {EBUSY, ErrorCode::kUnavailable},
      {ETIMEDOUT, ErrorCode::kUnavailable},
      {EHOSTDOWN, ErrorCode::kUnavailable},
      {ENOSYS, ErrorCode::kUnsupported},
      {EOPNOTSUPP, ErrorCode::kUnsupported},
      {EBADF, ErrorCode::kInternal},
      {EFAULT, ErrorCode::kInternal},
      {EIO, ErrorCode::kIo},
      {EMFILE, ErrorCode::kIo},
      {ENFILE, ErrorCode::kIo},
      {EFBIG, ErrorCode::kIo},
      {ENXIO, ErrorCode::kIo},
      {12345, ErrorCode::kIo},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::strerror(c.error_number));
    EXPECT_EQ(ToString(CodeFromErrno(c.error_number)), ToString(c.want));
  }
}

TEST(ErrnoError, SaysCallPathAndWhy) {
  const Error denied = ErrnoError(EACCES, "open", "/x/y");
  EXPECT_EQ(denied.message(), "open /x/y: Permission denied");
  EXPECT_TRUE(denied.Is(ErrorCode::kDenied));
  EXPECT_EQ(ErrnoError(EIO, "eventfd").message(), "eventfd: Input/output error");
  EXPECT_EQ(ErrnoError(EMFILE, "open", "/x").message(),
            "open /x: Too many open files (raise the limit, see `ulimit -n`)");
}

}  // namespace
}  // namespace litestream
