#pragma once

#include <memory>

#include <libssh/libssh.h>

namespace litestream::sftp {

struct KeyCloser {
  void operator()(ssh_key key) const { ssh_key_free(key); }
};
using Key = std::unique_ptr<ssh_key_struct, KeyCloser>;

}  // namespace litestream::sftp
