#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/client.h"
#include "litestream/byte_stream.h"

namespace litestream::gs {

// The sum of an object, all of which an answer has.
struct Sum {
  std::uint64_t size_bytes = 0;
  std::string crc32c;  // Base64
};
// Unset if the answer has only a part, or does not say.
std::optional<Sum> SumOfAnswer(int status, const http::Headers& headers);

// Compares what it hands on: kCorruption, before the last bytes are out, if they are others.
std::unique_ptr<ByteSource> MakeSummedSource(std::unique_ptr<ByteSource> source, Sum sum,
                                             std::string_view what);
// The same for an answer that is there already.
Result<void> CheckSum(const http::Response& answer, std::string_view what);

}  // namespace litestream::gs
