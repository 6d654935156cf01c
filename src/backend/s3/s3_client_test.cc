#include "backend/s3/s3_client.h"

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/digest.h"
#include "tests/contract/bodies.h"
#include "tests/support/answering_server.h"

// What real servers do now and then, and what none may do. That all is well with a server that
// behaves is shown by the contract suite, against a real one.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::TextSource;
using contract::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.ok()) << "should have failed";
  return result.ok() ? ErrorCode::kInternal : result.error().code();
}

std::string ErrorBody(std::string_view code) {
  return fmt::format("<Error><Code>{}</Code><Message>m</Message></Error>", code);
}

class S3ClientTest : public ::testing::Test {
 protected:
  std::unique_ptr<ReplicaClient> Connect(s3::Options options = {}) {
    options.endpoint = server_.url();
    options.bucket = "bkt";
    options.path = "db";
    if (!from_environment_) {
      options.access_key_id = "key";
      options.secret_access_key = "top-secret";
    }
    options.retry = {.attempts = 4,
                     .first_delay = std::chrono::milliseconds(1),
                     .max_delay = std::chrono::milliseconds(1)};
    auto client = MakeS3Client(options, shared_);
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }
  std::vector<std::string> Asked() const { return server_.Asked(); }

  bool from_environment_ = false;
  std::map<std::string, std::string> variables_;
  std::mutex mu_;
  AnsweringServer server_;
  AnsweringServer::Handler& answer_ = server_.answer;
  const std::shared_ptr<s3::Shared> shared_ = std::make_shared<s3::Shared>(
      std::make_shared<http::Client>(),
      s3::CredentialSources{
          .environment = [this](std::string_view name) { return variables_[std::string(name)]; }});
};

constexpr char kName1[] = "0000000000000001-0000000000000001.ltx";

// Of a service that has to be asked: with the same client as the bucket.
TEST_F(S3ClientTest, CredentialsOfAContainer) {
  from_environment_ = true;
  variables_ = {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server_.url() + "/creds"}};
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.target == "/creds") {
      return peer.Answer(200, {}, R"({"AccessKeyId":"ecs","SecretAccessKey":"s","Token":"t"})");
    }
    EXPECT_THAT(request.header("authorization"), HasSubstr("Credential=ecs/"));
    peer.Answer(200, {}, "<ListBucketResult></ListBucketResult>");
  };
  const auto listed = Connect()->List(kNever, kLevel0, {});
  EXPECT_TRUE(listed.ok()) << listed.error().message();
}

TEST_F(S3ClientTest, APutAsStockSendsIt) {
  answer_ = [](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    EXPECT_EQ(request.target, fmt::format("/bkt/db/0000/{}", kName1));
    EXPECT_EQ(request.header("content-type"), "application/octet-stream");
    EXPECT_EQ(request.header("content-length"), "5");
    EXPECT_EQ(request.header("x-amz-meta-litestream-timestamp"), "2026-01-02T03:04:05.678Z");
    EXPECT_EQ(request.header("x-amz-content-sha256"), http::Hex(http::Sha256("hello")));
    EXPECT_EQ(request.header("x-amz-storage-class"), "STANDARD_IA");
    EXPECT_EQ(request.header("if-none-match"), "");
    EXPECT_EQ(request.header("content-encoding"), "");
    EXPECT_EQ(request.header("transfer-encoding"), "");
    EXPECT_THAT(request.header("user-agent"), HasSubstr("litestream"));
    EXPECT_THAT(request.header("authorization"), Not(HasSubstr("accept")));
    for (const auto& [name, value] : request.headers) {
      EXPECT_THAT(name, Not(HasSubstr("encryption"))) << "not asked for";
    }
    EXPECT_EQ(body, "hello");
    peer.Answer(200, {"ETag: \"x\""}, "");
  };
  const auto info = WriteFile(
      kNever, *Connect({.storage_class = "STANDARD_IA"}), Id(0, 1, 1), "hello",
      {.created_at = WallTime(std::chrono::milliseconds(1'767'323'045'678)), .size_bytes = 5});
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(info.value().size_bytes, 5U);
}

