#include "backend/gs/gs_client.h"

#include <fstream>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_dir.h"
#include "http/digest.h"
#include "tests/contract/bodies.h"
#include "tests/support/fake_gcs.h"

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using ::testing::HasSubstr;
using ::testing::Not;
using Fault = FakeGcs::Fault;

const Context kNever = Context::Background();
constexpr WallTime kTime{std::chrono::milliseconds(1'767'323'045'678)};
constexpr std::string_view kFirst = "db/ltx/0/0000000000000001-0000000000000001.ltx";

// A server in this process, with faults, and clients of it.
class GsClientTest : public ::testing::Test {
 protected:
  GsClientTest()
      : server_([this](const ServedRequest& request, ServedPeer& peer) {
          gcs_.Handle(request, peer);
        }) {
    std::ofstream(directory_ / "key.json") << gcs_.tokens().ServiceAccountFile(server_.url());
    options_.bucket = FakeGcs::kBucket;
    options_.path = "db";
    options_.endpoint = server_.url();
    options_.chunk_bytes = 2 * gs::kChunkUnit;
    options_.retry = {.attempts = 4,
                      .first_delay = std::chrono::milliseconds(1),
                      .max_delay = std::chrono::milliseconds(2)};
  }

  std::unique_ptr<ReplicaClient> Connect() {
    const auto environment = [file = (directory_ / "key.json").native(),
                              this](std::string_view name) {
      if (name == "GOOGLE_CLOUD_QUOTA_PROJECT") return project_;
      return name == "GOOGLE_APPLICATION_CREDENTIALS" ? file : std::string();
    };
    auto client = MakeGsClient(
        options_, std::make_shared<gs::Shared>(std::make_shared<http::Client>(),
                                               gs::CredentialSources{.environment = environment}));
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }

  // From now on: the faults of requests that match, one after the other, then none.
  void Plan(bool (*matches)(const ServedRequest&), std::vector<Fault> faults) {
    const std::lock_guard lock(mu_);
    matches_ = matches;
    faults_ = std::move(faults);
    happened_ = 0;
  }
  std::size_t happened() {
    const std::lock_guard lock(mu_);
    return happened_;
  }
  static bool IsAny(const ServedRequest&) { return true; }
  static bool IsChunk(const ServedRequest& request) { return request.method == "PUT"; }
  static bool IsStart(const ServedRequest& request) {
    return request.target.find("uploadType=resumable&") == std::string::npos &&
           request.target.find("uploadType=resumable") != std::string::npos;
  }

  static Result<FileInfo> Write(ReplicaClient& client, const std::string& content,
                                bool if_absent = false) {
    return contract::WriteFile(kNever, client, Id(0, 1, 1), content,
                               {.created_at = kTime, .if_absent = if_absent});
  }
  std::uint64_t Asked(const std::string& kind) const {
    const auto counts = gcs_.requests();
    const auto found = counts.find(kind);
    return found == counts.end() ? 0 : found->second;
  }
  // What a file of some chunks comes to with these faults of its requests: "" if it is there.
  std::string UploadWith(std::vector<Fault> faults, bool if_absent = false) {
    const auto client = Connect();
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
    const std::string content = MakeContent(5 * options_.chunk_bytes / 2, faults.size());
    Plan(IsChunk, std::move(faults));
    const auto written = Write(*client, content, if_absent);
    EXPECT_EQ(happened(), faults_.size()) << "it has to happen to be a test";
    Plan(IsAny, {});
    EXPECT_EQ(gcs_.open_uploads(), 0U);
    const auto read = ReadFile(kNever, *client, Id(0, 1, 1));
    if (!written.ok()) {
      EXPECT_TRUE(!read.ok() && read.error().Is(ErrorCode::kNotFound));
      return std::string(ToString(written.error().code())) + " " + written.error().message();
    }
    EXPECT_EQ(written.value().size_bytes, content.size());
    EXPECT_TRUE(read.ok() && read.value() == content);
    EXPECT_EQ(gcs_.metadata(std::string(kFirst))["litestream-timestamp"],
              "2026-01-02T03:04:05.678Z");
    return "";
  }

  TestDir directory_;
  std::string project_;
  std::mutex mu_;
  bool (*matches_)(const ServedRequest&) = IsAny;
  std::vector<Fault> faults_;
  std::size_t happened_ = 0;
  FakeGcs gcs_{[this](const ServedRequest& request) {
    const std::lock_guard lock(mu_);
    if (happened_ == faults_.size() || !matches_(request)) return Fault::kNone;
    return faults_[happened_++];
  }};
  HttpServer server_;
  gs::Options options_;
};

