#include "http/uri.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <arpa/inet.h>
#include <fmt/core.h>

#include "http/headers.h"

namespace litestream::http {
namespace {

std::string Escape(std::string_view text, bool keep_slash) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (keep_slash && c == '/');
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

// The four bytes of an IPv4 address.
std::optional<std::array<unsigned char, 4>> Ipv4(std::string_view host) {
  std::array<unsigned char, 4> address = {};
  if (::inet_pton(AF_INET, std::string(host).c_str(), address.data()) != 1) return std::nullopt;
  return address;
}

}  // namespace

bool IsThisMachine(std::string_view host) {
  if (host == "localhost" || host.ends_with(".localhost") || host == "::1") return true;
  const auto address = Ipv4(host);
  return address && (*address)[0] == 127;
}

bool IsPrivateHost(std::string_view host) {
  if (IsThisMachine(host)) return true;
  const auto address = Ipv4(host);
  if (!address) return false;
  const auto& [first, second, third, fourth] = *address;
  return first == 10 || (first == 192 && second == 168) || (first == 172 && second / 16 == 1);
}

bool IsLocalName(std::string_view host) {
  // RFC 6762, RFC 8375, and what ICANN keeps for such names.
  constexpr std::string_view kDomains[] = {".local", ".home.arpa", ".internal"};
  if (host.empty() || host.find(':') != std::string_view::npos) return false;
  return host.find('.') == std::string_view::npos ||
         std::ranges::any_of(kDomains,
                             [&](std::string_view domain) { return host.ends_with(domain); });
}

std::string EscapeComponent(std::string_view text) {
  return Escape(text, false);
}

std::string EscapePath(std::string_view text) {
  return Escape(text, true);
}

std::string UnescapeForm(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::optional<std::string> Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned char byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const char* const end = digits.data() + digits.size();
    if (digits.size() != 2 || std::from_chars(digits.data(), end, byte, 16).ptr != end ||
        byte == 0) {
      return std::nullopt;
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

std::string CanonicalQuery(const QueryParameters& parameters) {
  QueryParameters escaped;
  for (const auto& [name, value] : parameters) {
    escaped.emplace_back(EscapeComponent(name), EscapeComponent(value));
  }
  std::ranges::sort(escaped);
  std::string out;
  for (const auto& [name, value] : escaped) {
    if (!out.empty()) out += '&';
    out += name;
    out += '=';
    out += value;
  }
  return out;
}

bool ParseUrl(std::string_view url, SplitUrl& out) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return false;
  out.scheme = LowerCase(url.substr(0, scheme));
  if (out.scheme != "http" && out.scheme != "https") return false;
  url.remove_prefix(scheme + 3);
  const std::size_t slash = url.find('/');
  out.authority = LowerCase(url.substr(0, slash));
  out.path = slash == std::string_view::npos ? "" : std::string(url.substr(slash));
  if (out.authority.empty() || out.authority.find_first_of("@?# ") != std::string::npos ||
      out.path.find_first_of("?#") != std::string::npos) {
    return false;
  }
  out.host = out.authority;
  const std::size_t colon = out.host.rfind(':');
  const std::size_t bracket = out.host.rfind(']');
  if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
    out.host.resize(colon);
  }
  if (out.host.size() >= 2 && out.host.front() == '[' && out.host.back() == ']') {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  return !out.host.empty();
}

std::string HostHeader(const SplitUrl& url) {
  const std::string_view usual = url.scheme == "http" ? ":80" : ":443";
  if (!url.authority.ends_with(usual)) return url.authority;
  return url.authority.substr(0, url.authority.size() - usual.size());
}

}  // namespace litestream::http