TEST_F(S3ClientTest, UnsignedPayloadAndOtherHeaders) {
  answer_ = [](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    EXPECT_EQ(request.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    EXPECT_EQ(request.header("x-amz-request-payer"), "requester");
    EXPECT_EQ(request.header("x-amz-server-side-encryption"), "aws:kms");
    EXPECT_EQ(request.header("x-amz-server-side-encryption-aws-kms-key-id"), "id");
    peer.Answer(200, {"ETag: \"x\""}, "");
  };
  EXPECT_TRUE(WriteFile(kNever,
                        *Connect({.sign_payload = false,
                                  .encryption = {.kms_key_id = "id"},
                                  .requester_pays = true}),
                        Id(0, 1, 1), "hello")
                  .ok());
}

TEST_F(S3ClientTest, WhatMayWorkTheNextTimeIsTriedAgain) {
  const struct {
    const char* why;
    std::function<void(ServedPeer&)> act;
  } cases[] = {
      {"500", [](ServedPeer& peer) { peer.Answer(500, {}, ErrorBody("InternalError")); }},
      {"503 slow down", [](ServedPeer& peer) { peer.Answer(503, {}, ErrorBody("SlowDown")); }},
      {"429", [](ServedPeer& peer) { peer.Answer(429, {"Retry-After: 0"}, ""); }},
      {"400 timeout", [](ServedPeer& peer) { peer.Answer(400, {}, ErrorBody("RequestTimeout")); }},
      {"408", [](ServedPeer& peer) { peer.Answer(408, {}, ErrorBody("RequestCanceled")); }},
      {"cut", [](ServedPeer& peer) { peer.Close(); }},
      {"reset", [](ServedPeer& peer) { peer.Reset(); }},
      {"no tag", [](ServedPeer& peer) { peer.Answer(502, {}, "<html>bad gateway"); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    std::atomic<int> puts = 0;
    answer_ = [&](const ServedRequest&, const std::string& body, ServedPeer& peer) {
      EXPECT_EQ(body, "hello") << "the whole body, each time";
      if (++puts < 3) return c.act(peer);
      peer.Answer(200, {"ETag: \"x\""}, "");
    };
    const auto info = WriteFile(kNever, *Connect(), Id(0, 1, 1), "hello");
    EXPECT_TRUE(info.ok()) << info.error().message();
    // libcurl itself may have replaced a connection that was used before.
    EXPECT_GE(puts, 3);
  }
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(503, {}, ErrorBody("SlowDown"));
  };
  const int before = server_.requests();
  const auto failed = WriteFile(kNever, *Connect(), Id(0, 1, 1), "hello");
  EXPECT_EQ(CodeOf(failed), ErrorCode::kThrottled);
  EXPECT_EQ(server_.requests() - before, 4);
  EXPECT_THAT(failed.error().message(), HasSubstr("after 4 attempts"));
  EXPECT_THAT(failed.error().message(), HasSubstr(fmt::format("bkt/db/0000/{}", kName1)));
}

TEST_F(S3ClientTest, WhatWillNotWorkIsTriedOnce) {
  for (const char* code : {"AccessDenied", "SignatureDoesNotMatch", "NoSuchBucket"}) {
    SCOPED_TRACE(code);
    answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
      peer.Answer(403, {}, ErrorBody(code));
    };
    const int before = server_.requests();
    const auto listed = Connect()->List(kNever, kLevel0, {});
    EXPECT_NE(CodeOf(listed), ErrorCode::kNotFound) << "never taken for an empty replica";
    EXPECT_EQ(server_.requests() - before, 1);
    EXPECT_THAT(listed.error().message(), Not(HasSubstr("top-secret")));
  }
}

TEST_F(S3ClientTest, AWrongClockIsCorrectedOnce) {
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.header("x-amz-date") > "20380101T000000Z") {
      return peer.Answer(200, {}, "<ListBucketResult></ListBucketResult>");
    }
    peer.Answer(403, {"Date: Wed, 03 Mar 2038 03:04:05 GMT"}, ErrorBody("RequestTimeTooSkewed"));
  };
  const auto client = Connect();
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_EQ(server_.requests(), 2);
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_EQ(server_.requests(), 3) << "and stays so";
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(403, {"Date: Wed, 03 Mar 2038 03:04:05 GMT"}, ErrorBody("RequestTimeTooSkewed"));
  };
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kDenied);
  EXPECT_THAT(listed.error().message(), HasSubstr("set the clock"));
}

