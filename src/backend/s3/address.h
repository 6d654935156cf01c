#pragma once

#include <string>
#include <string_view>

#include "backend/s3/options.h"
#include "litestream/result.h"

namespace litestream::s3 {

// Where the requests for a bucket go.
struct Address {
  std::string origin;         // "https://host[:port]"
  std::string host;           // As the Host header has it.
  std::string bucket_path;    // Escaped: "/bucket", or "/" where the bucket is in the name.
  std::string object_prefix;  // Escaped; an escaped key comes behind it.
  std::string region;         // That is signed for.
};

// `region` is known by now. kInvalidArgument says what does not go together.
Result<Address> MakeAddress(const Options& options, std::string_view region);

// Whether a bucket's name can be part of a host's name, under a certificate for *.
bool IsDnsName(std::string_view bucket);
bool IsArn(std::string_view bucket);
// The region in an ARN; "" if it has none.
std::string RegionOfArn(std::string_view arn);

}  // namespace litestream::s3