TEST_F(GsClientTest, ASmallFileIsOneRequestWithItsTimeAndItsSum) {
  const auto client = Connect();
  const auto written = Write(*client, "--litestream-00000000-end\r\n");
  ASSERT_TRUE(written.ok()) << written.error().message();
  EXPECT_EQ(gcs_.requests(), (std::map<std::string, std::uint64_t>{{"INSERT", 1}}))
      << "and a token";
  EXPECT_EQ(gcs_.tokens().given_out(), 1);
  EXPECT_EQ(
      gcs_.metadata(std::string(kFirst)),
      (std::map<std::string, std::string>{{"litestream-timestamp", "2026-01-02T03:04:05.678Z"}}));
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), "--litestream-00000000-end\r\n");
}

TEST_F(GsClientTest, ALargeFileGoesInChunks) {
  EXPECT_EQ(UploadWith({}), "");
  EXPECT_EQ(Asked("CHUNK"), 3U);
  EXPECT_EQ(Asked("STATUS"), 0U);
}

TEST_F(GsClientTest, AChunkThatFailsGoesOnWhereTheServerIs) {
  for (const Fault fault : {Fault::kUnavailable, Fault::kThrottled, Fault::kLoseAnswer,
                            Fault::kKeepHalf, Fault::kKeepHalf503}) {
    SCOPED_TRACE(static_cast<int>(fault));
    EXPECT_EQ(UploadWith({fault}), "");
    EXPECT_EQ(UploadWith({Fault::kNone, fault}), "");
    EXPECT_EQ(UploadWith({Fault::kNone, Fault::kNone, fault}), "") << "the last one";
    // The question how far it is fails too.
    if (fault == Fault::kKeepHalf) continue;
    EXPECT_EQ(UploadWith({Fault::kNone, fault, Fault::kUnavailable}), "");
    EXPECT_EQ(UploadWith({Fault::kNone, Fault::kNone, fault, Fault::kLoseAnswer}), "");
  }
}

TEST_F(GsClientTest, ALostEndIsNoConflictWithOneself) {
  EXPECT_EQ(UploadWith({Fault::kNone, Fault::kNone, Fault::kLoseAnswer}, /*if_absent=*/true), "");
}

TEST_F(GsClientTest, AnUploadThatIsGoneBeginsAnewWhileItsBytesAreThere) {
  EXPECT_EQ(UploadWith({Fault::kForgetUpload}), "");
  EXPECT_THAT(UploadWith({Fault::kNone, Fault::kForgetUpload}),
              HasSubstr("unavailable gs: PUT litestream/db/ltx/0/0000000000000001-0000000000000001."
                        "ltx: the server does not know the upload any more"));
}

TEST_F(GsClientTest, AServerThatStaysAwayEndsTheUpload) {
  EXPECT_THAT(UploadWith(std::vector<Fault>(4, Fault::kUnavailable)),
              HasSubstr("unavailable after 4 attempts: gs: PUT litestream/db/ltx/0/"));
}

TEST_F(GsClientTest, ARefusalEndsTheUpload) {
  EXPECT_THAT(UploadWith({Fault::kNone, Fault::kForbidden}), HasSubstr("denied"));
}

TEST_F(GsClientTest, WhatWasDamagedOnItsWayIsNotThere) {
  // The server has another content than it thinks: only what it says of it tells.
  EXPECT_THAT(UploadWith({Fault::kNone, Fault::kNone, Fault::kDamage}),
              HasSubstr("unavailable gs: POST litestream/db/ltx/0/0000000000000001-"
                        "0000000000000001.ltx: the server stored"));
  const auto client = Connect();
  Plan(IsAny, {Fault::kDamage});
  const auto written = Write(*client, "content");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).error().code(), ErrorCode::kNotFound);
}

TEST_F(GsClientTest, WhatIsDamagedOnItsWayBackIsNoticed) {
  const auto client = Connect();
  const std::string content = MakeContent(100'000, 1);
  ASSERT_TRUE(Write(*client, content).ok());
  const ByteRange ranges[] = {{}, {.offset_bytes = 0, .length_bytes = content.size()}};
  for (const ByteRange& range : ranges) {
    Plan(IsAny, {Fault::kDamage});
    const auto read = ReadFile(kNever, *client, Id(0, 1, 1), range);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().code(), ErrorCode::kCorruption) << read.error().message();
  }
  Plan(IsAny, {});
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1), {.length_bytes = 10}).value(),
            content.substr(0, 10))
      << "a part has no sum";
  ASSERT_TRUE(client->PutObject(kNever, "lock.json", "{\"generation\":1}", "").ok());
  Plan(IsAny, {Fault::kDamage});
  EXPECT_EQ(client->GetObject(kNever, "lock.json").error().code(), ErrorCode::kCorruption);
}

