#include "backend/s3/address.h"

#include <gtest/gtest.h>

#include "backend/s3/provider.h"

namespace litestream::s3 {
namespace {

TEST(S3Address, Forms) {
  const struct {
    const char* bucket;
    const char* endpoint;
    std::optional<bool> path_style;
    const char* region;
    const char* origin;
    const char* bucket_path;
    const char* object_prefix;
  } cases[] = {
      {"bkt", "", {}, "eu-west-1", "https://bkt.s3.eu-west-1.amazonaws.com", "/", "/"},
      {"bkt", "", true, "eu-west-1", "https://s3.eu-west-1.amazonaws.com", "/bkt", "/bkt/"},
      {"my.bkt", "", {}, "eu-west-1", "https://s3.eu-west-1.amazonaws.com", "/my.bkt", "/my.bkt/"},
      {"Bkt_1", "", {}, "us-east-1", "https://s3.us-east-1.amazonaws.com", "/Bkt_1", "/Bkt_1/"},
      {"bkt", "", {}, "cn-north-1", "https://bkt.s3.cn-north-1.amazonaws.com.cn", "/", "/"},
      {"bkt", "http://127.0.0.1:9000", false, "x", "http://127.0.0.1:9000", "/bkt", "/bkt/"},
      {"bkt", "http://minio:9000/", {}, "x", "http://minio:9000", "/bkt", "/bkt/"},
      {"bkt", "http://minio:9000", false, "x", "http://bkt.minio:9000", "/", "/"},
      {"bkt",
       "https://p.supabase.co/storage/v1/s3",
       {},
       "x",
       "https://p.supabase.co",
       "/storage/v1/s3/bkt",
       "/storage/v1/s3/bkt/"},
      {"bkt",
       "https://fra1.digitaloceanspaces.com",
       {},
       "fra1",
       "https://bkt.fra1.digitaloceanspaces.com",
       "/",
       "/"},
      {"bkt",
       "https://S3.FR-PAR.scw.cloud:443",
       {},
       "fr-par",
       "https://bkt.s3.fr-par.scw.cloud",
       "/",
       "/"},
      {"bkt",
       "https://s3.us-west-000.backblazeb2.com",
       {},
       "us-west-000",
       "https://s3.us-west-000.backblazeb2.com",
       "/bkt",
       "/bkt/"},
      {"arn:aws:s3:us-east-2:123456789012:accesspoint/ap",
       "",
       {},
       "us-east-2",
       "https://ap-123456789012.s3-accesspoint.us-east-2.amazonaws.com",
       "/",
       "/"},
      {"arn:aws:s3:us-east-2:123456789012:accesspoint/ap",
       "https://vpce.example",
       {},
       "us-east-2",
       "https://ap-123456789012.vpce.example",
       "/",
       "/"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.bucket) + " at " + c.endpoint);
    const auto address = MakeAddress(
        {.bucket = c.bucket, .endpoint = c.endpoint, .force_path_style = c.path_style}, c.region);
    ASSERT_TRUE(address.ok()) << address.error().message();
    EXPECT_EQ(address.value().origin, c.origin);
    EXPECT_EQ(address.value().bucket_path, c.bucket_path);
    EXPECT_EQ(address.value().object_prefix, c.object_prefix);
    EXPECT_EQ(address.value().region, c.region);
    EXPECT_EQ("//" + address.value().host,
              address.value().origin.substr(address.value().origin.find("//")));
  }
}

TEST(S3Address, WhatDoesNotGoTogether) {
  const std::string arn = "arn:aws:s3:us-east-2:123456789012:accesspoint/ap";
  EXPECT_FALSE(MakeAddress({.bucket = arn, .force_path_style = true}, "x").ok());
  EXPECT_FALSE(MakeAddress({.bucket = "arn:aws:s3::123456789012:accesspoint/ap.mrap"}, "").ok());
  EXPECT_FALSE(MakeAddress({.bucket = "arn:aws:s3:r:1:bucket/x"}, "").ok());
  for (const char* endpoint : {"minio:9000", "ftp://x", "http://", "http://u:secret@h"}) {
    const auto address = MakeAddress({.bucket = "bkt", .endpoint = endpoint}, "x");
    ASSERT_FALSE(address.ok()) << endpoint;
    EXPECT_EQ(address.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(address.error().message().find("secret"), std::string::npos);
  }
}

TEST(S3Provider, Detection) {
  EXPECT_EQ(ProviderOf("").name, "AWS");
  EXPECT_EQ(ProviderOf("s3.eu-west-1.amazonaws.com").name, "AWS");
  EXPECT_FALSE(ProviderOf("fly.storage.tigris.dev").content_md5);
  EXPECT_TRUE(ProviderOf("t3.storage.dev").consistent_header);
  EXPECT_EQ(ProviderOf("abc.r2.cloudflarestorage.com").concurrency, 2);
  EXPECT_EQ(ProviderOf(".r2.cloudflarestorage.com").name, "S3") << "no account";
  EXPECT_FALSE(ProviderOf("fra1.digitaloceanspaces.com").path_style);
  EXPECT_TRUE(ProviderOf("minio.example").path_style);
  EXPECT_FALSE(ProviderOf("storage.googleapis.com").batch_delete);
  EXPECT_EQ(ProviderOf("evil-backblazeb2.com").name, "S3");
  EXPECT_EQ(ProviderOf("t3.storage.dev.evil.com").name, "S3");
}

TEST(S3Provider, GoogleHosts) {
  for (const char* host :
       {"storage.googleapis.com", "storage.googleapis.com.", "storage-download.googleapis.com",
        "storage.me-central2.rep.googleapis.com"}) {
    EXPECT_TRUE(IsGoogleHost(host)) << host;
  }
  for (const char* host :
       {"", "googleapis.com", "storage.googleapis.com.evil.com", "bucket.storage.googleapis.com",
        "mystorage.googleapis.com", "storage..googleapis.com", "storage.googleapis.org"}) {
    EXPECT_FALSE(IsGoogleHost(host)) << host;
  }
}

}  // namespace
}  // namespace litestream::s3
