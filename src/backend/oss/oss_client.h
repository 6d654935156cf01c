#pragma once

#include <memory>

#include "backend/oss/options.h"
#include "backend/oss/session.h"
#include "litestream/replica_client.h"

namespace litestream {

// A replica in a bucket of Alibaba Cloud OSS. Keys are "<path>/<level as %04x>/<name>"; created_at
// is in the metadata "litestream-timestamp". OSS can keep an object from being replaced, but not
// replace exactly the one that was seen: leases are kUnsupported.
//
// kInvalidArgument for options that do not go together. Does no I/O.
Result<std::unique_ptr<ReplicaClient>> MakeOssClient(oss::Options options,
                                                     std::shared_ptr<oss::Shared> shared);

}  // namespace litestream
