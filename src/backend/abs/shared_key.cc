#include "backend/abs/shared_key.h"

#include <algorithm>
#include <map>
#include <vector>

#include <fmt/core.h>

#include "http/digest.h"

namespace litestream::abs {
namespace {

constexpr std::string_view kPrefix = "x-ms-";

// "name:value\n" for each header of Azure's own, by name.
std::string CanonicalHeaders(const http::Headers& headers) {
  std::map<std::string, std::string> sorted;
  for (const http::Header& header : headers) {
    const std::string name = http::LowerCase(header.name);
    if (name.starts_with(kPrefix)) sorted[name] = header.value;
  }
  std::string text;
  for (const auto& [name, value] : sorted) text += fmt::format("{}:{}\n", name, value);
  return text;
}

// "/account/path", then "\nname:value,value" for each parameter, by name.
std::string CanonicalResource(const SharedKeyInput& input) {
  std::map<std::string, std::vector<std::string>> sorted;
  for (const auto& [name, value] : input.query) {
    sorted[http::LowerCase(name)].push_back(value);
  }
  std::string text = fmt::format("/{}{}", input.account, input.escaped_path);
  for (auto& [name, values] : sorted) {
    std::ranges::sort(values);
    text += fmt::format("\n{}:", name);
    for (std::size_t i = 0; i < values.size(); ++i) text += (i == 0 ? "" : ",") + values[i];
  }
  return text;
}

}  // namespace

std::string StringToSign(const SharedKeyInput& input) {
  const auto value = [&input](std::string_view name) {
    return http::HeaderValue(input.headers, name);
  };
  std::string text = input.method + "\n";
  for (const std::string_view name : {"Content-Encoding", "Content-Language"}) {
    text += value(name) + "\n";
  }
  // No length is none, not 0.
  text += (input.body_bytes == 0 ? "" : std::to_string(input.body_bytes)) + "\n";
  // Date is empty where there is x-ms-date.
  for (const std::string_view name :
       {"Content-MD5", "Content-Type", "Date", "If-Modified-Since", "If-Match", "If-None-Match",
        "If-Unmodified-Since", "Range"}) {
    text += value(name) + "\n";
  }
  return text + CanonicalHeaders(input.headers) + CanonicalResource(input);
}

std::string SharedKeyAuthorization(const SharedKeyInput& input, const std::string& key) {
  return fmt::format("SharedKey {}:{}", input.account,
                     http::Base64(http::HmacSha256(key, StringToSign(input))));
}

}  // namespace litestream::abs
