#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <nats/nats.h>

#include "backend/nats/options.h"
#include "litestream/result.h"

namespace litestream::nats {

struct ConnectionDeleter {
  void operator()(natsConnection* connection) const { natsConnection_Destroy(connection); }
};
using ConnectionHandle = std::unique_ptr<natsConnection, ConnectionDeleter>;

// Whom libnats calls, from threads of its own. `closure` goes with each call.
struct Callbacks {
  natsConnectionHandler closed = nullptr;
  natsErrHandler failed = nullptr;
  void* closure = nullptr;
};

// "127.0.0.1:4222", without brackets and defaults filled in.
std::string ServerName(const ServerOptions& options);

// Connects and logs in. Blocks, see Connection. kInvalidArgument also if the options do not go
// together or name files that cannot be read.
Result<ConnectionHandle> Connect(const ServerOptions& options, const Callbacks& callbacks);

// What does not go together, without I/O.
Result<void> CheckServerOptions(const ServerOptions& options);

}  // namespace litestream::nats
