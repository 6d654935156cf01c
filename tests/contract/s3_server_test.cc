#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backend/s3/s3_client.h"
#include "backend/s3/upload.h"
#include "http/digest.h"
#include "http/xml.h"
#include "tests/contract/bodies.h"
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

// Uploads that were begun in the bucket and neither completed nor aborted.
std::size_t OpenUploads() {
  s3::Session session(S3TestOptions(), S3TestShared());
  const auto answer = session.Do(kNever, {.query = {{"uploads", ""}}});
  EXPECT_TRUE(answer.ok()) << answer.error().message();
  const auto root = http::ParseXml(answer.value().body);
  EXPECT_TRUE(root.ok());
  return static_cast<std::size_t>(
      std::ranges::count(root.value().children, std::string("Upload"), &http::XmlElement::name));
}

TEST(S3Server, PartsWithAndWithoutOurKey) {
  const std::string content = MakeContent((17 << 20) + 3, 1);
  for (const bool with_key : {false, true}) {
    SCOPED_TRACE(with_key);
    auto options = At("parts");
    if (with_key) options.encryption.customer_key = http::Base64(std::string(32, 'k'));
    const auto client = Connect(options);
    for (const bool known : {false, true}) {
      const auto info = WriteFile(
          kNever, *client, Id(9, 1, 1), content,
          {.created_at = WallTime(std::chrono::milliseconds(1'767'323'045'670)),
           .size_bytes = known ? std::optional<std::uint64_t>(content.size()) : std::nullopt});
      ASSERT_TRUE(info.ok()) << info.error().message();
      const auto all = ReadFile(kNever, *client, Id(9, 1, 1));
      ASSERT_TRUE(all.ok()) << all.error().message();
      EXPECT_TRUE(all.value() == content);
    }
    const auto files = client->List(kNever, kSnapshotLevel, {.exact_times = true});
    ASSERT_TRUE(files.ok()) << files.error().message();
    ASSERT_EQ(files.value().size(), 1U);
    EXPECT_EQ(files.value()[0].size_bytes, content.size());
    EXPECT_EQ(files.value()[0].created_at.time_since_epoch().count(), 1'767'323'045'670);
    const auto again = WriteFile(kNever, *client, Id(9, 1, 1), content, {.if_absent = true});
    EXPECT_TRUE(!again.ok() && again.error().Is(ErrorCode::kAlreadyExists));
    if (with_key) {
      EXPECT_FALSE(ReadFile(kNever, *Connect(At("parts")), Id(9, 1, 1)).ok()) << "without the key";
    }
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
}

TEST(S3Server, AFailedUploadLeavesNothing) {
  const auto client = Connect(At("failed"));
  contract::TextThenSource broken(MakeContent(12 << 20, 1),
                                  [] { return Error(ErrorCode::kIo, "the disk is gone"); });
  const auto failed = client->Write(kNever, Id(9, 1, 1), broken, {});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kIo);
  EXPECT_EQ(OpenUploads(), 0U);
  EXPECT_EQ(client->List(kNever, kSnapshotLevel, {}).value().size(), 0U);
}

TEST(S3Server, EverySpellingOfThePath) {
  for (const char* path : {"", ".", "/", "db/", "/db", "a//b", "a b/%2F+", "é"}) {
    SCOPED_TRACE(path);
    auto options = S3TestOptions();
    options.path = path;
    const auto client = Connect(options);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), path).ok());
    EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), path);
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 1U);
    ASSERT_TRUE(client->DeleteAll(kNever).ok());
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 0U);
  }
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

// Its clock is an hour slow, and the server refuses that.
class SlowClock final : public Clock {
 public:
  WallTime Now() const override { return Clock::Real().Now() - std::chrono::hours(1); }
  MonoTime Monotonic() const override { return Clock::Real().Monotonic(); }
  void Wait(const std::stop_token& stop, std::chrono::nanoseconds duration) const override {
    Clock::Real().Wait(stop, duration);
  }
};

TEST(S3Server, AClockThatIsAnHourSlow) {
  const SlowClock clock;
  auto options = At("clock");
  options.clock = &clock;
  const auto client = Connect(options);
  const auto written = WriteFile(kNever, *client, Id(0, 1, 1), "x");
  EXPECT_TRUE(written.ok()) << written.error().message();
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

}  // namespace
}  // namespace litestream
