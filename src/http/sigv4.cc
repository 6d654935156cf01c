#include "http/sigv4.h"

#include <algorithm>
#include <chrono>
#include <map>

#include <fmt/core.h>

#include "http/digest.h"

namespace litestream::http {
namespace {

// Lower-case names, sorted; values trimmed, with runs of spaces made one, joined by commas.
std::map<std::string, std::string> Canonical(const Headers& headers) {
  std::map<std::string, std::string> out;
  for (const Header& header : headers) {
    std::string value;
    for (const char c : header.value) {
      const bool space = c == ' ' || c == '\t';
      if (space && (value.empty() || value.back() == ' ')) continue;
      value += space ? ' ' : c;
    }
    if (!value.empty() && value.back() == ' ') value.pop_back();
    auto [at, added] = out.try_emplace(LowerCase(header.name), value);
    if (!added) at->second += "," + value;
  }
  return out;
}

std::string SignedNames(const std::map<std::string, std::string>& headers) {
  std::string names;
  for (const auto& [name, value] : headers) {
    if (!names.empty()) names += ';';
    names += name;
  }
  return names;
}

Headers WithHost(const SigV4Input& input, Headers headers) {
  headers.insert(headers.end(), input.headers.begin(), input.headers.end());
  headers.push_back({.name = "host", .value = input.host});
  return headers;
}

}  // namespace

std::string FormatAmzDate(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto day = std::chrono::floor<std::chrono::days>(seconds);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(seconds - day);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::string CanonicalRequest(const SigV4Input& input, const Headers& all_headers) {
  const auto headers = Canonical(all_headers);
  std::string lines;
  for (const auto& [name, value] : headers) lines += fmt::format("{}:{}\n", name, value);
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}", input.method,
                     input.escaped_path.empty() ? "/" : input.escaped_path,
                     CanonicalQuery(input.query), lines, SignedNames(headers), input.payload_hash);
}

Headers SignV4(const SigV4Input& input, const SigningKeys& keys) {
  const std::string stamp = FormatAmzDate(input.time);
  const std::string day = stamp.substr(0, 8);
  Headers added = {{.name = "x-amz-date", .value = stamp}};
  if (input.service == "s3") {
    added.push_back({.name = "x-amz-content-sha256", .value = input.payload_hash});
  }
  if (!keys.session_token.empty()) {
    added.push_back({.name = "x-amz-security-token", .value = keys.session_token});
  }
  const Headers all = WithHost(input, added);
  const std::string scope = fmt::format("{}/{}/{}/aws4_request", day, input.region, input.service);
  const std::string to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", stamp, scope,
                                          Hex(Sha256(CanonicalRequest(input, all))));
  std::string key = HmacSha256("AWS4" + keys.secret_access_key, day);
  for (const std::string& step : {input.region, input.service, std::string("aws4_request")}) {
    key = HmacSha256(key, step);
  }
  added.push_back(
      {.name = "Authorization",
       .value = fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                            keys.access_key_id, scope, SignedNames(Canonical(all)),
                            Hex(HmacSha256(key, to_sign)))});
  return added;
}

}  // namespace litestream::http
