#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backend/webdav/resources.h"
#include "backend/webdav/webdav_client.h"
#include "http/digest.h"
#include "tests/contract/bodies.h"
#include "tests/support/webdav_test_server.h"

// What the contract says nothing about, against the real servers.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();
constexpr WallTime kCreated{std::chrono::milliseconds(1'767'323'045'670)};

std::unique_ptr<ReplicaClient> Connect(const webdav::Options& options) {
  auto client = MakeWebdavClient(options, WebdavTestHttp());
  EXPECT_TRUE(client.ok()) << client.error().message();
  return std::move(client).value();
}

// A folder of its own, and no second attempts.
webdav::Options At(webdav::Options options, const std::string& name) {
  options.path = name + std::to_string(::getpid());
  options.retry.attempts = 1;
  return options;
}

std::vector<std::pair<std::string, webdav::Options>> Servers(const std::string& name) {
  return {{"apache, basic", At(ApacheOptions("/basic"), name)},
          {"apache, digest", At(ApacheOptions("/digest"), name)},
          {"rclone", At(RcloneOptions(), name)}};
}

// Everything in the folder of a level, temporary files as well.
std::size_t Members(const webdav::Options& options, const std::string& folder) {
  const webdav::Location location = webdav::MakeLocation(options).value();
  webdav::Session session(options, location, WebdavTestHttp());
  const auto members = webdav::ListMembers(kNever, session, location.root + folder);
  EXPECT_TRUE(members.ok()) << members.error().message();
  return members.value() ? members.value()->size() : 0;
}

TEST(WebdavServer, LargeFilesOfKnownAndUnknownSize) {
  const std::string content = MakeContent((40 << 20) + 3, 1);
  const std::string sum = http::Sha256(content);
  for (const auto& [name, options] : Servers("large")) {
    SCOPED_TRACE(name);
    const auto client = Connect(options);
    for (const bool known : {false, true}) {
      const auto info = WriteFile(
          kNever, *client, Id(9, 1, 1), content,
          {.created_at = kCreated,
           .size_bytes = known ? std::optional<std::uint64_t>(content.size()) : std::nullopt});
      ASSERT_TRUE(info.ok()) << info.error().message();
      const auto all = ReadFile(kNever, *client, Id(9, 1, 1));
      ASSERT_TRUE(all.ok()) << all.error().message();
      EXPECT_EQ(http::Sha256(all.value()), sum);
      EXPECT_EQ(Members(options, "ltx/9/"), 1U);
    }
    const auto again = WriteFile(kNever, *client, Id(9, 1, 1), content,
                                 {.size_bytes = content.size(), .if_absent = true});
    EXPECT_TRUE(!again.ok() && again.error().Is(ErrorCode::kAlreadyExists));
    EXPECT_EQ(Members(options, "ltx/9/"), 1U);
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
}

TEST(WebdavServer, AFailedUploadLeavesNothing) {
  for (const auto& [name, options] : Servers("failed")) {
    SCOPED_TRACE(name);
    const auto client = Connect(options);
    for (const bool known : {false, true}) {
      contract::TextThenSource broken(MakeContent(12 << 20, 1),
                                      [] { return Error(ErrorCode::kIo, "the disk is gone"); });
      WriteOptions write;
      if (known) write.size_bytes = 20 << 20;
      const auto failed = client->Write(kNever, Id(9, 1, 1), broken, write);
      ASSERT_FALSE(failed.ok());
      EXPECT_EQ(failed.error().code(), ErrorCode::kIo) << failed.error().message();
      EXPECT_EQ(Members(options, "ltx/9/"), 0U);
    }
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
}

TEST(WebdavServer, EverySpellingOfThePath) {
  const std::string own = "spelling" + std::to_string(::getpid());
  for (const std::string& path :
       {own, "/" + own, own + "/", own + "//a/./b", own + "/a b/%2F+", own + "/\xC3\xA9",
        own + "/&<>'\"#?;:@=", own + "/%61", own + "/a\\b~!$*(),[]|"}) {
    for (auto [name, options] : Servers("")) {
      SCOPED_TRACE(name + " " + path);
      options.path = path;
      const auto client = Connect(options);
      const auto written = WriteFile(kNever, *client, Id(0, 1, 1), path, {.created_at = kCreated});
      ASSERT_TRUE(written.ok()) << written.error().message();
      EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), path);
      const auto listed = client->List(kNever, kLevel0, {});
      ASSERT_TRUE(listed.ok()) << listed.error().message();
      ASSERT_EQ(listed.value().size(), 1U);
      ASSERT_TRUE(client->DeleteAll(kNever).ok());
      EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 0U);
    }
  }
}

// The same place, named by the URL or by the path.
TEST(WebdavServer, ThePathMayStandInTheUrl) {
  auto options = At(ApacheOptions("/basic"), "a b%/\xC3\xA9");
  const auto one = Connect(options);
  ASSERT_TRUE(WriteFile(kNever, *one, Id(0, 1, 1), "x").ok());
  auto other = options;
  other.url = ApacheOptions("").url;
  other.path = "basic/" + options.path;
  EXPECT_EQ(ReadFile(kNever, *Connect(other), Id(0, 1, 1)).value(), "x");
  other.url = ApacheOptions("/basic/a%20b%25/%C3%A9").url + std::to_string(::getpid()) + "/";
  other.path = "";
  EXPECT_EQ(ReadFile(kNever, *Connect(other), Id(0, 1, 1)).value(), "x");
  EXPECT_TRUE(one->DeleteAll(kNever).ok());
}

