#include "backend/abs/address.h"

#include <utility>

#include <fmt/core.h>

#include "format/names.h"
#include "http/uri.h"
#include "storage/url.h"

namespace litestream::abs {
namespace {

constexpr std::string_view kSuffix = "core.windows.net";

Error Invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

bool IsNumeric(std::string_view host) {
  return host.find_first_not_of("0123456789.:abcdefABCDEF") == std::string_view::npos &&
         (host.find(':') != std::string_view::npos ||
          host.find_first_not_of("0123456789.") == std::string_view::npos);
}

// The account that an endpoint is of: the first part of its path, or of its host's name.
std::string AccountOf(const http::SplitUrl& url) {
  if (url.path.size() > 1) return url.path.substr(1, url.path.find('/', 1) - 1);
  const std::size_t dot = url.host.find('.');
  if (dot == std::string::npos || IsNumeric(url.host)) return {};
  return url.host.substr(0, dot);
}

// "2030-01-01", "2030-01-01T00:00Z", "2030-01-01T00:00:00Z"
std::optional<WallTime> SasTime(std::string_view escaped) {
  constexpr std::size_t kDate = 10;
  constexpr std::size_t kMinutes = 16;
  auto decoded = PercentDecode(escaped, /*plus_is_space=*/false);
  if (!decoded.ok()) return std::nullopt;
  std::string text = std::move(decoded).value();
  if (text.size() == kDate) text += "T00:00:00Z";
  if (text.size() == kMinutes + 1) text.insert(kMinutes, ":00");
  const auto time = ParseTimestamp(text);
  return time.ok() ? std::optional(time.value()) : std::nullopt;
}

}  // namespace

Result<Address> MakeAddress(const Options& options) {
  if (options.container.empty()) return Invalid("abs: container name is required");
  std::string endpoint = options.endpoint;
  if (endpoint.empty()) {
    if (options.account_name.empty()) {
      return Invalid("abs: account name is required when endpoint is not specified");
    }
    endpoint = fmt::format("https://{}.blob.{}", options.account_name, kSuffix);
  }
  while (endpoint.ends_with('/')) endpoint.pop_back();
  http::SplitUrl url;
  if (!http::ParseUrl(endpoint, url)) {
    return Invalid(
        fmt::format("abs: the endpoint has to be a URL of http or https, like "
                    "https://ACCOUNT.blob.{}, without \"?\" and what follows it",
                    kSuffix));
  }
  return Address{
      .origin = fmt::format("{}://{}", url.scheme, url.authority),
      .container_path = fmt::format("{}/{}", url.path, http::EscapeComponent(options.container)),
      .account = options.account_name.empty() ? AccountOf(url) : options.account_name,
      .takes_tokens = url.scheme == "https" || http::IsThisMachine(url.host)};
}

std::string BlobPath(std::string_view name) {
  // "//" between container and blob is not left alone everywhere.
  if (name.starts_with('/')) return "/%2F" + http::EscapePath(name.substr(1));
  return "/" + http::EscapePath(name);
}

Result<ConnectionString> ParseConnectionString(std::string_view text) {
  ConnectionString out;
  std::string protocol = "https";
  std::string suffix(kSuffix);
  bool development = false;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const std::size_t equals = pair.find('=');
    if (pair.empty()) continue;
    if (equals == std::string_view::npos) {
      return Invalid("connection string: not of the form NAME=VALUE;NAME=VALUE");
    }
    const std::string_view name = pair.substr(0, equals);
    const std::string value(pair.substr(equals + 1));
    if (name == "AccountName") out.account_name = value;
    if (name == "AccountKey") out.account_key = value;
    if (name == "SharedAccessSignature") out.sas_token = value;
    if (name == "BlobEndpoint") out.endpoint = value;
    if (name == "DefaultEndpointsProtocol") protocol = value;
    if (name == "EndpointSuffix") suffix = value;
    if (name == "UseDevelopmentStorage") development = value == "true";
  }
  if (development) {
    return ConnectionString{.account_name = "devstoreaccount1",
                            // The published one of the emulator.
                            .account_key =
                                "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/"
                                "K1SZFPTOtr/KBHBeksoGMGw==",
                            .sas_token = {},
                            .endpoint = "http://127.0.0.1:10000/devstoreaccount1"};
  }
  if (out.endpoint.empty() && !out.account_name.empty()) {
    out.endpoint = fmt::format("{}://{}.blob.{}", protocol, out.account_name, suffix);
  }
  if (out.endpoint.empty() || (out.account_key.empty() && out.sas_token.empty())) {
    return Invalid(
        "connection string: needs AccountName or BlobEndpoint, and AccountKey or "
        "SharedAccessSignature");
  }
  return out;
}

SasTimes TimesOfSas(std::string_view token) {
  SasTimes times;
  while (!token.empty()) {
    std::string_view pair = token.substr(0, token.find('&'));
    token.remove_prefix(std::min(pair.size() + 1, token.size()));
    if (pair.starts_with('?')) pair.remove_prefix(1);
    if (pair.starts_with("st=")) times.starts_at = SasTime(pair.substr(3));
    if (pair.starts_with("se=")) times.expires_at = SasTime(pair.substr(3));
  }
  return times;
}

}  // namespace litestream::abs