TEST_F(S3ClientTest, NewCredentialsForRefusedOnes) {
  from_environment_ = true;
  variables_ = {{"AWS_ACCESS_KEY_ID", "old"}, {"AWS_SECRET_ACCESS_KEY", "s"}};
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.header("authorization").find("Credential=new/") != std::string::npos) {
      return peer.Answer(200, {}, "<ListBucketResult></ListBucketResult>");
    }
    variables_["AWS_ACCESS_KEY_ID"] = "new";
    peer.Answer(400, {}, ErrorBody("ExpiredToken"));
  };
  const auto listed = Connect()->List(kNever, kLevel0, {});
  EXPECT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_EQ(server_.requests(), 2);
}

TEST_F(S3ClientTest, ListsThatMustNotBeBelieved) {
  const std::string entry =
      fmt::format("<Contents><Key>db/0000/{}</Key><Size>5</Size></Contents>", kName1);
  const struct {
    const char* why;
    std::string body;
  } cases[] = {
      {"cut off", "<ListBucketResult>" + entry + "<Contents>"},
      {"empty", ""},
      {"something else", "<html><body>welcome</body></html>"},
      {"more, without a token",
       "<ListBucketResult>" + entry + "<IsTruncated>true</IsTruncated></ListBucketResult>"},
      {"the same page for ever",
       "<ListBucketResult>" + entry +
           "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
           "</ListBucketResult>"},
      {"without a size",
       "<ListBucketResult><Contents><Key>db/0000/x</Key></Contents>"
       "</ListBucketResult>"},
      {"another place",
       "<ListBucketResult><Contents><Key>other/x</Key><Size>1</Size></Contents>"
       "</ListBucketResult>"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
      peer.Answer(200, {}, c.body);
    };
    EXPECT_EQ(CodeOf(Connect()->List(kNever, kLevel0, {})), ErrorCode::kUnavailable);
    EXPECT_EQ(CodeOf(Connect()->DeleteAll(kNever)), ErrorCode::kUnavailable);
  }
}

TEST_F(S3ClientTest, ListsWithoutEnd) {
  const auto page = [](const std::string& key, int token) {
    return fmt::format(
        "<ListBucketResult>{}<IsTruncated>true</IsTruncated><NextContinuationToken>{}"
        "</NextContinuationToken></ListBucketResult>",
        key.empty() ? "" : "<Contents><Key>db/0000/" + key + "</Key><Size>5</Size></Contents>",
        token);
  };
  const struct {
    const char* why;
    std::function<std::string(int number)> body;
  } cases[] = {
      {"round in a circle", [&](int number) { return page(std::to_string(number), number % 3); }},
      {"nothing, and more", [&](int number) { return page("", number); }},
      {"the same under other tokens", [&](int number) { return page("x", number); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    std::atomic<int> number = 0;
    answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
      const int now = ++number;
      peer.Answer(200, {}, now > 5000 ? "too many" : c.body(now));
    };
    EXPECT_EQ(CodeOf(Connect()->List(kNever, kLevel0, {})), ErrorCode::kUnavailable);
    EXPECT_LT(number, 2000);
  }
  // Pages that are empty because of what was deleted are not the end.
  std::atomic<int> number = 0;
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    const int now = ++number;
    peer.Answer(200, {},
                now < 100 ? page(now % 50 == 0 ? kName1 : "", now)
                          : "<ListBucketResult></ListBucketResult>");
  };
  const auto listed = Connect()->List(kNever, kLevel0, {});
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_EQ(listed.value().size(), 1U);
}

TEST_F(S3ClientTest, AListBeginsWhereItIsWanted) {
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, "<ListBucketResult></ListBucketResult>");
  };
  EXPECT_TRUE(Connect()->List(kNever, Level{1}, {.seek = Txid{26}, .limit = 7}).ok());
  EXPECT_THAT(Asked(), ElementsAre("GET /bkt?list-type=2&max-keys=7&prefix=db%2F0001%2F&"
                                   "start-after=db%2F0001%2F000000000000001a"));
}

