#include "backend/abs/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "format/names.h"

namespace litestream::abs {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(AbsAddress, Forms) {
  const struct {
    const char* account;
    const char* endpoint;
    const char* origin;
    const char* container_path;
    const char* found_account;
    bool takes_tokens;
  } cases[] = {
      {"acc", "", "https://acc.blob.core.windows.net", "/my-c", "acc", true},
      {"", "https://acc.blob.core.chinacloudapi.cn/", "https://acc.blob.core.chinacloudapi.cn",
       "/my-c", "acc", true},
      {"other", "https://acc.privatelink.example", "https://acc.privatelink.example", "/my-c",
       "other", true},
      {"", "http://127.0.0.1:10000/devstoreaccount1", "http://127.0.0.1:10000",
       "/devstoreaccount1/my-c", "devstoreaccount1", true},
      {"", "http://10.0.0.1:10000/acc/", "http://10.0.0.1:10000", "/acc/my-c", "acc", false},
      {"", "http://acc.localhost:10000", "http://acc.localhost:10000", "/my-c", "acc", true},
      {"", "http://azurite:10000", "http://azurite:10000", "/my-c", "", false},
      {"", "https://10.0.0.1", "https://10.0.0.1", "/my-c", "", true},
      {"", "https://[fd00::1]:443", "https://[fd00::1]:443", "/my-c", "", true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.account) + " " + c.endpoint);
    const auto address =
        MakeAddress({.container = "my-c", .account_name = c.account, .endpoint = c.endpoint});
    ASSERT_TRUE(address.ok()) << address.error().message();
    EXPECT_EQ(address.value().origin, c.origin);
    EXPECT_EQ(address.value().container_path, c.container_path);
    EXPECT_EQ(address.value().account, c.found_account);
    EXPECT_EQ(address.value().takes_tokens, c.takes_tokens);
  }
}

TEST(AbsAddress, WhatIsMissing) {
  EXPECT_EQ(MakeAddress({}).error().message(), "abs: container name is required");
  EXPECT_EQ(MakeAddress({.container = "c"}).error().message(),
            "abs: account name is required when endpoint is not specified");
  for (const char* endpoint : {"acc.blob.core.windows.net", "ftp://x", "https://",
                               "https://a/?sv=1", "https://u:secret@h"}) {
    SCOPED_TRACE(endpoint);
    const auto address = MakeAddress({.container = "c", .endpoint = endpoint});
    ASSERT_FALSE(address.ok());
    EXPECT_EQ(address.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(address.error().message(), HasSubstr("has to be a URL"));
    EXPECT_THAT(address.error().message(), Not(HasSubstr("secret")));
  }
}

TEST(AbsAddress, BlobsInUrls) {
  EXPECT_EQ(BlobPath("db/ltx/0/x"), "/db/ltx/0/x");
  EXPECT_EQ(BlobPath("/db/a b+%"), "/%2Fdb/a%20b%2B%25");
}

TEST(ConnectionString, Forms) {
  const auto key = ParseConnectionString(
      "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5PT0=;"
      "EndpointSuffix=core.usgovcloudapi.net;");
  ASSERT_TRUE(key.ok()) << key.error().message();
  EXPECT_EQ(key.value().account_name, "acc");
  EXPECT_EQ(key.value().account_key, "a2V5PT0=") << "values have equals signs";
  EXPECT_EQ(key.value().endpoint, "https://acc.blob.core.usgovcloudapi.net");
  const auto sas = ParseConnectionString(
      "BlobEndpoint=https://acc.blob.core.windows.net/;QueueEndpoint=https://q;"
      "SharedAccessSignature=sv=2021-12-02&sig=x%3D");
  ASSERT_TRUE(sas.ok()) << sas.error().message();
  EXPECT_EQ(sas.value().endpoint, "https://acc.blob.core.windows.net/");
  EXPECT_EQ(sas.value().sas_token, "sv=2021-12-02&sig=x%3D");
  const auto emulator = ParseConnectionString("UseDevelopmentStorage=true");
  ASSERT_TRUE(emulator.ok());
  EXPECT_EQ(emulator.value().endpoint, "http://127.0.0.1:10000/devstoreaccount1");
  for (const char* bad : {"hush", "AccountKey=hush", "AccountName=acc", "AccountName=acc;hush"}) {
    const auto parsed = ParseConnectionString(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_THAT(parsed.error().message(), Not(HasSubstr("hush")));
  }
}

TEST(SasTimes, AsTheTokenSays) {
  const struct {
    const char* token;
    const char* starts_at;
    const char* expires_at;
  } cases[] = {
      {"sp=r&st=2026-01-02T03:04:05Z&se=2030-01-01T00:00:00Z&sig=x", "2026-01-02T03:04:05Z",
       "2030-01-01T00:00:00Z"},
      {"se=2030-01-01T00%3A00%3A00Z&sig=x", "", "2030-01-01T00:00:00Z"},
      {"?se=2030-01-01T10%3a20Z", "", "2030-01-01T10:20:00Z"},
      {"se=2030-01-01", "", "2030-01-01T00:00:00Z"},
      {"si=policy&sig=x", "", ""},
      {"se=soon&st=", "", ""},
  };
  const auto text = [](const std::optional<WallTime>& time) {
    return time ? FormatTimestampSeconds(*time) : "";
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.token);
    const SasTimes times = TimesOfSas(c.token);
    EXPECT_EQ(text(times.starts_at), c.starts_at);
    EXPECT_EQ(text(times.expires_at), c.expires_at);
  }
}

}  // namespace
}  // namespace litestream::abs
