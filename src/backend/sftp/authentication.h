#pragma once

#include "backend/sftp/options.h"
#include "backend/sftp/ssh_steps.h"
#include "litestream/result.h"

struct ssh_session_struct;

namespace litestream::sftp {

// Proves who we are: with the key, else the agent's keys, then the password (asked for as such, or
// as the only question of "keyboard-interactive"), as far as the server takes each. Of several that
// it wants together, one after the other. kDenied says what was tried.
Result<void> Authenticate(const Steps& steps, ssh_session_struct* session,
                          const ConnectOptions& options);

}  // namespace litestream::sftp
