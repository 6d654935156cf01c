#include "config/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/core.h>

namespace litestream::config {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Result<std::uint64_t> ParseSize(std::string_view text) {
  const auto fail = [](std::string what) {
    return Error(ErrorCode::kInvalidArgument, std::move(what));
  };
  std::string_view rest = text;
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  while (!rest.empty() && rest.back() == ' ') rest.remove_suffix(1);
  if (rest.empty()) return fail("empty size string");
  std::string number;
  while (!rest.empty() && (IsDigit(rest.front()) || rest.front() == '.' || rest.front() == ',')) {
    if (rest.front() != ',') number += rest.front();
    rest.remove_prefix(1);
  }
  double value = 0;
  const char* const end = number.data() + number.size();
  const auto parsed = std::from_chars(number.data(), end, value);
  if (number.empty() || parsed.ec != std::errc() || parsed.ptr != end) {
    return fail(
        fmt::format("invalid size format: \"{}\" does not begin with a number (like 10MiB)", text));
  }
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  std::string unit;
  for (const char c : rest) unit += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  double factor = 1;
  if (!unit.empty() && unit != "b") {
    const std::size_t power = std::string_view("kmgtpe").find(unit.front());
    const std::string_view suffix = std::string_view(unit).substr(1);
    const bool binary = suffix == "i" || suffix == "ib";
    if (power == std::string_view::npos || (!binary && !suffix.empty() && suffix != "b")) {
      return fail(fmt::format("invalid size format: unhandled size name: {}", unit));
    }
    factor = std::pow(binary ? 1024.0 : 1000.0, static_cast<double>(power + 1));
  }
  value *= factor;
  if (value >= 18446744073709551615.0) {
    return fail(fmt::format("invalid size format: too large: {}", text));
  }
  const auto bytes = static_cast<std::uint64_t>(value);
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (bytes > kMax) {
    return fail(fmt::format("size {} exceeds maximum allowed value ({})", bytes, kMax));
  }
  return bytes;
}

IntegerResult ParseInteger(std::string_view text) {
  const IntegerResult syntax{.error = IntegerError::kSyntax};
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) {
    negative = rest.front() == '-';
    rest.remove_prefix(1);
  }
  int base = 10;
  bool prefix = false;  // An underscore may follow a prefix.
  if (rest.size() > 1 && rest.front() == '0') {
    const char kind = static_cast<char>(rest[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    rest.remove_prefix(kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1);
    prefix = true;
  }
  std::string digits;
  bool after_digit = prefix;
  for (const char c : rest) {
    if (c == '_') {
      if (!after_digit) return syntax;
      after_digit = false;
      continue;
    }
    digits += c;
    after_digit = true;
  }
  if (digits.empty() || !after_digit || digits.front() == '-' || digits.front() == '+') {
    return syntax;
  }
  std::uint64_t magnitude = 0;
  const char* const end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, magnitude, base);
  if (parsed.ptr != end) return syntax;
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (parsed.ec != std::errc() || magnitude > kMax + (negative ? 1 : 0)) {
    return {.error = IntegerError::kRange};
  }
  return {.value = static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude)};
}

std::optional<bool> ParseYamlBool(std::string_view text) {
  struct Word {
    std::string_view lower;
    bool value;
  };
  constexpr std::array<Word, 8> kWords = {{{"y", true},
                                           {"yes", true},
                                           {"on", true},
                                           {"true", true},
                                           {"n", false},
                                           {"no", false},
                                           {"off", false},
                                           {"false", false}}};
  for (const Word& word : kWords) {
    if (text.size() != word.lower.size()) continue;
    std::string upper;
    for (const char c : word.lower) upper += static_cast<char>(c - 'a' + 'A');
    std::string capital(word.lower);
    capital.front() = upper.front();
    if (text == word.lower || text == upper || text == capital) return word.value;
  }
  return std::nullopt;
}

}  // namespace litestream::config
