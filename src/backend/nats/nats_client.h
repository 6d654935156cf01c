#pragma once

#include <memory>

#include "backend/nats/connection.h"
#include "backend/nats/options.h"
#include "litestream/replica_client.h"

namespace litestream {

// A replica in an object store of NATS JetStream. Objects are "<path>/ltx/<level>/<name>", readable
// by every client of object stores; created_at is in the header "Litestream-Timestamp". Conditional
// writes are exact: the tag of an object is the sequence of its description in the stream.
//
// DeleteAll without a path removes what lies in "ltx/" and the lease, and nothing else: the rest of
// the bucket belongs to others.
//
// kInvalidArgument for options that do not go together. Does no I/O.
Result<std::unique_ptr<ReplicaClient>> MakeNatsClient(nats::Options options,
                                                      nats::Connections& connections);

}  // namespace litestream
