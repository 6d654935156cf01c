#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backend/oss/oss_client.h"
#include "http/crc64.h"
#include "tests/contract/bodies.h"
#include "tests/contract/bucket_server.h"
#include "tests/support/oss_test_server.h"

// What the contract says nothing about, against a server that checks what OSS checks.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::HasSubstr;

const Context kNever = Context::Background();

std::unique_ptr<ReplicaClient> Connect(const oss::Options& options) {
  auto client = MakeOssClient(options, OssTestShared());
  EXPECT_TRUE(client.ok()) << client.error().message();
  return std::move(client).value();
}

oss::Options At(const std::string& name) {
  auto options = OssTestOptions();
  options.path = name + std::to_string(::getpid());
  options.retry.attempts = 1;
  return options;
}

TEST(OssServer, PartsOfEverySize) {
  const std::string content = MakeContent((17 << 20) + 3, 1);
  for (const std::uint64_t part_bytes :
       {oss::kMinPartBytes, oss::kMinPartBytes + 1, oss::kDefaultPartBytes}) {
    SCOPED_TRACE(part_bytes);
    auto options = At("parts");
    options.part_size_bytes = part_bytes;
    const auto client = Connect(options);
    contract::ExpectLargeFile(*client, content);
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
  EXPECT_EQ(contract::OpenUploads(*OssTestSession(OssTestOptions())), 0U);
}

TEST(OssServer, TheSumThatTheServerHasIsOurs) {
  const std::string content = MakeContent(7 << 20, 1);
  const auto options = At("sums");
  const auto client = Connect(options);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(9, 1, 1), content).ok());
  const auto head = OssTestSession(options)->Do(
      kNever,
      {.method = "HEAD", .key = options.path + "/0009/0000000000000001-0000000000000001.ltx"});
  ASSERT_TRUE(head.ok()) << head.error().message();
  EXPECT_EQ(cloud::CrcOf(head.value().headers), http::Crc64(0, content));
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(OssServer, AFailedUploadLeavesNothing) {
  contract::ExpectFailedUploadLeavesNothing(*Connect(At("failed")),
                                            *OssTestSession(OssTestOptions()));
}

TEST(OssServer, EverySpellingOfThePath) {
  contract::ExpectPaths({"", ".", "db/", "db", "a//b", "a b/%2F+", "é", "a?b#c&d=e;f"},
                        [](const char* path) {
                          auto options = OssTestOptions();
                          options.path = path;
                          return Connect(options);
                        });
}

TEST(OssServer, DeleteAllOfAWholeBucketLeavesWhatIsNoFileOfTheReplica) {
  auto options = At("keep");
  const auto other = Connect(options);
  ASSERT_TRUE(WriteFile(kNever, *other, Id(0, 1, 1), "stays").ok());
  options.path = "";
  const auto whole = Connect(options);
  ASSERT_TRUE(WriteFile(kNever, *whole, Id(9, 1, 1), "goes").ok());
  ASSERT_TRUE(whole->DeleteAll(kNever).ok());
  EXPECT_EQ(whole->List(kNever, kSnapshotLevel, {}).value().size(), 0U);
  EXPECT_EQ(ReadFile(kNever, *other, Id(0, 1, 1)).value(), "stays");
  EXPECT_TRUE(other->DeleteAll(kNever).ok());
}

// A bucket that keeps old versions ignores the header that forbids to replace.
TEST(OssServer, ABucketWithVersions) {
  auto options = At("versions");
  options.bucket = OssTestSetting("VERSIONED_BUCKET");
  const auto client = Connect(options);
  for (const std::size_t size : {std::size_t{5}, std::size_t{7} << 20}) {
    SCOPED_TRACE(size);
    const FileId id = Id(9, size, size);
    ASSERT_TRUE(WriteFile(kNever, *client, id, MakeContent(size, 1), {.if_absent = true}).ok());
    const auto again = WriteFile(kNever, *client, id, MakeContent(size, 2), {.if_absent = true});
    ASSERT_FALSE(again.ok());
    EXPECT_EQ(again.error().code(), ErrorCode::kAlreadyExists);
    EXPECT_TRUE(ReadFile(kNever, *client, id).value() == MakeContent(size, 1));
  }
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(OssServer, TemporaryKeys) {
  auto options = At("sts");
  options.access_key_id = OssTestSetting("STS_KEY");
  options.secret_access_key = OssTestSetting("STS_SECRET");
  options.session_token = OssTestSetting("STS_TOKEN");
  const auto client = Connect(options);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(OssServer, WhatIsWrongIsSaid) {
  const auto list = [](const oss::Options& options) {
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
  options.session_token = "another";
  EXPECT_THAT(list(options).message(), HasSubstr("get new credentials"));
  options = At("wrong");
  options.region = "eu-central-1";
  EXPECT_EQ(list(options).code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(list(options).message(), HasSubstr("set `region` to that of bucket"));
  options = At("wrong");
  options.bucket = "missing";
  EXPECT_EQ(list(options).code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(list(options).message(), HasSubstr("create the bucket"));
  const auto client = Connect(options);
  const auto read = ReadFile(kNever, *client, Id(0, 1, 1));
  EXPECT_EQ(read.error().code(), ErrorCode::kInvalidArgument) << "a missing bucket is no empty one";
  const auto written = WriteFile(kNever, *client, Id(0, 1, 1), "x", {.if_absent = true});
  EXPECT_EQ(written.error().code(), ErrorCode::kInvalidArgument)
      << "told by a HEAD, without a body";
}

TEST(OssServer, AClockThatIsAnHourSlow) {
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