TEST_F(S3ClientTest, ADeleteIsVerified) {
  const FileId ids[] = {Id(0, 1, 1), Id(0, 2, 2)};
  const std::string one = fmt::format("db/0000/{}", kName1);
  const struct {
    const char* why;
    std::string body;
    bool ok;
  } cases[] = {
      {"one is not mentioned",
       fmt::format("<DeleteResult><Deleted><Key>{}</Key></Deleted>"
                   "</DeleteResult>",
                   one),
       false},
      {"one failed",
       fmt::format("<DeleteResult><Deleted><Key>{}</Key></Deleted><Error><Key>db/0000/"
                   "0000000000000002-0000000000000002.ltx</Key><Code>AccessDenied</Code></Error>"
                   "</DeleteResult>",
                   one),
       false},
      {"one was not there",
       fmt::format("<DeleteResult><Deleted><Key>{}</Key></Deleted><Error><Key>db/0000/"
                   "0000000000000002-0000000000000002.ltx</Key><Code>NoSuchKey</Code></Error>"
                   "</DeleteResult>",
                   one),
       true},
      {"nothing is said", "", false},
      {"an error", ErrorBody("AccessDenied"), false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    answer_ = [&](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
      EXPECT_EQ(request.header("content-md5"), http::Base64(http::Md5(body)));
      peer.Answer(200, {}, c.body);
    };
    EXPECT_EQ(Connect()->Delete(kNever, ids).ok(), c.ok);
  }
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, "<DeleteResult/>");
  };
  std::vector<FileId> many;
  for (std::uint64_t txid = 1; txid <= 1000; ++txid) many.push_back(Id(0, txid, txid));
  const auto nothing = Connect()->Delete(kNever, many);
  EXPECT_EQ(CodeOf(nothing), ErrorCode::kUnavailable);
  EXPECT_THAT(nothing.error().message(), HasSubstr("and 990 more"));
  EXPECT_LT(nothing.error().message().size(), 2000U);
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.method == "POST") return peer.Answer(501, {}, ErrorBody("NotImplemented"));
    peer.Answer(204, {}, "");
  };
  server_.Forget();
  EXPECT_TRUE(Connect({.require_content_md5 = false})->Delete(kNever, ids).ok());
  EXPECT_EQ(Asked().size(), 3U) << "one by one where there is no other way";
}

TEST_F(S3ClientTest, AnUploadInPartsLeavesNothingBehindWhenItFails) {
  std::atomic<int> failing = 2;
  std::atomic<int> aborts = 0;
  const ServesUntilHere serves(server_);
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.query() == "uploads=") {
      EXPECT_EQ(request.header("x-amz-meta-litestream-timestamp"), "1970-01-01T00:00:00Z");
      return peer.Answer(200, {}, "<R><UploadId>u/1</UploadId></R>");
    }
    if (request.method == "DELETE") {
      EXPECT_EQ(request.query(), "uploadId=u%2F1");
      ++aborts;
      return peer.Answer(204, {}, "");
    }
    if (request.query() == fmt::format("partNumber={}&uploadId=u%2F1", failing.load())) {
      return peer.Answer(403, {}, ErrorBody("AccessDenied"));
    }
    if (request.method == "POST") {
      // Too late for a status of its own.
      if (failing == 0) return peer.Answer(200, {}, ErrorBody("AccessDenied"));
      return peer.Answer(200, {}, "<CompleteMultipartUploadResult/>");
    }
    peer.Answer(200, {"ETag: \"x\""}, "");
  };
  const std::string content = MakeContent(12 << 20, 1);
  EXPECT_EQ(CodeOf(WriteFile(kNever, *Connect(), Id(0, 1, 1), content)), ErrorCode::kDenied);
  EXPECT_EQ(aborts, 1);
  failing = 0;
  EXPECT_EQ(CodeOf(WriteFile(kNever, *Connect(), Id(0, 1, 1), content)), ErrorCode::kDenied);
  EXPECT_EQ(aborts, 2);
  failing = -1;
  EXPECT_TRUE(WriteFile(kNever, *Connect(), Id(0, 1, 1), content).ok());
  EXPECT_EQ(aborts, 2);
  EXPECT_EQ(CodeOf(WriteFile(kNever, *Connect(), Id(0, 1, 1), content, {.size_bytes = 12'000'000})),
            ErrorCode::kCorruption);
  EXPECT_EQ(aborts, 3);
  contract::TextThenSource broken(content, [] { return Error(ErrorCode::kIo, "gone"); });
  EXPECT_EQ(CodeOf(Connect()->Write(kNever, Id(0, 1, 1), broken, {})), ErrorCode::kIo);
  EXPECT_EQ(aborts, 4);
}

