#pragma once

#include <memory>

#include "backend/abs/options.h"
#include "backend/abs/session.h"
#include "litestream/replica_client.h"

namespace litestream {

// A replica in a container of Azure Blob Storage. Block blobs "<path>/ltx/<level>/<name>";
// created_at is in the metadata "litestreamtimestamp".
//
// kInvalidArgument for options that do not go together. Does no I/O.
Result<std::unique_ptr<ReplicaClient>> MakeAbsClient(abs::Options options,
                                                     std::shared_ptr<abs::Shared> shared);

}  // namespace litestream
