#pragma once

#include <memory>

#include "backend/gs/options.h"
#include "backend/gs/session.h"
#include "litestream/replica_client.h"

namespace litestream {

// A replica in a bucket of Google Cloud Storage, by its JSON API. Keys are
// "<path>/ltx/<level>/<name>"; created_at is in the metadata "litestream-timestamp", which lists
// show. Conditions are on generations, which are also the tags of small objects. Content is
// compared with its CRC32C: by the server before an object is there, and by us where all of one is
// read.
//
// kInvalidArgument for options that do not go together. Does no I/O.
Result<std::unique_ptr<ReplicaClient>> MakeGsClient(gs::Options options,
                                                    std::shared_ptr<gs::Shared> shared);

}  // namespace litestream
