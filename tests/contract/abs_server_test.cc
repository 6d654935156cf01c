#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backend/abs/abs_client.h"
#include "backend/abs/upload.h"
#include "http/digest.h"
#include "http/xml.h"
#include "tests/contract/bodies.h"
#include "tests/support/abs_test_server.h"

// What the contract says nothing about, against the real server.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();

std::unique_ptr<ReplicaClient> Connect(const abs::Options& options) {
  auto client = MakeAbsClient(options, AbsTestShared());
  EXPECT_TRUE(client.ok()) << client.error().message();
  return std::move(client).value();
}

abs::Options At(const std::string& name) {
  auto options = AbsTestOptions();
  options.path = name + std::to_string(::getpid());
  options.retry.attempts = 1;
  return options;
}

http::Response Do(const abs::Options& options, const abs::Call& call) {
  abs::Session session(options, abs::MakeAddress(options).value(), AbsTestShared());
  auto answer = session.Do(kNever, call);
  EXPECT_TRUE(answer.ok()) << answer.error().message();
  return answer.ok() ? std::move(answer).value() : http::Response();
}

std::string BlobName(const abs::Options& options) {
  return options.path + "/ltx/9/0000000000000001-0000000000000001.ltx";
}

// A shared access signature of the container. Source: learn.microsoft.com, "Create a service SAS",
// version 2020-12-06 and later.
std::string MakeSas(const std::string& permissions, const std::string& expires) {
  const std::string text = permissions + "\n2020-01-01T00:00:00Z\n" + expires + "\n/blob/" +
                           AbsTestSetting("LITESTREAM_TEST_ABS_ACCOUNT") + "/" +
                           AbsTestSetting("LITESTREAM_TEST_ABS_CONTAINER") +
                           "\n\n\n\n2021-12-02\nc\n\n\n\n\n\n\n";
  const std::string key = *http::FromBase64(AbsTestSetting("LITESTREAM_TEST_ABS_KEY"));
  return "sv=2021-12-02&sr=c&st=2020-01-01T00%3A00%3A00Z&se=" + http::EscapeComponent(expires) +
         "&sp=" + permissions +
         "&sig=" + http::EscapeComponent(http::Base64(http::HmacSha256(key, text)));
}

TEST(AbsServer, LargeFiles) {
  auto options = At("large");
  const auto client = Connect(options);
  const std::string content = MakeContent((45 << 20) + 3, 1);
  for (const bool known : {false, true}) {
    SCOPED_TRACE(known);
    const auto info = WriteFile(
        kNever, *client, Id(9, 1, 1), content,
        {.created_at = WallTime(std::chrono::milliseconds(1'767'323'045'670)),
         .size_bytes = known ? std::optional<std::uint64_t>(content.size()) : std::nullopt});
    ASSERT_TRUE(info.ok()) << info.error().message();
    const auto all = ReadFile(kNever, *client, Id(9, 1, 1));
    ASSERT_TRUE(all.ok()) << all.error().message();
    EXPECT_EQ(http::Hex(http::Sha256(all.value())), http::Hex(http::Sha256(content)));
  }
  const auto files = client->List(kNever, kSnapshotLevel, {.exact_times = true});
  ASSERT_TRUE(files.ok()) << files.error().message();
  ASSERT_EQ(files.value().size(), 1U);
  EXPECT_EQ(files.value()[0].size_bytes, content.size());
  EXPECT_EQ(files.value()[0].created_at.time_since_epoch().count(), 1'767'323'045'670);
  const auto again = WriteFile(kNever, *client, Id(9, 1, 1), content, {.if_absent = true});
  EXPECT_TRUE(!again.ok() && again.error().Is(ErrorCode::kAlreadyExists));
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

// Two that are written in blocks at the same time, to one name, each with if_absent: the answer to
// the last request decides.
TEST(AbsServer, IfAbsentCountsForTheListOfBlocks) {
  const auto options = At("absent");
  abs::Session session(options, abs::MakeAddress(options).value(), AbsTestShared());
  const std::string content = MakeContent(20 << 20, 1);
  bool raced = false;
  contract::TextThenSource body(content, [&]() -> Result<std::size_t> {
    if (!raced) {
      raced = true;
      EXPECT_TRUE(WriteFile(kNever, *Connect(options), Id(9, 1, 1), "the first").ok());
    }
    return std::size_t{0};
  });
  const auto late = abs::Upload(
      kNever, session, {.blob = BlobName(options), .headers = {}, .if_absent = true}, body);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(ReadFile(kNever, *Connect(options), Id(9, 1, 1)).value(), "the first");
  EXPECT_TRUE(Connect(options)->DeleteAll(kNever).ok());
}

TEST(AbsServer, AFailedUploadIsNoBlob) {
  const auto options = At("failed");
  const auto client = Connect(options);
  const auto try_to_write = [&] {
    contract::TextThenSource broken(MakeContent(20 << 20, 1),
                                    [] { return Error(ErrorCode::kIo, "the disk is gone"); });
    const auto failed = client->Write(kNever, Id(9, 1, 1), broken, {});
    ASSERT_FALSE(failed.ok());
    EXPECT_EQ(failed.error().code(), ErrorCode::kIo);
  };
  try_to_write();
  EXPECT_EQ(client->List(kNever, kSnapshotLevel, {}).value().size(), 0U);
  const auto read = ReadFile(kNever, *client, Id(9, 1, 1));
  EXPECT_TRUE(!read.ok() && read.error().Is(ErrorCode::kNotFound)) << read.error().message();
  // Over one that is there.
  ASSERT_TRUE(WriteFile(kNever, *client, Id(9, 1, 1), "the old one").ok());
  try_to_write();
  EXPECT_EQ(ReadFile(kNever, *client, Id(9, 1, 1)).value(), "the old one");
  // Blocks of the attempts that failed do not get into the next.
  const std::string content = MakeContent(17 << 20, 2);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(9, 1, 1), content).ok());
  EXPECT_TRUE(ReadFile(kNever, *client, Id(9, 1, 1)).value() == content);
  const auto blocks = Do(options, {.blob = BlobName(options),
                                   .query = {{"comp", "blocklist"}, {"blocklisttype", "all"}}});
  EXPECT_THAT(blocks.body, Not(HasSubstr("<UncommittedBlocks><Block>")));
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(AbsServer, EverySpellingOfThePath) {
  for (const char* path : {"", ".", "/", "db/", "/db", "a//b", "a b/%2F+", "é", "a?b#c&d=e"}) {
    SCOPED_TRACE(path);
    auto options = AbsTestOptions();
    options.path = path;
    const auto client = Connect(options);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), path).ok());
    EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), path);
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 1U);
    ASSERT_TRUE(client->DeleteAll(kNever).ok());
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 0U);
  }
}

