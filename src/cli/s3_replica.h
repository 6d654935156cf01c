#pragma once

#include <memory>

#include "config/config.h"
#include "litestream/replica_client.h"

namespace litestream::cli {

// The client of a replica of type s3. All of them share the connections and credentials of the
// process. Without an endpoint in the configuration, that of the environment counts:
// LITESTREAM_S3_ENDPOINT, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL.
Result<std::unique_ptr<ReplicaClient>> MakeS3Replica(const config::ReplicaConfig& replica);

}  // namespace litestream::cli
