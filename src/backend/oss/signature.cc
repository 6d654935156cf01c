#include "backend/oss/signature.h"

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "http/digest.h"

namespace litestream::oss {
namespace {

constexpr std::string_view kTerminator = "aliyun_v4_request";

bool IsAlwaysSigned(std::string_view name) {
  return name.starts_with("x-oss-") || name == "content-type" || name == "content-md5";
}

// Those additional headers that are there and would not be signed anyway, sorted.
std::vector<std::string> AdditionalHeaders(const SignatureInput& input) {
  std::vector<std::string> names;
  for (const std::string& name : input.additional_headers) {
    if (!IsAlwaysSigned(name) && http::FindHeader(input.headers, name) != nullptr) {
      names.push_back(name);
    }
  }
  std::ranges::sort(names);
  return names;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ";") + name;
  return text;
}

std::string_view Trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::string CanonicalQuery(const http::QueryParameters& parameters) {
  std::map<std::string, std::string> escaped;
  for (const auto& [name, value] : parameters) {
    escaped[http::EscapeComponent(name)] = http::EscapeComponent(value);
  }
  std::string text;
  for (const auto& [name, value] : escaped) {
    if (!text.empty()) text += '&';
    text += value.empty() ? name : fmt::format("{}={}", name, value);
  }
  return text;
}

std::string CanonicalRequest(const SignatureInput& input, const http::Headers& all_headers) {
  const auto additional = AdditionalHeaders(input);
  std::map<std::string, std::string> headers;
  for (const http::Header& header : all_headers) {
    const std::string name = http::LowerCase(header.name);
    if (!IsAlwaysSigned(name) && std::ranges::find(additional, name) == additional.end()) continue;
    const auto [at, added] = headers.try_emplace(name, Trimmed(header.value));
    if (!added) at->second += fmt::format(",{}", Trimmed(header.value));
  }
  std::string lines;
  for (const auto& [name, value] : headers) lines += fmt::format("{}:{}\n", name, value);
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}", input.method, input.escaped_resource,
                     CanonicalQuery(input.query), lines, Joined(additional),
                     http::kUnsignedPayload);
}

http::Headers Sign(const SignatureInput& input, const http::SigningKeys& keys) {
  const std::string stamp = http::FormatAmzDate(input.time);
  const std::string day = stamp.substr(0, 8);
  http::Headers added = {{"x-oss-date", stamp},
                         {"x-oss-content-sha256", std::string(http::kUnsignedPayload)}};
  if (!keys.session_token.empty()) added.push_back({"x-oss-security-token", keys.session_token});
  http::Headers all = input.headers;
  all.insert(all.end(), added.begin(), added.end());

  const std::string scope = fmt::format("{}/{}/oss/{}", day, input.region, kTerminator);
  const std::string to_sign = fmt::format("OSS4-HMAC-SHA256\n{}\n{}\n{}", stamp, scope,
                                          http::Hex(http::Sha256(CanonicalRequest(input, all))));
  std::string key = "aliyun_v4" + keys.secret_access_key;
  for (const std::string_view step : {std::string_view(day), std::string_view(input.region),
                                      std::string_view("oss"), kTerminator}) {
    key = http::HmacSha256(key, step);
  }
  const std::string additional = Joined(AdditionalHeaders(input));
  added.push_back(
      {"Authorization",
       fmt::format("OSS4-HMAC-SHA256 Credential={}/{}{},Signature={}", keys.access_key_id, scope,
                   additional.empty() ? "" : ",AdditionalHeaders=" + additional,
                   http::Hex(http::HmacSha256(key, to_sign)))});
  return added;
}

}  // namespace litestream::oss
