#include "cloud/temporary_keys.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_dir.h"

namespace litestream::cloud {
namespace {

using ::testing::HasSubstr;

TEST(TemporaryKeysTest, OfJson) {
  const auto aws = ParseJsonKeys(R"({"AccessKeyId":"a","SecretAccessKey":"b","Token":"c",)"
                                 R"("Expiration":"2026-01-02T03:04:05Z"})",
                                 kAwsNames);
  ASSERT_TRUE(aws.ok()) << aws.error().message();
  EXPECT_EQ(aws.value().secret, (http::SigningKeys{"a", "b", "c"}));
  EXPECT_EQ(aws.value().expires_at, WallTime(std::chrono::seconds(1'767'323'045)));
  const auto inside = ParseJsonKeys(
      R"({"Credentials":{"AccessKeyId":"a","AccessKeySecret":"b","SecurityToken":"c"}})",
      kAlibabaNames);
  ASSERT_TRUE(inside.ok()) << inside.error().message();
  EXPECT_EQ(inside.value().secret, (http::SigningKeys{"a", "b", "c"}));
  EXPECT_FALSE(inside.value().expires_at.has_value());
}

TEST(TemporaryKeysTest, OfWhatIsNone) {
  const struct {
    const char* text;
    ErrorCode code;
    const char* said;
  } cases[] = {
      {"", ErrorCode::kUnavailable, "not JSON"},
      {"[1]", ErrorCode::kUnavailable, "not JSON"},
      {"{}", ErrorCode::kDenied, "the answer has no keys"},
      {R"({"AccessKeyId":"a","SecretAccessKey":1})", ErrorCode::kDenied, "has no keys"},
      {R"({"AccessKeyId":"a","AccessKeySecret":"b"})", ErrorCode::kDenied, "has no keys"},
      {R"({"Code":"Failed","Message":"m\nn"})", ErrorCode::kDenied,
       "the service says Failed (m n)"},
      {R"({"AccessKeyId":"a","SecretAccessKey":"b","Expiration":"soon"})",
       ErrorCode::kInvalidArgument, "when they expire"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto keys = ParseJsonKeys(c.text, kAwsNames);
    ASSERT_FALSE(keys.ok());
    EXPECT_EQ(keys.error().code(), c.code) << keys.error().message();
    EXPECT_THAT(keys.error().message(), HasSubstr(c.said));
  }
}

TEST(TemporaryKeysTest, TokensEndBeforeTheirLine) {
  const TestDir directory;
  std::ofstream(directory / "token") << "a b\n\r\n";
  EXPECT_EQ(ReadToken(Env::Real(), (directory / "token").native()).value(), "a b");
  EXPECT_FALSE(ReadToken(Env::Real(), (directory / "none").native()).ok());
}

TEST(TemporaryKeysTest, TheMachineIsAskedLast) {
  const auto found = KeysOfMachine(false, "do this", [] {
    return Result<TemporaryKeys>(TemporaryKeys{.secret = {"a", "b", ""}, .expires_at = {}});
  });
  EXPECT_TRUE(found.ok());
  const auto none = KeysOfMachine(false, "do this", [] {
    return Result<TemporaryKeys>(Error(ErrorCode::kUnavailable, "nobody answers"));
  });
  EXPECT_EQ(none.error().code(), ErrorCode::kDenied);
  EXPECT_EQ(none.error().message(), "no credentials: do this (nobody answers)");
  const auto stopped = KeysOfMachine(false, "do this", [] {
    return Result<TemporaryKeys>(Error(ErrorCode::kCancelled, "stopped"));
  });
  EXPECT_EQ(stopped.error().code(), ErrorCode::kCancelled);
  const auto off = KeysOfMachine(true, "do this", []() -> Result<TemporaryKeys> {
    ADD_FAILURE() << "is switched off";
    return Error(ErrorCode::kInternal, "");
  });
  EXPECT_THAT(off.error().message(), HasSubstr("the metadata service is switched off"));
}

}  // namespace
}  // namespace litestream::cloud
