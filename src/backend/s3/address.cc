#include "backend/s3/address.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "backend/s3/provider.h"
#include "base/try.h"
#include "http/curl_error.h"
#include "http/headers.h"
#include "http/uri.h"

namespace litestream::s3 {
namespace {

constexpr std::string_view kRegionCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-";

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

// "arn:partition:service:region:account:rest"
std::array<std::string_view, 6> ArnFields(std::string_view arn) {
  std::array<std::string_view, 6> fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::size_t colon = i + 1 < fields.size() ? arn.find(':') : std::string_view::npos;
    fields[i] = arn.substr(0, colon);
    if (colon == std::string_view::npos) break;
    arn.remove_prefix(colon + 1);
  }
  return fields;
}

bool IsIpAddress(std::string_view host) {
  return host.find(':') != std::string_view::npos ||
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

Result<Address> AccessPoint(const Options& options, const http::SplitUrl* endpoint) {
  if (options.force_path_style.value_or(false)) {
    return Invalid("Path-style addressing cannot be used with ARN buckets");
  }
  const auto fields = ArnFields(options.bucket);
  const std::string_view region = fields[3];
  std::string_view name = fields[5];
  const std::size_t separator = name.find_first_of("/:");
  if (http::LowerCase(name.substr(0, separator)) != "accesspoint" ||
      separator == std::string_view::npos || fields[4].empty()) {
    return Invalid(fmt::format("invalid s3 access point arn: {}", options.bucket));
  }
  name.remove_prefix(separator + 1);
  if (region.empty()) {
    return Invalid(
        fmt::format("{}: access points of several regions need a signature that this program does "
                    "not have; use the access point of one region",
                    options.bucket));
  }
  const std::string label = fmt::format("{}-{}", name, fields[4]);
  Address address{.bucket_path = "/", .object_prefix = "/", .region = std::string(region)};
  if (endpoint != nullptr) {
    address.host = fmt::format("{}.{}", label, http::HostHeader(*endpoint));
    address.origin = fmt::format("{}://{}", endpoint->scheme, address.host);
  } else {
    address.host = fmt::format("{}.s3-accesspoint.{}.amazonaws.com{}", label, region,
                               fields[1] == "aws-cn" ? ".cn" : "");
    address.origin = "https://" + address.host;
  }
  return address;
}

}  // namespace

bool IsArn(std::string_view bucket) {
  return http::LowerCase(bucket.substr(0, 4)) == "arn:";
}

std::string RegionOfArn(std::string_view arn) {
  return std::string(ArnFields(arn)[3]);
}

bool IsDnsName(std::string_view bucket) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return bucket.size() >= 3 && bucket.size() <= 63 && std::ranges::all_of(bucket, plain) &&
         bucket.front() != '-' && bucket.back() != '-';
}

Result<Address> MakeAddress(const Options& options, std::string_view region) {
  http::SplitUrl endpoint;
  const bool custom = !options.endpoint.empty();
  if (custom && !http::ParseUrl(options.endpoint, endpoint)) {
    return Invalid(fmt::format(
        "s3: the endpoint must be http://HOST[:PORT][/PATH] or https://...; "
        "it is \"{}\"",
        options.endpoint.find('@') == std::string::npos ? options.endpoint : "(not shown)"));
  }
  if (IsArn(options.bucket)) return AccessPoint(options, custom ? &endpoint : nullptr);
  if (!custom) {
    // It becomes a part of the host's name, and may be what a server said.
    if (region.empty() ||
        http::LowerCase(region).find_first_not_of(kRegionCharacters) != std::string::npos) {
      return Invalid(fmt::format("s3: \"{}\" is no region of AWS", http::Shown(region)));
    }
    endpoint.scheme = "https";
    endpoint.host =
        fmt::format("s3.{}.amazonaws.com{}", region, region.starts_with("cn-") ? ".cn" : "");
    endpoint.authority = endpoint.host;
  }
  const Provider provider = ProviderOf(custom ? std::string_view(endpoint.host) : "");
  // A name with dots is not covered by a certificate for *.s3.amazonaws.com.
  const bool path_style = options.force_path_style.value_or(provider.path_style) ||
                          !IsDnsName(options.bucket) || IsIpAddress(endpoint.host);
  std::string base = endpoint.path;
  while (base.ends_with('/')) base.pop_back();
  Address address{.host = http::HostHeader(endpoint), .region = std::string(region)};
  if (path_style) {
    address.bucket_path = fmt::format("{}/{}", base, http::EscapeComponent(options.bucket));
    address.object_prefix = address.bucket_path + "/";
  } else {
    address.host = fmt::format("{}.{}", options.bucket, address.host);
    address.object_prefix = base + "/";
    address.bucket_path = address.object_prefix;
  }
  address.origin = fmt::format("{}://{}", endpoint.scheme, address.host);
  return address;
}

}  // namespace litestream::s3
