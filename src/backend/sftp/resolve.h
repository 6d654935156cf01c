#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <sys/socket.h>

#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream::sftp {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

// The addresses of a host. Ends at once when the context does. kInvalidArgument: there is no such
// host; kUnavailable: nobody can say at the moment.
Result<std::vector<Address>> Resolve(const Context& ctx, const std::string& host,
                                     std::uint16_t port);

}  // namespace litestream::sftp
