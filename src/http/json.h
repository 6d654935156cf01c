#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "litestream/result.h"

namespace litestream::http {

// A JSON value that a server sent.
struct JsonValue {
  enum class Kind : unsigned char { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  std::string text;                 // Of a string, a number as it was written, "true" or "false".
  std::vector<std::string> names;   // Of an object's members, in their order.
  std::vector<JsonValue> children;  // The members, or the elements of an array.

  // The first member of that name; null if there is none.
  const JsonValue* Find(std::string_view name) const;
  // The text of a member that is a string, a number or a bool; "" if there is none.
  std::string TextOf(std::string_view name) const;
};

// Nothing but one value, at most kMaxJsonDepth deep. kCorruption if it is none.
inline constexpr std::size_t kMaxJsonDepth = 32;
Result<JsonValue> ParseJson(std::string_view text);

// In quotes; what is no UTF-8 is replaced.
std::string JsonString(std::string_view text);

}  // namespace litestream::http
