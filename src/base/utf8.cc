#include "base/utf8.h"

#include <array>

namespace litestream {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Controls, formats, spaces, private use, surrogates, and what is no character at all.
constexpr std::array<Range, 23> kUnprintable = {{
    {0x0000, 0x001f},   {0x007f, 0x00a0},   {0x00ad, 0x00ad},    {0x0600, 0x0605},
    {0x061c, 0x061c},   {0x06dd, 0x06dd},   {0x070f, 0x070f},    {0x0890, 0x0891},
    {0x08e2, 0x08e2},   {0x1680, 0x1680},   {0x180e, 0x180e},    {0x2000, 0x200f},
    {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},    {0xd800, 0xf8ff},
    {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},    {0x110bd, 0x110bd},
    {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff},
}};

}  // namespace

Utf8Character DecodeUtf8(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  const Utf8Character invalid{.code = 0xfffd, .size_bytes = 1, .valid = false};
  if (first < 0x80) return {.code = first, .size_bytes = 1, .valid = true};
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return invalid;
  char32_t code = first & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return invalid;
    code = code << 6U | (byte(i) & 0x3fU);
  }
  if (code < kSmallest[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    return invalid;
  }
  return {.code = code, .size_bytes = size, .valid = true};
}

bool IsPrintable(char32_t code) {
  for (const Range& range : kUnprintable) {
    if (code <= range.last) return code < range.first;
  }
  return false;
}

}  // namespace litestream
