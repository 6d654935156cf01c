#pragma once

#include <memory>

#include "backend/sftp/endpoint.h"
#include "backend/sftp/options.h"
#include "litestream/replica_client.h"

namespace litestream {

// A replica in a directory of an SSH server, at ltx/<level>/<name>. A file's time (mtime) is its
// created_at in whole seconds; exact ones are read from the headers of LTX files. Replacing and
// if_absent are exact where the server can (upload.cc says how), and leases work on OpenSSH
// (objects.h), else they are kUnsupported.
//
// kInvalidArgument for options that cannot work. Does no I/O.
Result<std::unique_ptr<ReplicaClient>> MakeSftpClient(sftp::Options options, sftp::Shared& shared);

}  // namespace litestream
