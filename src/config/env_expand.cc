#include "config/env_expand.h"

#include <charconv>
#include <cstdlib>
#include <utility>

#include <fmt/core.h>
#include <unistd.h>

namespace litestream::config {
namespace {

// Characters from Unicode's private use area enclose a token's number.
constexpr std::string_view kTokenBegin = "\uE000";
constexpr std::string_view kTokenEnd = "\uE001";

bool IsSpecial(char c) {
  return std::string_view("*#$@!?-0123456789").find(c) != std::string_view::npos;
}
bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

struct Reference {
  std::string_view name;
  std::size_t length = 0;  // Behind the "$"; 0: not a reference.
};

Reference TakeReference(std::string_view rest) {
  if (rest.empty()) return {};
  if (rest.front() == '{') {
    const std::size_t close = rest.find_first_of("}\n");
    if (close == std::string_view::npos || rest[close] == '\n') return {.length = 1};
    return {.name = rest.substr(1, close - 1), .length = close + 1};
  }
  if (IsSpecial(rest.front())) return {.name = rest.substr(0, 1), .length = 1};
  std::size_t end = 0;
  while (end < rest.size() && IsWord(rest[end])) ++end;
  return {.name = rest.substr(0, end), .length = end};
}

}  // namespace

std::string LookupEnvironment(std::string_view name) {
  if (name == "PID") return fmt::format("{}", ::getpid());
  const char* const value = std::getenv(std::string(name).c_str());
  return value == nullptr ? "" : value;
}

std::string EnvironmentExpander::Token(std::string value) {
  values_.push_back(std::move(value));
  return fmt::format("{}{}{}", kTokenBegin, values_.size() - 1, kTokenEnd);
}

std::string EnvironmentExpander::InsertTokens(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view next = text.substr(0, kTokenBegin.size());
    if (next == kTokenBegin || next == kTokenEnd) {  // Somebody's own text: stands for itself.
      out += Token(std::string(next));
      text.remove_prefix(next.size());
      continue;
    }
    const char c = text.front();
    text.remove_prefix(1);
    const Reference reference = c == '$' ? TakeReference(text) : Reference{};
    if (reference.length == 0) {
      out += c;
      continue;
    }
    if (!reference.name.empty()) out += Token(lookup_(reference.name));
    text.remove_prefix(reference.length);
  }
  return out;
}

std::string EnvironmentExpander::ReplaceTokens(std::string_view scalar) const {
  std::string out;
  while (!scalar.empty()) {
    const std::size_t begin = scalar.find(kTokenBegin);
    out += scalar.substr(0, begin);
    if (begin == std::string_view::npos) break;
    scalar.remove_prefix(begin + kTokenBegin.size());
    std::size_t number = 0;
    const char* const end = scalar.data() + scalar.size();
    const auto parsed = std::from_chars(scalar.data(), end, number);
    if (parsed.ec == std::errc() && number < values_.size()) out += values_[number];
    const std::size_t close = scalar.find(kTokenEnd);
    scalar.remove_prefix(close == std::string_view::npos ? scalar.size()
                                                         : close + kTokenEnd.size());
  }
  return out;
}

bool EnvironmentExpander::HasToken(std::string_view scalar) {
  return scalar.find(kTokenBegin) != std::string_view::npos;
}

}  // namespace litestream::config
