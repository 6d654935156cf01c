#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "http/headers.h"
#include "litestream/byte_stream.h"

namespace litestream::oss {

// Size and sum of an object.
struct ObjectSum {
  std::uint64_t size_bytes = 0;
  std::uint64_t crc64 = 0;
};
// Those that the answer to a GET tells, if it brings all of the object, also as a range.
std::optional<ObjectSum> SumOfWhole(int status, const http::Headers& headers);

// `body`, all of an object: kCorruption instead of its last bytes if it does not have that sum.
// `what` names it for people.
std::unique_ptr<ByteSource> CheckedBody(std::unique_ptr<ByteSource> body, const ObjectSum& sum,
                                        std::string_view what);

}  // namespace litestream::oss
