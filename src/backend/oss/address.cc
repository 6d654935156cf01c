#include "backend/oss/address.h"

#include <algorithm>

#include <fmt/core.h>

#include "http/curl_error.h"
#include "http/uri.h"

namespace litestream::oss {
namespace {

constexpr std::string_view kDomain = ".aliyuncs.com";

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, "oss: " + std::move(message)};
}

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

bool IsIpAddress(std::string_view host) {
  return host.find(':') != std::string_view::npos ||
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

bool IsBucketName(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && std::ranges::all_of(name, IsPlain) &&
         name.front() != '-' && name.back() != '-';
}

std::string RegionOfHost(std::string_view host) {
  if (!host.ends_with(kDomain)) return {};
  host.remove_suffix(kDomain.size());
  if (host.ends_with(".oss")) {
    host.remove_suffix(4);
  } else if (host.starts_with("oss-")) {
    host.remove_prefix(4);
    if (host.ends_with("-internal")) host.remove_suffix(9);
  } else {
    return {};
  }
  // Global acceleration: any region.
  if (host.starts_with("accelerate") || !std::ranges::all_of(host, IsPlain)) return {};
  return std::string(host);
}

Result<Address> MakeAddress(const Options& options) {
  if (!IsBucketName(options.bucket)) {
    return Invalid(
        fmt::format("\"{}\" is no name of a bucket: those are 3 to 63 lower-case letters, digits "
                    "and hyphens",
                    http::Shown(options.bucket)));
  }
  http::SplitUrl endpoint;
  if (!options.endpoint.empty() && (!http::ParseUrl(options.endpoint, endpoint) ||
                                    endpoint.path.find_first_not_of('/') != std::string::npos)) {
    return Invalid(fmt::format(
        "the endpoint must be http://HOST[:PORT] or https://HOST[:PORT]; it is \"{}\"",
        options.endpoint.find('@') == std::string::npos ? options.endpoint : "(not shown)"));
  }
  Address address{.region = options.region};
  if (address.region.empty()) address.region = RegionOfHost(endpoint.host);
  if (address.region.empty()) address.region = kDefaultRegion;
  // It becomes a part of the host's name.
  if (!std::ranges::all_of(address.region, IsPlain)) {
    return Invalid(fmt::format("\"{}\" is no region; one is \"{}\", without \"oss-\"",
                               http::Shown(address.region), kDefaultRegion));
  }
  if (address.region.starts_with("oss-")) {
    return Invalid(fmt::format("region \"{}\": write it without \"oss-\"", address.region));
  }
  if (options.endpoint.empty()) {
    endpoint.scheme = "https";
    endpoint.host = fmt::format("oss-{}{}", address.region, kDomain);
    endpoint.authority = endpoint.host;
  }
  const std::string host = http::HostHeader(endpoint);
  if (IsIpAddress(endpoint.host)) {
    address.origin = fmt::format("{}://{}", endpoint.scheme, host);
    address.object_prefix = fmt::format("/{}/", options.bucket);
  } else {
    address.origin = fmt::format("{}://{}.{}", endpoint.scheme, options.bucket, host);
    address.object_prefix = "/";
  }
  return address;
}

}  // namespace litestream::oss
