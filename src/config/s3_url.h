#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace litestream::config {

// How an S3 URL's host names bucket, region and endpoint. Empty: not said.
struct S3Host {
  std::string bucket;
  std::string region;
  std::string endpoint;
  std::optional<bool> force_path_style;
};
S3Host ParseS3Host(std::string_view host);

// Adds the scheme that an endpoint lacks: http for this machine and private networks, else https.
std::string CompleteEndpoint(std::string_view endpoint);

}  // namespace litestream::config
