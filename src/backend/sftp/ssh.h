#pragma once

#include <memory>
#include <string>

#include "backend/sftp/options.h"
#include "backend/sftp/packet.h"
#include "base/fd.h"
#include "litestream/context.h"
#include "litestream/result.h"

struct ssh_session_struct;
struct ssh_channel_struct;

namespace litestream::sftp {

struct SessionCloser {
  void operator()(ssh_session_struct* session) const;
};
using Session = std::unique_ptr<ssh_session_struct, SessionCloser>;

// An SSH connection whose only channel speaks SFTP, past the exchange of versions. Nothing that
// libssh does with it blocks. One thread at a time.
struct Channel {
  Fd socket;  // libssh does not close what it was given. After the session.
  Session session;
  ssh_channel_struct* channel = nullptr;  // The session's.
  ServerVersion version;
  std::string server;  // What it calls itself.
  std::string unread;  // Came behind the version.
};

// Connects, checks the server's key, proves who we are, and starts SFTP.
//
// Errors: kUnavailable (nobody answers, or not in time), kInvalidArgument (a host that does not
// exist, a key that cannot be read), kDenied (the server's key is another one, or it does not let
// us in), kUnsupported (no SFTP). `unverified` is set if nothing says whose key the server has.
Result<Channel> OpenChannel(const Context& ctx, const ConnectOptions& options, bool& unverified);

}  // namespace litestream::sftp