TEST_F(S3ClientTest, PartsHaveTheSizeThatWasSaid) {
  std::vector<std::size_t> sizes;
  answer_ = [&](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    if (request.query() == "uploads=") {
      return peer.Answer(200, {}, "<R><UploadId>u</UploadId></R>");
    }
    if (request.method == "POST") {
      return peer.Answer(200, {}, "<CompleteMultipartUploadResult/>");
    }
    const std::lock_guard lock(mu_);
    sizes.push_back(body.size());
    peer.Answer(200, {"ETag: \"x\""}, "");
  };
  constexpr std::size_t kPart = s3::kMinPartBytes;
  for (const std::size_t extra : {std::size_t{1}, kPart - 1, kPart}) {
    SCOPED_TRACE(extra);
    for (const std::optional<std::uint64_t> said :
         {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(2 * kPart + extra)}) {
      sizes.clear();
      // Some servers (R2) take only parts of one size.
      const auto info = WriteFile(kNever, *Connect({.concurrency = 1}), Id(0, 1, 1),
                                  MakeContent(2 * kPart + extra, 1), {.size_bytes = said});
      ASSERT_TRUE(info.ok()) << info.error().message();
      EXPECT_EQ(info.value().size_bytes, 2 * kPart + extra);
      EXPECT_THAT(sizes, ElementsAre(kPart, kPart, extra));
    }
  }
}

TEST_F(S3ClientTest, PartsOfExactlyOnePartAreOnePut) {
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {"ETag: \"x\""}, "");
  };
  const std::string content = MakeContent(s3::kMinPartBytes, 1);
  EXPECT_TRUE(WriteFile(kNever, *Connect(), Id(0, 1, 1), content).ok());
  EXPECT_THAT(Asked(), ElementsAre(fmt::format("PUT /bkt/db/0000/{}", kName1)));
}

TEST_F(S3ClientTest, AServerThatIgnoresConditionsHasNoLeases) {
  answer_ = [](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.method == "HEAD") return peer.Answer(200, {}, "");
    peer.Answer(200, {"ETag: \"x\""}, "");
  };
  const auto client = Connect();
  const auto put = client->PutObject(kNever, "lock.json", "{}", "");
  EXPECT_EQ(CodeOf(put), ErrorCode::kUnsupported);
  EXPECT_THAT(put.error().message(), HasSubstr("lease: off"));
  const int before = server_.requests();
  EXPECT_EQ(CodeOf(Connect()->PutObject(kNever, "lock.json", "{}", "")), ErrorCode::kUnsupported);
  EXPECT_EQ(server_.requests(), before) << "known for all replicas there";
  EXPECT_EQ(CodeOf(WriteFile(kNever, *client, Id(0, 1, 1), "x", {.if_absent = true})),
            ErrorCode::kAlreadyExists)
      << "so it has to look first";
}

TEST_F(S3ClientTest, AServerThatRefusesConditionsIsWrittenToWithoutThem) {
  std::set<std::string> there;
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (!request.header("if-none-match").empty() || !request.header("if-match").empty()) {
      return peer.Answer(501, {}, ErrorBody("NotImplemented"));
    }
    if (request.method == "HEAD") {
      return peer.Answer(there.contains(request.path()) ? 200 : 404, {}, "");
    }
    if (request.query() == "uploads=") {
      return peer.Answer(200, {}, "<R><UploadId>u</UploadId></R>");
    }
    if (request.query().empty() || request.method == "POST") there.insert(request.path());
    if (request.method == "POST") {
      return peer.Answer(200, {}, "<CompleteMultipartUploadResult/>");
    }
    peer.Answer(200, {"ETag: \"x\""}, "");
  };
  const std::string large = MakeContent(s3::kMinPartBytes + 1, 1);
  const auto client = Connect();
  // First while nobody knows how it is with conditions, then when that has been tried out.
  for (std::uint64_t txid = 1; txid <= 3; txid += 2) {
    SCOPED_TRACE(txid);
    const FileId small_id = Id(0, txid, txid);
    const FileId large_id = Id(0, txid + 1, txid + 1);
    for (const auto& [id, content] : {std::pair(small_id, std::string("x")), {large_id, large}}) {
      const auto written = WriteFile(kNever, *client, id, content, {.if_absent = true});
      EXPECT_TRUE(written.ok()) << written.error().message();
      EXPECT_EQ(CodeOf(WriteFile(kNever, *client, id, content, {.if_absent = true})),
                ErrorCode::kAlreadyExists);
    }
    const auto lease = client->PutObject(kNever, "lock.json", "{}", "");
    EXPECT_EQ(CodeOf(lease), ErrorCode::kUnsupported);
    EXPECT_THAT(lease.error().message(), HasSubstr("lease: off"));
  }
}

