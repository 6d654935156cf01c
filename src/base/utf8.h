#pragma once

#include <cstddef>
#include <string_view>

namespace litestream {

struct Utf8Character {
  char32_t code = 0;
  std::size_t size_bytes = 0;  // 1 if invalid: then only the first byte was looked at.
  bool valid = false;
};

// The first character of `text`, which is not empty. Overlong forms and surrogates are invalid.
Utf8Character DecodeUtf8(std::string_view text);

// Whether Go's unicode.IsPrint says so, except that code points that Unicode has not assigned (or
// assigned lately) count as printable. Of the spaces only U+0020 is printable.
bool IsPrintable(char32_t code);

}  // namespace litestream
