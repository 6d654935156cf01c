#include "backend/oss/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::oss {
namespace {

using ::testing::HasSubstr;

TEST(OssAddressTest, WhereRequestsGo) {
  const struct {
    const char* why;
    const char* region;
    const char* endpoint;
    const char* origin;
    const char* prefix;
    const char* signed_region;
  } cases[] = {
      {"nothing said", "", "", "https://bkt.oss-cn-hangzhou.aliyuncs.com", "/", "cn-hangzhou"},
      {"a region", "eu-central-1", "", "https://bkt.oss-eu-central-1.aliyuncs.com", "/",
       "eu-central-1"},
      {"an endpoint names its region", "", "https://oss-us-west-1.aliyuncs.com",
       "https://bkt.oss-us-west-1.aliyuncs.com", "/", "us-west-1"},
      {"inside the region's network", "", "http://oss-cn-beijing-internal.aliyuncs.com",
       "http://bkt.oss-cn-beijing-internal.aliyuncs.com", "/", "cn-beijing"},
      {"both stacks", "", "https://cn-hangzhou.oss.aliyuncs.com",
       "https://bkt.cn-hangzhou.oss.aliyuncs.com", "/", "cn-hangzhou"},
      {"the region that is given is signed for", "ap-southeast-1",
       "https://oss-accelerate.aliyuncs.com", "https://bkt.oss-accelerate.aliyuncs.com", "/",
       "ap-southeast-1"},
      {"an accelerated endpoint names none", "", "https://oss-accelerate-overseas.aliyuncs.com",
       "https://bkt.oss-accelerate-overseas.aliyuncs.com", "/", "cn-hangzhou"},
      {"another host", "x", "https://oss.example.com:8443/", "https://bkt.oss.example.com:8443",
       "/", "x"},
      {"an address has no names below it", "", "http://127.0.0.1:9000", "http://127.0.0.1:9000",
       "/bkt/", "cn-hangzhou"},
      {"an address of six", "", "http://[::1]:9000", "http://[::1]:9000", "/bkt/", "cn-hangzhou"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto address = MakeAddress({.bucket = "bkt", .region = c.region, .endpoint = c.endpoint});
    ASSERT_TRUE(address.ok()) << address.error().message();
    EXPECT_EQ(address.value().origin, c.origin);
    EXPECT_EQ(address.value().object_prefix, c.prefix);
    EXPECT_EQ(address.value().region, c.signed_region);
  }
}

TEST(OssAddressTest, WhatDoesNotGoTogether) {
  const struct {
    Options options;
    const char* said;
  } cases[] = {
      {{.bucket = "bk"}, "no name of a bucket"},
      {{.bucket = "Bkt"}, "no name of a bucket"},
      {{.bucket = "-bkt"}, "no name of a bucket"},
      {{.bucket = "bkt.oss-cn-hangzhou.example.com"}, "no name of a bucket"},
      {{.bucket = std::string(64, 'a')}, "no name of a bucket"},
      {{.bucket = "bkt", .region = "a/b"}, "is no region"},
      {{.bucket = "bkt", .region = "oss-cn-hangzhou"}, "without \"oss-\""},
      {{.bucket = "bkt", .endpoint = "oss.example.com"}, "the endpoint must be"},
      {{.bucket = "bkt", .endpoint = "https://oss.example.com/path"}, "the endpoint must be"},
      {{.bucket = "bkt", .endpoint = "https://me:secret@oss.example.com"}, "(not shown)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.said);
    const auto address = MakeAddress(c.options);
    ASSERT_FALSE(address.ok());
    EXPECT_EQ(address.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(address.error().message(), HasSubstr(c.said));
    EXPECT_THAT(address.error().message(), ::testing::Not(HasSubstr("secret")));
  }
}

}  // namespace
}  // namespace litestream::oss
