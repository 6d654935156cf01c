#include "config/glob.h"

#include <optional>
#include <string>
#include <vector>

#include "base/try.h"
#include "base/utf8.h"

namespace litestream::config {
namespace {

// One element of a pattern.
struct Element {
  bool star = false;  // Any run of characters but '/'.
  bool any = false;   // Any one character but '/'.
  bool negate = false;
  struct Range {
    char32_t low;
    char32_t high;
  };
  std::vector<Range> ranges;  // Otherwise: one character in (or, negated, not in) these.
};

// A malformed byte stands for itself.
char32_t TakeCharacter(std::string_view& text) {
  const Utf8Character character = DecodeUtf8(text);
  const auto byte = static_cast<unsigned char>(text.front());
  text.remove_prefix(character.size_bytes);
  return character.valid ? character.code : byte;
}

// A character of a [class]; nullopt if the pattern is malformed there.
std::optional<char32_t> TakeClassCharacter(std::string_view& pattern) {
  if (pattern.empty() || pattern.front() == '-' || pattern.front() == ']') return std::nullopt;
  if (pattern.front() == '\\') {
    pattern.remove_prefix(1);
    if (pattern.empty()) return std::nullopt;
  }
  return TakeCharacter(pattern);
}

bool TakeClass(std::string_view& pattern, Element& out) {
  if (!pattern.empty() && pattern.front() == '^') {
    out.negate = true;
    pattern.remove_prefix(1);
  }
  while (!pattern.empty() && (pattern.front() != ']' || out.ranges.empty())) {
    const auto low = TakeClassCharacter(pattern);
    if (!low) return false;
    auto high = low;
    if (!pattern.empty() && pattern.front() == '-') {
      pattern.remove_prefix(1);
      high = TakeClassCharacter(pattern);
      if (!high) return false;
    }
    out.ranges.push_back({*low, *high});
  }
  if (pattern.empty()) return false;
  pattern.remove_prefix(1);
  return true;
}

Result<std::vector<Element>> ParseGlob(std::string_view pattern) {
  const Error malformed(ErrorCode::kInvalidArgument, "syntax error in pattern");
  std::vector<Element> elements;
  while (!pattern.empty()) {
    Element element;
    const char c = pattern.front();
    if (c == '*' || c == '?') {
      element.star = c == '*';
      element.any = c == '?';
      pattern.remove_prefix(1);
    } else if (c == '[') {
      pattern.remove_prefix(1);
      if (!TakeClass(pattern, element)) return malformed;
    } else {
      if (c == '\\') {
        pattern.remove_prefix(1);
        if (pattern.empty()) return malformed;
      }
      const char32_t literal = TakeCharacter(pattern);
      element.ranges.push_back({literal, literal});
    }
    elements.push_back(std::move(element));
  }
  return elements;
}

bool MatchesOne(const Element& element, char32_t c) {
  if (element.any) return c != '/';
  bool inside = false;
  for (const auto& range : element.ranges) inside |= range.low <= c && c <= range.high;
  return inside != element.negate;
}

}  // namespace

Result<bool> GlobMatch(std::string_view pattern, std::string_view name) {
  const std::vector<Element> elements = LS_TRY(ParseGlob(pattern));
  std::vector<char32_t> text;
  while (!name.empty()) text.push_back(TakeCharacter(name));

  // Greedy with one point to return to: the last star and how much it has taken.
  std::size_t at = 0;
  std::size_t element = 0;
  std::optional<std::size_t> star;
  std::size_t star_at = 0;
  while (at < text.size()) {
    if (element < elements.size() && elements[element].star) {
      star = element++;
      star_at = at;
    } else if (element < elements.size() && MatchesOne(elements[element], text[at])) {
      ++element;
      ++at;
    } else if (star && text[star_at] != '/') {
      element = *star + 1;
      at = ++star_at;
    } else {
      return false;
    }
  }
  while (element < elements.size() && elements[element].star) ++element;
  return element == elements.size();
}

Result<void> CheckGlob(std::string_view pattern) {
  LS_TRY(ParseGlob(pattern));
  return {};
}

}  // namespace litestream::config
