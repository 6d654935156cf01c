#include "base/utf8.h"

#include <gtest/gtest.h>

namespace litestream {
namespace {

TEST(Utf8, Decode) {
  const struct {
    const char* why;
    std::string_view text;
    std::size_t size;
    char32_t code;  // 0xfffd: invalid.
  } cases[] = {
      {"ASCII", "ab", 1, 'a'},
      {"zero", std::string_view("\0", 1), 1, 0},
      {"two bytes", "\u00fcx", 2, 0xfc},
      {"three bytes", "\u65e5", 3, 0x65e5},
      {"four bytes", "\U0001f600", 4, 0x1f600},
      {"the last one", "\U0010ffff", 4, 0x10ffff},
      {"cut short", "\xe6\x97", 1, 0xfffd},
      {"continuation alone", "\x80", 1, 0xfffd},
      {"second byte is none", "\xc3(", 1, 0xfffd},
      {"overlong two bytes", "\xc1\xbf", 1, 0xfffd},
      {"overlong three bytes", "\xe0\x9f\xbf", 1, 0xfffd},
      {"overlong four bytes", "\xf0\x8f\xbf\xbf", 1, 0xfffd},
      {"surrogate", "\xed\xa0\x80", 1, 0xfffd},
      {"too large", "\xf4\x90\x80\x80", 1, 0xfffd},
      {"no such first byte", "\xff\xbf\xbf\xbf", 1, 0xfffd},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const Utf8Character got = DecodeUtf8(c.text);
    EXPECT_EQ(got.size_bytes, c.size);
    EXPECT_EQ(got.code, c.code);
    EXPECT_EQ(got.valid, c.code != 0xfffd);
  }
}

TEST(Utf8, Printable) {
  for (const char32_t c : {U' ', U'~', U'\u00a1', U'\u00ae', U'\u65e5', U'\ufffd', U'\U0001f600',
                           U'\U000e0100', U'\uf900'}) {
    EXPECT_TRUE(IsPrintable(c)) << std::hex << static_cast<std::uint32_t>(c);
  }
  for (const char32_t c :
       {char32_t{0}, char32_t{0x1f}, char32_t{0x7f}, char32_t{0x9f}, char32_t{0xa0}, char32_t{0xad},
        char32_t{0x200b}, char32_t{0x2028}, char32_t{0x3000}, char32_t{0xe000}, char32_t{0xfeff},
        char32_t{0xe0001}, char32_t{0x10ffff}}) {
    EXPECT_FALSE(IsPrintable(c)) << std::hex << static_cast<std::uint32_t>(c);
  }
}

}  // namespace
}  // namespace litestream
