#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "http/client.h"
#include "litestream/replica_client.h"

namespace litestream::cloud {

// The answer to a range that begins at the end of an object, or behind it: no error for us.
inline constexpr int kRangeNotSatisfiable = 416;

// The header that asks for a part of an object; unset if all of it is wanted. `name` is that of the
// header: "Range", unless the service has one of its own.
std::optional<http::Header> RangeHeader(const ByteRange& range, std::string_view name = "Range");

// The body of an answer to it, as ReplicaClient::Open has to give it. One attempt: who reads goes
// on with another where this one breaks off. kUnsupported if the server sends another part of the
// object than was asked for. `what` names it for people, "s3: bucket/key".
Result<std::unique_ptr<ByteSource>> RangedBody(std::unique_ptr<http::Exchange> answer,
                                               const ByteRange& range, std::string_view what);

}  // namespace litestream::cloud
