#pragma once

#include <string>
#include <string_view>

#include "backend/oss/options.h"
#include "litestream/result.h"

namespace litestream::oss {

// Where the requests for a bucket go.
struct Address {
  std::string origin;         // "https://host[:port]"
  std::string object_prefix;  // Escaped; an escaped key comes behind it: "/", or "/bucket/".
  std::string region;         // That is signed for.
};

// The bucket is in the name of the host, but for hosts that are IP addresses: in the path.
// kInvalidArgument says what does not go together.
Result<Address> MakeAddress(const Options& options);

// The region in the name of one of OSS's hosts, without the bucket: "oss-cn-hangzhou.aliyuncs.com",
// "oss-cn-hangzhou-internal.aliyuncs.com", "cn-hangzhou.oss.aliyuncs.com". "" if it names none.
std::string RegionOfHost(std::string_view host);

// 3 to 63 of a-z, 0-9 and "-", which is neither first nor last.
bool IsBucketName(std::string_view name);

}  // namespace litestream::oss
