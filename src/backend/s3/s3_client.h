#pragma once

#include <memory>

#include "backend/s3/options.h"
#include "backend/s3/session.h"
#include "litestream/replica_client.h"

namespace litestream {

// A replica in a bucket of AWS S3, or of a server that speaks its protocol. Keys are
// "<path>/<level as %04x>/<name>"; created_at is in the metadata "litestream-timestamp". Whether
// the server keeps to conditional writes is tried out with the first lease: where it does not,
// leases are kUnsupported, and if_absent looks first.
//
// kInvalidArgument for options that do not go together. Does no I/O.
Result<std::unique_ptr<ReplicaClient>> MakeS3Client(s3::Options options,
                                                    std::shared_ptr<s3::Shared> shared);

}  // namespace litestream
