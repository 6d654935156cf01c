#include <gtest/gtest.h>

#include "cli/common.h"

namespace litestream::cli {
namespace {

TEST(Limits, FromTheConfiguration) {
  EXPECT_EQ(MakeLimiter({}), nullptr);
  const auto all = MakeLimiter({.uploads = 3,
                                .upload_bandwidth = 1'000,
                                .download_bandwidth = 2'000,
                                .requests_per_second = 4});
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(all->options().uploads, 3);
  EXPECT_EQ(all->options().upload_bytes_per_second, 1'000U);
  EXPECT_EQ(all->options().download_bytes_per_second, 2'000U);
  EXPECT_EQ(all->options().requests_per_second, 4U);
  // What is not given does not limit, but for the places.
  const auto one = MakeLimiter({.requests_per_second = 4});
  ASSERT_NE(one, nullptr);
  EXPECT_EQ(one->options().uploads, 8);
  EXPECT_FALSE(one->limits(Direction::kUpload));
  EXPECT_FALSE(one->limits(Direction::kDownload));
}

}  // namespace
}  // namespace litestream::cli