TEST_F(S3ClientTest, ConditionsAreTriedOutOnce) {
  std::string tag;
  answer_ = [&](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    const bool holds =
        request.header("if-none-match") == "*"
            ? tag.empty()
            : request.header("if-match") == tag || request.header("if-match").empty();
    if (!holds) return peer.Answer(412, {}, ErrorBody("PreconditionFailed"));
    tag = "\"" + http::Hex(http::Md5(body)) + "\"";
    peer.Answer(200, {"ETag: " + tag}, "");
  };
  const auto client = Connect();
  const auto first = client->PutObject(kNever, "lock.json", "1", "");
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_EQ(server_.requests(), 3);
  EXPECT_TRUE(client->PutObject(kNever, "lock.json", "2", first.value()).ok());
  EXPECT_EQ(server_.requests(), 4);
}

TEST_F(S3ClientTest, RangesThatAreNotTheOnesAskedFor) {
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, "the whole object");
  };
  EXPECT_EQ(CodeOf(Connect()->Open(kNever, Id(0, 1, 1), {.offset_bytes = 4})),
            ErrorCode::kUnsupported);
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(206, {"Content-Range: bytes 5-9/16"}, "hole ");
  };
  EXPECT_EQ(CodeOf(Connect()->Open(kNever, Id(0, 1, 1), {.offset_bytes = 4})),
            ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(Connect()->Open(kNever, Id(0, 1, 1), {.length_bytes = 4})),
            ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(Connect()->Open(kNever, Id(0, 1, 1), {})), ErrorCode::kUnsupported);
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    EXPECT_EQ(request.header("range"), "bytes=4-6");
    peer.Answer(206, {"Content-Range: bytes 4-6/16"}, "who");
  };
  EXPECT_EQ(
      ReadFile(kNever, *Connect(), Id(0, 1, 1), {.offset_bytes = 4, .length_bytes = 3}).value(),
      "who");
}

TEST_F(S3ClientTest, OptionsThatDoNotGoTogether) {
  const std::string key = http::Base64(std::string(32, 'k'));
  const struct {
    s3::Options options;
    const char* want;
  } cases[] = {
      {{.bucket = ""}, "s3: bucket name is required"},
      {{.bucket = "b", .access_key_id = "only"}, "must both be given"},
      {{.bucket = "b", .encryption = {.kms_key_id = "x", .customer_key = key}},
       "s3: cannot use both sse-customer-key and sse-kms-key-id"},
      {{.bucket = "b", .encryption = {.customer_key = "short"}}, "must be 32 bytes in base64"},
      {{.bucket = "b", .encryption = {.customer_key = key, .customer_algorithm = "DES"}},
       "must be AES256"},
      {{.bucket = "b", .encryption = {.customer_key = key, .customer_key_md5 = "x"}},
       "is not that of"},
      {{.bucket = "b", .endpoint = "http://example.com", .encryption = {.customer_key = key}},
       "s3: sse-customer-key requires HTTPS endpoint"},
      {{.bucket = "b", .endpoint = "http://10.example.com", .encryption = {.customer_key = key}},
       "s3: sse-customer-key requires HTTPS endpoint"},
      {{.bucket = "b", .endpoint = "example.com"}, "the endpoint must be"},
      {{.bucket = "b", .region = "eu.example.com/"}, "is no region of AWS"},
      {{.bucket = "b", .part_size_bytes = s3::kMinPartBytes - 1},
       "s3: part size must be at least 5242880 bytes"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    const auto client = MakeS3Client(c.options, shared_);
    EXPECT_EQ(CodeOf(client), ErrorCode::kInvalidArgument);
    EXPECT_THAT(client.error().message(), HasSubstr(c.want));
    EXPECT_THAT(client.error().message(), Not(HasSubstr(key)));
  }
}

}  // namespace
}  // namespace litestream