TEST(AbsServer, BlobsOfOtherVersionsHaveTheServersTime) {
  const auto options = At("old");
  Do(options, {.method = "PUT",
               .blob = BlobName(options),
               .headers = {{"x-ms-blob-type", "BlockBlob"}, {"x-ms-access-tier", "Hot"}},
               .body = std::make_shared<const std::string>("x")});
  const auto files = Connect(options)->List(kNever, kSnapshotLevel, {.exact_times = true});
  ASSERT_EQ(files.value().size(), 1U);
  EXPECT_GT(files.value()[0].created_at, WallTime(std::chrono::milliseconds(1'600'000'000'000)));
  EXPECT_TRUE(Connect(options)->DeleteAll(kNever).ok());
}

TEST(AbsServer, SasTokens) {
  auto options = At("sas");
  options.account_key.clear();
  options.sas_token = "?" + MakeSas("racwdl", "2090-01-01T00:00:00Z");
  const auto client = Connect(options);
  const auto written = WriteFile(kNever, *client, Id(9, 1, 1), MakeContent(17 << 20, 1));
  ASSERT_TRUE(written.ok()) << written.error().message();
  EXPECT_EQ(client->List(kNever, kSnapshotLevel, {}).value().size(), 1U);
  EXPECT_TRUE(ReadFile(kNever, *client, Id(9, 1, 1)).ok());
  const auto tag = client->PutObject(kNever, "lock.json", "{}", "");
  ASSERT_TRUE(tag.ok()) << tag.error().message();
  EXPECT_TRUE(client->DeleteObject(kNever, "lock.json", tag.value()).ok());
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
  const struct {
    std::string token;
    const char* advice;
  } cases[] = {
      {MakeSas("racwdl", "2026-01-01T00:00:00Z"), "has expired at 2026-01-01T00:00:00Z"},
      {MakeSas("racwdl", "2090-01-01T00:00:00Z") + "x", "the SAS token"},
      {MakeSas("r", "2090-01-01T00:00:00Z"), "sp=rcwdl"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.advice);
    options.sas_token = c.token;
    const auto listed = Connect(options)->List(kNever, kLevel0, {});
    ASSERT_FALSE(listed.ok());
    EXPECT_EQ(listed.error().code(), ErrorCode::kDenied);
    EXPECT_THAT(listed.error().message(), HasSubstr(c.advice));
    EXPECT_THAT(listed.error().message(), Not(HasSubstr("sig=")));
  }
}

TEST(AbsServer, WhatIsWrongIsSaid) {
  const auto list = [](const abs::Options& options) {
    const auto listed = Connect(options)->List(kNever, kLevel0, {});
    return listed.ok() ? Error(ErrorCode::kInternal, "no error") : listed.error();
  };
  auto options = At("wrong");
  options.account_key = http::Base64("another");
  EXPECT_EQ(list(options).code(), ErrorCode::kDenied);
  // Azure says AuthenticationFailed.
  EXPECT_THAT(list(options).message(), HasSubstr("account-key is that of account devstore"));
  options = At("wrong");
  options.container = "missing";
  EXPECT_EQ(list(options).code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(list(options).message(), HasSubstr("create the container"));
  const auto missing = Connect(options);
  const auto read = ReadFile(kNever, *missing, Id(0, 1, 1));
  EXPECT_EQ(read.error().code(), ErrorCode::kInvalidArgument) << "it is no empty one";
  const FileId ids[] = {Id(0, 1, 1)};
  EXPECT_EQ(missing->Delete(kNever, ids).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(missing->GetObject(kNever, "lock.json").error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(WriteFile(kNever, *missing, Id(0, 1, 1), "x", {.if_absent = true}).error().code(),
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace litestream
