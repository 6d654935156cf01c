#pragma once

#include "backend/sftp/options.h"
#include "litestream/result.h"

struct ssh_session_struct;

namespace litestream::sftp {

// Before the connection: where to look, and which kind of key the server has to show.
// kInvalidArgument for a host-key that is none.
Result<void> PrepareHostKey(ssh_session_struct* session, const ConnectOptions& options);

// After it: kDenied if the server's key is another one than host-key or known_hosts say.
// `unverified` is set if neither says anything.
Result<void> CheckHostKey(ssh_session_struct* session, const ConnectOptions& options,
                          bool& unverified);

}  // namespace litestream::sftp
