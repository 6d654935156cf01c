#include "http/headers.h"

#include <algorithm>

namespace litestream::http {

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

const std::string* FindHeader(const Headers& headers, std::string_view name) {
  const std::string lower = LowerCase(name);
  const auto found = std::ranges::find_if(
      headers, [&](const Header& header) { return LowerCase(header.name) == lower; });
  return found == headers.end() ? nullptr : &found->value;
}

std::string HeaderValue(const Headers& headers, std::string_view name) {
  const std::string* const value = FindHeader(headers, name);
  return value == nullptr ? std::string() : *value;
}

bool ParseHeader(std::string_view line, Header& out) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string_view value = line.substr(colon + 1);
  const std::size_t first = value.find_first_not_of(" \t\r\n");
  const std::size_t last = value.find_last_not_of(" \t\r\n");
  value = first == std::string_view::npos ? "" : value.substr(first, last - first + 1);
  out = {.name = std::string(line.substr(0, colon)), .value = std::string(value)};
  return true;
}

}  // namespace litestream::http
