#include "http/crc64.h"

#include <string>

#include <gtest/gtest.h>

namespace litestream::http {
namespace {

TEST(Crc64Test, KnownSums) {
  EXPECT_EQ(Crc64(0, ""), 0U);
  EXPECT_EQ(Crc64(0, "123456789"), 11051210869376104954U);
  EXPECT_EQ(Crc64(0, "hello world"), 5981764153023615706U);
}

TEST(Crc64Test, InPiecesAndCombined) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += static_cast<char>(i * 37 + i / 7);
  const std::uint64_t all = Crc64(0, text);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string_view first = std::string_view(text).substr(0, cut);
    const std::string_view second = std::string_view(text).substr(cut);
    EXPECT_EQ(Crc64(Crc64(0, first), second), all) << cut;
    EXPECT_EQ(CombineCrc64(Crc64(0, first), Crc64(0, second), second.size()), all) << cut;
  }
}

TEST(Crc64Test, OneBitMakesAnother) {
  std::string text(33, 'a');
  const std::uint64_t sum = Crc64(0, text);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 0x10);
    EXPECT_NE(Crc64(0, other), sum) << i;
  }
}

}  // namespace
}  // namespace litestream::http
