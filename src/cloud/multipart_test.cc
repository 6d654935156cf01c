#include "cloud/multipart.h"

#include <gtest/gtest.h>

namespace litestream::cloud {
namespace {

TEST(MultipartTest, SizesOfParts) {
  constexpr std::uint64_t kMin = 5 << 20;
  EXPECT_EQ(PartBytes(kMin, kMin, 1, false), kMin);
  for (const std::uint64_t size :
       {std::uint64_t{1} << 30, std::uint64_t{100} << 30, std::uint64_t{5} << 40}) {
    EXPECT_LE(size, PartBytes(kMin, size, 1, true) * kMaxParts);
  }
  std::uint64_t total = 0;
  for (std::uint64_t n = 1; n <= kMaxParts; ++n) total += PartBytes(kMin, std::nullopt, n, false);
  EXPECT_GT(total, std::uint64_t{500} << 30) << "a stream of unknown length";
  EXPECT_EQ(PartBytes(kMin, std::nullopt, 9'999, true), kMin);
}

}  // namespace
}  // namespace litestream::cloud