// Apache keeps properties, rclone does not: there the header of the file is read.
TEST(WebdavServer, TimesAreKept) {
  for (const auto& [name, options] : Servers("times")) {
    SCOPED_TRACE(name);
    const auto client = Connect(options);
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), contract::MakeFileOf(kCreated),
                          {.created_at = kCreated})
                    .ok());
    const auto exact = client->List(kNever, kLevel0, {.exact_times = true});
    ASSERT_TRUE(exact.ok()) << exact.error().message();
    EXPECT_EQ(exact.value().at(0).created_at, kCreated);
    const auto cheap = client->List(kNever, kLevel0, {}).value().at(0).created_at;
    if (name == "rclone") {
      EXPECT_LT(Clock::Real().Now() - cheap, std::chrono::hours(1));
    } else {
      EXPECT_EQ(cheap, kCreated);
    }
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
}

Error ListError(const webdav::Options& options) {
  const auto listed = Connect(options)->List(kNever, kLevel0, {});
  return listed.ok() ? Error(ErrorCode::kInternal, "no error") : listed.error();
}

TEST(WebdavServer, WrongCredentials) {
  for (auto [name, options] : Servers("wrong")) {
    SCOPED_TRACE(name);
    options.password = "an0ther";
    const Error wrong = ListError(options);
    EXPECT_EQ(wrong.code(), ErrorCode::kDenied);
    EXPECT_THAT(wrong.message(), HasSubstr("webdav-username or webdav-password is wrong"));
    EXPECT_THAT(wrong.message(), Not(HasSubstr("an0ther")));
    const auto written = WriteFile(kNever, *Connect(options), Id(0, 1, 1), "x");
    EXPECT_TRUE(!written.ok() && written.error().Is(ErrorCode::kDenied));
    options.username = "nobody";
    EXPECT_EQ(ListError(options).code(), ErrorCode::kDenied);
    options.username = options.password = "";
    const Error none = ListError(options);
    EXPECT_EQ(none.code(), ErrorCode::kDenied);
    EXPECT_THAT(none.message(), HasSubstr("set webdav-username and webdav-password"));
  }
}

TEST(WebdavServer, WhatIsWrongIsSaid) {
  auto missing = At(ApacheOptions("/basic/missing"), "x");
  EXPECT_EQ(ListError(missing).code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(ListError(missing).message(), HasSubstr("create the folder"));
  auto written = WriteFile(kNever, *Connect(missing), Id(0, 1, 1), "x");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(written.error().message(), HasSubstr("create the folder"));
  missing = At(RcloneOptions(), "x");
  missing.url += "/missing";
  EXPECT_EQ(ListError(missing).code(), ErrorCode::kInvalidArgument);

  const auto plain = At(ApacheOptions("/plain"), "x");
  EXPECT_EQ(ListError(plain).code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(ListError(plain).message(), HasSubstr("does not speak WebDAV"));

  const auto frozen = At(ApacheOptions("/frozen"), "x");
  EXPECT_TRUE(Connect(frozen)->List(kNever, kLevel0, {}).ok());
  written = WriteFile(kNever, *Connect(frozen), Id(0, 1, 1), "x");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), ErrorCode::kDenied);
  EXPECT_THAT(written.error().message(), HasSubstr("may list, read, write"));

  const auto limited = At(ApacheOptions("/limited"), "limited");
  const auto client = Connect(limited);
  EXPECT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
  for (const bool known : {false, true}) {
    const std::string large = MakeContent(3'000'000, 1);
    WriteOptions options;
    if (known) options.size_bytes = large.size();
    written = WriteFile(kNever, *client, Id(0, 2, 2), large, options);
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code(), ErrorCode::kInvalidArgument) << written.error().message();
    EXPECT_THAT(written.error().message(), HasSubstr("LimitRequestBody"));
    EXPECT_EQ(Members(limited, "ltx/0/"), 1U);
  }
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

// Apache looks at a condition and acts in two steps, which others can come between: of eight MOVEs
// with "Overwrite: F" at the same moment several succeed, and of several LOCKs too.
TEST(WebdavServer, NoConditionalWrites) {
  for (const auto& [name, options] : Servers("lease")) {
    SCOPED_TRACE(name);
    const auto client = Connect(options);
    const auto put = client->PutObject(kNever, "lock.json", "x", "");
    ASSERT_FALSE(put.ok());
    EXPECT_EQ(put.error().code(), ErrorCode::kUnsupported);
    EXPECT_THAT(put.error().message(), HasSubstr("lease: off"));
    EXPECT_EQ(client->GetObject(kNever, "lock.json").error().code(), ErrorCode::kUnsupported);
    EXPECT_EQ(client->DeleteObject(kNever, "lock.json", "").error().code(),
              ErrorCode::kUnsupported);
  }
}

TEST(WebdavServer, ManyConnectionsUnderDigest) {
  const auto options = At(ApacheOptions("/digest"), "many");
  const auto client = Connect(options);
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 1; i <= 16; ++i) {
    threads.emplace_back([&client, i] {
      for (std::uint64_t n = 1; n <= 5; ++n) {
        const auto written = WriteFile(kNever, *client, Id(1, i * 100 + n, i * 100 + n), "x");
        EXPECT_TRUE(written.ok()) << written.error().message();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(client->List(kNever, Level{1}, {}).value().size(), 80U);
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

}  // namespace
}  // namespace litestream
