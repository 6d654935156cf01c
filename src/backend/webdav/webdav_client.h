#pragma once

#include <memory>

#include "backend/webdav/options.h"
#include "http/client.h"
#include "litestream/replica_client.h"

namespace litestream {

// A replica in a folder of a WebDAV server. Paths are "<path>/ltx/<level>/<name>" below the URL.
// A file is uploaded under a temporary name and then moved. created_at is in a property of our own
// where the server keeps such; else exact_times reads it from the header of each file. With
// if_absent a file is not replaced, but of two who write it in the same moment both may succeed: no
// server promises more. For the same reason leases are kUnsupported.
//
// kInvalidArgument for options that do not go together. Does no I/O.
Result<std::unique_ptr<ReplicaClient>> MakeWebdavClient(webdav::Options options,
                                                        std::shared_ptr<http::Client> http);

}  // namespace litestream
