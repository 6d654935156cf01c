#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backend/s3/s3_client.h"
#include "http/digest.h"
#include "tests/contract/bodies.h"
#include "tests/contract/bucket_server.h"
#include "tests/support/s3_test_server.h"

// What the contract says nothing about, against the real server.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::HasSubstr;

const Context kNever = Context::Background();

std::unique_ptr<ReplicaClient> Connect(const s3::Options& options) {
  auto client = MakeS3Client(options, S3TestShared());
  EXPECT_TRUE(client.ok()) << client.error().message();
  return std::move(client).value();
}

s3::Options At(const std::string& name) {
  auto options = S3TestOptions();
  options.path = name + std::to_string(::getpid());
  options.retry.attempts = 1;
  return options;
}

TEST(S3Server, PartsWithAndWithoutOurKey) {
  const std::string content = MakeContent((17 << 20) + 3, 1);
  for (const bool with_key : {false, true}) {
    SCOPED_TRACE(with_key);
    auto options = At("parts");
    if (with_key) options.encryption.customer_key = http::Base64(std::string(32, 'k'));
    const auto client = Connect(options);
    contract::ExpectLargeFile(*client, content);
    if (with_key) {
      EXPECT_FALSE(ReadFile(kNever, *Connect(At("parts")), Id(9, 1, 1)).ok()) << "without the key";
    }
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
}

TEST(S3Server, AFailedUploadLeavesNothing) {
  s3::Session session(S3TestOptions(), S3TestShared());
  contract::ExpectFailedUploadLeavesNothing(*Connect(At("failed")), session);
}

TEST(S3Server, EverySpellingOfThePath) {
  contract::ExpectPaths({"", ".", "/", "db/", "/db", "a//b", "a b/%2F+", "é"},
                        [](const char* path) {
                          auto options = S3TestOptions();
                          options.path = path;
                          return Connect(options);
                        });
}

TEST(S3Server, UnsignedPayload) {
  auto options = At("unsigned");
  options.sign_payload = false;
  const auto client = Connect(options);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(S3Server, WhatIsWrongIsSaid) {
  const auto list = [](const s3::Options& options) {
    const auto listed = Connect(options)->List(kNever, kLevel0, {});
    return listed.ok() ? Error(ErrorCode::kInternal, "no error") : listed.error();
  };
  auto options = At("wrong");
  options.secret_access_key = "another";
  EXPECT_EQ(list(options).code(), ErrorCode::kDenied);
  EXPECT_THAT(list(options).message(), HasSubstr("the secret-access-key is wrong"));
  options = At("wrong");
  options.access_key_id = "another";
  EXPECT_THAT(list(options).message(), HasSubstr("does not know this access-key-id"));
  options = At("wrong");
  options.bucket = "missing";
  EXPECT_EQ(list(options).code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(list(options).message(), HasSubstr("create the bucket"));
  const auto read = ReadFile(kNever, *Connect(options), Id(0, 1, 1));
  EXPECT_EQ(read.error().code(), ErrorCode::kInvalidArgument) << "a missing bucket is no empty one";
}

TEST(S3Server, AClockThatIsAnHourSlow) {
  const contract::SlowClock clock;
  auto options = At("clock");
  options.clock = &clock;
  const auto client = Connect(options);
  const auto written = WriteFile(kNever, *client, Id(0, 1, 1), "x");
  EXPECT_TRUE(written.ok()) << written.error().message();
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

}  // namespace
}  // namespace litestream
