#include "config/s3_url.h"

#include <charconv>
#include <utility>

#include <fmt/core.h>

namespace litestream::config {
namespace {

// Splits at the first `separator`; the second part is empty if there is none.
std::pair<std::string_view, std::string_view> Cut(std::string_view text, char separator) {
  const std::size_t at = text.find(separator);
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

bool ConsumeSuffix(std::string_view& text, std::string_view suffix) {
  if (text.size() < suffix.size() || text.substr(text.size() - suffix.size()) != suffix) {
    return false;
  }
  text.remove_suffix(suffix.size());
  return true;
}

bool IsIpv4(std::string_view host) {
  int dots = 0;
  for (const char c : host) {
    if (c == '.') ++dots;
    if (c != '.' && (c < '0' || c > '9')) return false;
  }
  return dots == 3;
}

// Takes the last dot-separated label off `text`, with its dot.
std::string TakeLastLabel(std::string_view& text) {
  const std::size_t dot = text.rfind('.');
  std::string label(text.substr(dot == std::string_view::npos ? 0 : dot + 1));
  text = dot == std::string_view::npos ? std::string_view() : text.substr(0, dot);
  return label;
}

// [B.]s3.R<suffix>, with the part before the suffix given.
bool MatchS3Region(std::string_view front, std::string_view suffix, std::string_view scheme,
                   S3Host& out) {
  out.region = TakeLastLabel(front);
  const std::string service = TakeLastLabel(front);
  if (service != "s3" || out.region.empty()) return false;
  out.bucket = std::string(front);
  out.endpoint = fmt::format("{}s3.{}{}", scheme, out.region, suffix);
  return true;
}

}  // namespace

S3Host ParseS3Host(std::string_view host) {
  S3Host out;
  if (host.find(':') != std::string_view::npos && host.find(".com") == std::string_view::npos) {
    const auto [name, port] = Cut(host, ':');
    const std::size_t dot = name.find('.');
    out.force_path_style = true;
    if (dot == std::string_view::npos || IsIpv4(name)) {
      out.endpoint = fmt::format("http://{}", host);
      return out;
    }
    out.bucket = std::string(host.substr(0, dot));
    out.region = "us-east-1";
    out.endpoint = fmt::format("http://{}", host.substr(dot + 1));
    return out;
  }
  if (std::string_view front = host; ConsumeSuffix(front, ".amazonaws.com")) {
    if (ConsumeSuffix(front, ".s3") && !front.empty()) return {.bucket = std::string(front)};
    out.region = TakeLastLabel(front);
    if (ConsumeSuffix(front, ".s3") && !front.empty()) {
      out.bucket = std::string(front);
      return out;
    }
    return {.bucket = std::string(host)};
  }
  if (std::string_view front = host; ConsumeSuffix(front, ".digitaloceanspaces.com")) {
    out.region = TakeLastLabel(front);
    out.bucket = std::string(front);
    out.endpoint = fmt::format("https://{}.digitaloceanspaces.com", out.region);
    return out;
  }
  if (std::string_view front = host; ConsumeSuffix(front, ".backblazeb2.com") &&
                                     MatchS3Region(front, ".backblazeb2.com", "https://", out)) {
    out.force_path_style = true;
    return out;
  }
  out = {};
  if (std::string_view front = host; ConsumeSuffix(front, "s3.filebase.com")) {
    if (front.empty() || ConsumeSuffix(front, ".")) {
      return {.bucket = std::string(front), .endpoint = "s3.filebase.com"};
    }
  }
  if (std::string_view front = host;
      ConsumeSuffix(front, ".scw.cloud") && MatchS3Region(front, ".scw.cloud", "", out)) {
    return out;
  }
  return {.bucket = std::string(host)};
}

std::string CompleteEndpoint(std::string_view endpoint) {
  if (endpoint.empty() || endpoint.find("://") != std::string_view::npos) {
    return std::string(endpoint);
  }
  const auto [host, port] = Cut(Cut(endpoint, '/').first, ':');
  bool local = host == "localhost";
  for (const std::string_view suffix : {".local", ".localhost"}) {
    std::string_view name = host;
    local = local || ConsumeSuffix(name, suffix);
  }
  if (IsIpv4(host)) {
    local = host.substr(0, 3) == "10." || host.substr(0, 8) == "192.168." || host == "127.0.0.1";
    unsigned second = 0;
    const std::string_view rest = host.substr(0, 4) == "172." ? host.substr(4) : "";
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), second);
    local = local || (parsed.ec == std::errc() && second >= 16 && second <= 31);
  }
  return fmt::format("{}://{}", local ? "http" : "https", endpoint);
}

}  // namespace litestream::config