TEST_F(GsClientTest, WhatMayWorkTheNextTimeIsTriedAgain) {
  const auto client = Connect();
  for (const Fault fault : {Fault::kUnavailable, Fault::kThrottled, Fault::kLoseAnswer}) {
    SCOPED_TRACE(static_cast<int>(fault));
    Plan(IsAny, {fault, fault});
    EXPECT_TRUE(Write(*client, "x").ok());
    Plan(IsAny, {fault, fault});
    EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).value(), "x");
    Plan(IsAny, {fault, fault});
    EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 1U);
    Plan(IsAny, {fault, fault});
    EXPECT_TRUE(client->Delete(kNever, std::vector{Id(0, 1, 1)}).ok());
    EXPECT_EQ(happened(), 2U);
  }
}

TEST_F(GsClientTest, ATokenThatIsRefusedIsReplacedOnce) {
  const auto client = Connect();
  ASSERT_TRUE(Write(*client, "x").ok());
  EXPECT_EQ(gcs_.tokens().given_out(), 1);
  gcs_.tokens().ExpireTokens();
  EXPECT_TRUE(Write(*client, "y").ok());
  EXPECT_EQ(gcs_.tokens().given_out(), 2);
  gcs_.tokens().ExpireTokens();
  EXPECT_TRUE(client->Delete(kNever, std::vector{Id(0, 1, 1)}).ok());
  EXPECT_EQ(gcs_.tokens().given_out(), 3);
  Plan(IsAny, std::vector<Fault>(9, Fault::kUnauthorized));
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_EQ(listed.error().code(), ErrorCode::kDenied);
  EXPECT_THAT(listed.error().message(), HasSubstr("the token was refused"));
  EXPECT_EQ(happened(), 2U);
  EXPECT_THAT(listed.error().message(), Not(HasSubstr("-secret")));
}

TEST_F(GsClientTest, ThreadsShareOneToken) {
  const auto client = Connect();
  std::atomic<int> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        if (!client->List(kNever, kLevel0, {}).ok()) ++failures;
      });
    }
  }
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(gcs_.tokens().given_out(), 1);
}

TEST_F(GsClientTest, NotEveryAnswerTellsWhatIsMissing) {
  Plan(IsAny, {Fault::kTextless404});
  EXPECT_EQ(Connect()->GetObject(kNever, "lock.json").error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Asked("LIST"), 1U) << "the bucket is there";
  Plan(IsAny, {Fault::kTextless404, Fault::kTextless404});
  const auto missing = Connect()->GetObject(kNever, "lock.json");
  EXPECT_EQ(missing.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(missing.error().message(), HasSubstr("create the bucket, or correct its name"));
  Plan(IsAny, {Fault::kTextless404});
  EXPECT_EQ(Connect()->List(kNever, kLevel0, {}).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(GsClientTest, WhoPaysIsNamed) {
  gcs_.set_user_project("who-pays");
  EXPECT_THAT(Connect()->List(kNever, kLevel0, {}).error().message(),
              HasSubstr("GOOGLE_CLOUD_QUOTA_PROJECT"));
  project_ = "who-pays";
  EXPECT_TRUE(Connect()->List(kNever, kLevel0, {}).ok());
}

TEST_F(GsClientTest, AnEmulatorGetsNoToken) {
  options_.anonymous = true;
  EXPECT_THAT(Connect()->List(kNever, kLevel0, {}).error().message(),
              HasSubstr("no credentials were sent"));
  gcs_.set_open(true);
  EXPECT_EQ(UploadWith({}), "");
  EXPECT_EQ(gcs_.tokens().given_out(), 0);
}

TEST_F(GsClientTest, ListsAreAskedForAsWanted) {
  std::vector<std::string> targets;
  HttpServer server([&](const ServedRequest& request, ServedPeer& peer) {
    targets.push_back(request.target);
    peer.Answer(200, {}, "{}");
  });
  options_.endpoint = server.url();
  options_.anonymous = true;
  const auto client = Connect();
  EXPECT_TRUE(client->List(kNever, kLevel0, {.seek = Txid{17}, .limit = 5}).ok());
  EXPECT_EQ(targets, std::vector<std::string>{
                         "/storage/v1/b/litestream/o?fields=nextPageToken%2Citems%28name%2Csize%2C"
                         "timeCreated%2Cmetadata%29&maxResults=5&prefix=db%2Fltx%2F0%2F&"
                         "startOffset=db%2Fltx%2F0%2F0000000000000011"});
}

TEST_F(GsClientTest, ListsThatMustNotBeBelieved) {
  std::string body;
  int asked = 0;
  HttpServer server([&](const ServedRequest&, ServedPeer& peer) {
    ++asked;
    peer.Answer(200, {}, body);
  });
  options_.endpoint = server.url();
  options_.anonymous = true;
  options_.retry.attempts = 1;
  const auto client = Connect();
  const std::string name = R"("name":"db/ltx/0/0000000000000001-0000000000000001.ltx")";
  for (const std::string& each :
       {std::string(""), std::string("<html>"), std::string("[]"), std::string(R"({"items":[{}]})"),
        R"({"items":[{)" + name + R"(,"size":"1x"}]})",
        std::string(R"({"items":[{"name":"other/ltx/0/x","size":"1"}]})"),
        R"({"items":[{)" + name + R"(,"size":"1"}],"nextPageToken":"same"})",
        std::string(R"({"nextPageToken":"same"})")}) {
    SCOPED_TRACE(each);
    body = each;
    EXPECT_EQ(client->List(kNever, kLevel0, {}).error().code(), ErrorCode::kUnavailable);
    EXPECT_EQ(client->DeleteAll(kNever).error().code(), ErrorCode::kUnavailable);
  }
  EXPECT_LT(asked, 30);
}

TEST_F(GsClientTest, ListsWithoutEnd) {
  int asked = 0;
  HttpServer server([&](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(200, {}, R"({"nextPageToken":"t)" + std::to_string(++asked) + R"("})");
  });
  options_.endpoint = server.url();
  options_.anonymous = true;
  EXPECT_EQ(Connect()->List(kNever, kLevel0, {}).error().code(), ErrorCode::kUnavailable);
  EXPECT_LT(asked, 1100);
}

TEST_F(GsClientTest, RangesThatAreNotTheOnesAskedFor) {
  std::vector<std::string> headers;
  int status = 200;
  HttpServer server(
      [&](const ServedRequest&, ServedPeer& peer) { peer.Answer(status, headers, "0123456789"); });
  options_.endpoint = server.url();
  options_.anonymous = true;
  const auto client = Connect();
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1), {.offset_bytes = 5}).error().code(),
            ErrorCode::kUnsupported);
  status = 206;
  headers = {"Content-Range: bytes 4-13/20"};
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1), {.offset_bytes = 5}).error().code(),
            ErrorCode::kUnsupported);
}

TEST_F(GsClientTest, AnUploadNeedsAPlace) {
  std::string location;
  HttpServer server([&](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(200, {"Location: " + location}, "{}");
  });
  options_.endpoint = server.url();
  options_.anonymous = true;
  options_.retry.attempts = 1;
  const auto client = Connect();
  for (const char* each : {"", "nowhere", "ftp://host/x"}) {
    location = each;
    EXPECT_THAT(Write(*client, MakeContent(2'000'000, 1)).error().message(),
                HasSubstr("does not say where to upload to"));
  }
}

TEST_F(GsClientTest, WhatIsCancelledEndsAtOnce) {
  HttpServer server([](const ServedRequest&, ServedPeer& peer) { peer.WaitForClose(); });
  options_.endpoint = server.url();
  options_.anonymous = true;
  const auto client = Connect();
  for (const std::size_t size : {100U, 2'000'000U}) {
    std::stop_source stop;
    const int before = server.requests();
    std::jthread stopper([&] {
      while (server.requests() == before) std::this_thread::yield();
      stop.request_stop();
    });
    const Context ctx(stop.get_token());
    const auto written = contract::WriteFile(ctx, *client, Id(0, 1, 1), MakeContent(size, 1));
    EXPECT_EQ(written.error().code(), ErrorCode::kCancelled) << written.error().message();
  }
}

TEST_F(GsClientTest, OptionsThatDoNotGoTogether) {
  const auto make = [](const gs::Options& options) {
    const auto made = MakeGsClient(
        options, std::make_shared<gs::Shared>(
                     std::make_shared<http::Client>(),
                     gs::CredentialSources{.environment = [](auto) { return std::string(); }}));
    return made.ok() ? std::string("ok") : made.error().message();
  };
  EXPECT_EQ(make({}), "gs: bucket name is required");
  EXPECT_EQ(make({.bucket = "b"}), "ok");
  EXPECT_EQ(make({.bucket = "b", .endpoint = "https://storage.me-central2.rep.googleapis.com/"}),
            "ok");
  EXPECT_THAT(make({.bucket = "b", .endpoint = "host:1"}), HasSubstr("is not http://HOST"));
  EXPECT_THAT(make({.bucket = "b", .endpoint = "https://host/path"}), HasSubstr("is not http"));
  EXPECT_THAT(make({.bucket = "b", .endpoint = "http://example.com"}),
              HasSubstr("secrets go over https only"));
  EXPECT_EQ(make({.bucket = "b", .endpoint = "http://example.com", .anonymous = true}), "ok");
  EXPECT_THAT(make({.bucket = "b", .chunk_bytes = 1000}), HasSubstr("multiple of 262144"));
}

}  // namespace
}  // namespace litestream
