#include "backend/oss/oss_client.h"

#include <atomic>
#include <mutex>

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/crc64.h"
#include "http/date.h"
#include "http/digest.h"
#include "tests/contract/bodies.h"
#include "tests/support/answering_server.h"

// What a server may do now and then, and what none may do. That all is well with one that behaves
// is shown by the contract suite.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();
constexpr char kName1[] = "0000000000000001-0000000000000001.ltx";

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.ok()) << "should have failed";
  return result.ok() ? ErrorCode::kInternal : result.error().code();
}

std::string ErrorBody(std::string_view code) {
  return fmt::format("<Error><Code>{}</Code><Message>m</Message></Error>", code);
}

std::string Crc(std::string_view content) {
  return fmt::format("x-oss-hash-crc64ecma: {}", http::Crc64(0, content));
}

std::vector<std::string> Stored(std::string_view content) {
  return {"ETag: \"1\"", Crc(content)};
}

class OssClientTest : public ::testing::Test {
 protected:
  std::unique_ptr<ReplicaClient> Connect(oss::Options options = {}) {
    options.endpoint = server_.url();
    options.bucket = "bkt";
    options.path = "db";
    if (variables_.empty()) {
      options.access_key_id = "key";
      options.secret_access_key = "top-secret";
    }
    options.retry = {.attempts = 4,
                     .first_delay = std::chrono::milliseconds(1),
                     .max_delay = std::chrono::milliseconds(1)};
    auto client = MakeOssClient(options, shared_);
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }
  std::vector<std::string> Asked() const { return server_.Asked(); }

  std::map<std::string, std::string> variables_;
  AnsweringServer server_;
  AnsweringServer::Handler& answer_ = server_.answer;
  const std::shared_ptr<oss::Shared> shared_ = std::make_shared<oss::Shared>(
      std::make_shared<http::Client>(),
      oss::CredentialSources{
          .environment = [this](std::string_view name) { return variables_[std::string(name)]; }});
};

TEST_F(OssClientTest, APutAsItGoesOverTheWire) {
  answer_ = [](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    EXPECT_EQ(request.target, fmt::format("/bkt/db/0000/{}", kName1));
    EXPECT_EQ(request.header("content-type"), "application/octet-stream");
    EXPECT_EQ(request.header("content-length"), "5");
    EXPECT_EQ(request.header("content-md5"), http::Base64(http::Md5("hello")));
    EXPECT_EQ(request.header("x-oss-meta-litestream-timestamp"), "2026-01-02T03:04:05.678Z");
    EXPECT_EQ(request.header("x-oss-content-sha256"), "UNSIGNED-PAYLOAD");
    EXPECT_EQ(request.header("x-oss-forbid-overwrite"), "");
    EXPECT_EQ(request.header("transfer-encoding"), "");
    EXPECT_THAT(request.header("authorization"), HasSubstr("Credential=key/"));
    EXPECT_THAT(request.header("authorization"), HasSubstr("/cn-hangzhou/oss/aliyun_v4_request"));
    EXPECT_THAT(request.header("user-agent"), HasSubstr("litestream"));
    peer.Answer(200, Stored(body), "");
  };
  const auto info = WriteFile(
      kNever, *Connect(), Id(0, 1, 1), "hello",
      {.created_at = WallTime(std::chrono::milliseconds(1'767'323'045'678)), .size_bytes = 5});
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(info.value().size_bytes, 5U);
}

TEST_F(OssClientTest, IfAbsentLooksUntilItKnowsTheBucket) {
  bool versioned = false;
  answer_ = [&](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    if (request.method == "HEAD") return peer.Answer(404, {}, "");
    EXPECT_EQ(request.header("x-oss-forbid-overwrite"), "true");
    auto headers = Stored(body);
    if (versioned) headers.emplace_back("x-oss-version-id: null");
    peer.Answer(200, headers, "");
  };
  const auto client = Connect();
  const auto asked_for_one = [&] {
    const std::size_t before = Asked().size();
    EXPECT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x", {.if_absent = true}).ok());
    return Asked().size() - before;
  };
  EXPECT_EQ(asked_for_one(), 2U);
  EXPECT_EQ(asked_for_one(), 1U) << "it keeps no versions";
  versioned = true;  // Somebody has switched that on.
  EXPECT_EQ(asked_for_one(), 1U);
  EXPECT_EQ(asked_for_one(), 2U);
}

TEST_F(OssClientTest, AnObjectWithAnotherSumIsRemoved) {
  answer_ = [](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.method == "DELETE") return peer.Answer(204, {}, "");
    peer.Answer(200, Stored("hellO"), "");
  };
  const auto written = WriteFile(kNever, *Connect(), Id(0, 1, 1), "hello");
  EXPECT_EQ(CodeOf(written), ErrorCode::kUnavailable);
  EXPECT_THAT(written.error().message(), HasSubstr("crc is inconsistent"));
  EXPECT_THAT(Asked(), ElementsAre(HasSubstr("PUT"), HasSubstr("DELETE")));
}

class OssPartsTest : public OssClientTest {
 protected:
  void SetUp() override {
    answer_ = [this](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
      Serve(request, body, peer);
    };
  }
  // A part that the client has given up may still be on its way.
  void TearDown() override { server_.Stop(); }
  void Serve(const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    const std::lock_guard lock(parts_mu_);
    if (request.method == "DELETE") {
      ++deletes_;
      return peer.Answer(204, {}, "");
    }
    if (request.method == "HEAD") {
      return peer.Send(fmt::format("HTTP/1.1 {} x\r\nContent-Length: {}\r\n{}\r\n\r\n",
                                   head_status_, content_.size(), Crc(completed_as_)));
    }
    if (request.target.ends_with("?uploads")) {
      return peer.Answer(200, {}, "<I><UploadId>u+1</UploadId></I>");
    }
    if (request.method == "POST") return Complete(peer);
    EXPECT_THAT(request.target, HasSubstr("&uploadId=u%2B1"));
    EXPECT_EQ(request.header("content-md5"), http::Base64(http::Md5(body)));
    if (damaged_parts_-- > 0) return peer.Answer(200, Stored("other"), "");
    peer.Answer(200, Stored(body), "");
  }
  void Complete(ServedPeer& peer) {
    if (completion_status_ != 200) {
      return peer.Answer(completion_status_, {}, ErrorBody(completion_code_));
    }
    peer.Answer(200, {Crc(completed_as_)}, "<CompleteMultipartUploadResult/>");
  }
  Result<FileInfo> Upload() {
    return WriteFile(kNever, *Connect({.part_size_bytes = oss::kMinPartBytes}), Id(9, 1, 1),
                     content_, {.size_bytes = std::nullopt});
  }

  const std::string content_ = MakeContent(3 * oss::kMinPartBytes + 7, 1);
  std::mutex parts_mu_;
  std::string completed_as_ = content_;
  int damaged_parts_ = 0;
  int completion_status_ = 200;
  std::string completion_code_;
  int head_status_ = 404;
  int deletes_ = 0;
};

TEST_F(OssPartsTest, TheSumsOfPartsMakeThatOfTheObject) {
  const auto info = Upload();
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(info.value().size_bytes, content_.size());
  EXPECT_EQ(Asked().size(), 6U) << "begin, four parts, complete";
}

TEST_F(OssPartsTest, APartThatArrivedDamagedIsSentAgain) {
  damaged_parts_ = 2;
  const auto info = Upload();
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(Asked().size(), 8U);
  damaged_parts_ = 1000;
  const auto failed = Upload();
  EXPECT_EQ(CodeOf(failed), ErrorCode::kUnavailable);
  EXPECT_THAT(failed.error().message(), HasSubstr("crc is inconsistent: the server got"));
  EXPECT_EQ(deletes_, 1) << "aborted";
}

TEST_F(OssPartsTest, AnObjectOfOtherPartsIsRemoved) {
  completed_as_[5] = static_cast<char>(completed_as_[5] ^ 1);
  EXPECT_EQ(CodeOf(Upload()), ErrorCode::kUnavailable);
  EXPECT_EQ(deletes_, 2) << "the object, and what there might be of the upload";
}

// The answer to the end of an upload got lost, and the second attempt finds no upload.
TEST_F(OssPartsTest, AnUploadThatHasEndedAlready) {
  completion_status_ = 404;
  completion_code_ = "NoSuchUpload";
  EXPECT_EQ(CodeOf(Upload()), ErrorCode::kIo) << "nothing is there";
  EXPECT_EQ(deletes_, 1);
  head_status_ = 200;
  completed_as_ = "another object";
  EXPECT_EQ(CodeOf(Upload()), ErrorCode::kIo);
  completed_as_ = content_;
  const auto info = Upload();
  EXPECT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(deletes_, 2);
}

TEST_F(OssClientTest, ReadsAreChecked) {
  const std::string content = MakeContent(100'000, 1);
  std::string sent = content;
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.header("range").empty()) return peer.Answer(200, {Crc(content)}, sent);
    EXPECT_EQ(request.header("x-oss-range-behavior"), "standard");
    peer.Answer(206, {Crc(content), "Content-Range: bytes 0-99999/100000"}, sent);
  };
  const auto client = Connect();
  const ByteRange ranges[] = {{}, {.length_bytes = 100'000}, {.length_bytes = 200'000}};
  for (const ByteRange& range : ranges) {
    SCOPED_TRACE(range.length_bytes);
    sent = content;
    EXPECT_TRUE(ReadFile(kNever, *client, Id(0, 1, 1), range).value() == content);
    sent[77] = static_cast<char>(sent[77] ^ 1);
    const auto read = ReadFile(kNever, *client, Id(0, 1, 1), range);
    EXPECT_EQ(CodeOf(read), ErrorCode::kCorruption);
    EXPECT_THAT(read.error().message(), HasSubstr("crc is inconsistent"));
    // Who knows the size stops there, and must not have got the last bytes.
    auto source = client->Open(kNever, Id(0, 1, 1), range);
    ASSERT_TRUE(source.ok());
    std::vector<std::byte> buffer(content.size());
    EXPECT_EQ(CodeOf(ReadFull(kNever, *source.value(), buffer)), ErrorCode::kCorruption);
  }
}

TEST_F(OssClientTest, AServerThatIgnoresRanges) {
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, "all of it");
  };
  EXPECT_EQ(CodeOf(Connect()->Open(kNever, Id(0, 1, 1), {.offset_bytes = 3})),
            ErrorCode::kUnsupported);
}

TEST_F(OssClientTest, ListsAskForFullPagesAndDecode) {
  answer_ = [](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    EXPECT_THAT(request.target, HasSubstr("encoding-type=url"));
    EXPECT_THAT(request.target, HasSubstr("max-keys=1000"));
    const bool second = request.target.find("continuation-token=t%2B1") != std::string::npos;
    peer.Answer(200, {},
                fmt::format("<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{}"
                            "</IsTruncated><NextContinuationToken>t%2B1</NextContinuationToken>"
                            "<Contents><Key>db%2F0000%2F000000000000000{}-0000000000000009.ltx"
                            "</Key><Size>3</Size></Contents></ListBucketResult>",
                            !second, second ? 2 : 1));
  };
  const auto files = Connect()->List(kNever, kLevel0, {});
  ASSERT_TRUE(files.ok()) << files.error().message();
  EXPECT_EQ(contract::Ranges(files.value()), "1-9 2-9");
}

TEST_F(OssClientTest, ListsThatMakeNoSense) {
  const char* const bodies[] = {
      "",
      "<Error/>",
      "<ListBucketResult>",
      "<ListBucketResult><Contents><Key>db%2F0000%2Fx</Key></Contents></ListBucketResult>",
      "<ListBucketResult><Contents><Key>other</Key><Size>1</Size></Contents></ListBucketResult>",
      "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
      ("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>same"
       "</NextContinuationToken></ListBucketResult>")};
  for (const char* body : bodies) {
    SCOPED_TRACE(body);
    answer_ = [body](const ServedRequest&, const std::string&, ServedPeer& peer) {
      peer.Answer(200, {}, body);
    };
    EXPECT_EQ(CodeOf(Connect()->List(kNever, kLevel0, {})), ErrorCode::kUnavailable);
    EXPECT_EQ(CodeOf(Connect()->DeleteAll(kNever)), ErrorCode::kUnavailable);
  }
}

TEST_F(OssClientTest, DeletesThatAreNotConfirmed) {
  const FileId ids[] = {Id(0, 1, 1), Id(0, 2, 2)};
  std::string answer;
  answer_ = [&](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    EXPECT_EQ(request.target, "/bkt/?delete&encoding-type=url");
    EXPECT_EQ(request.header("content-md5"), http::Base64(http::Md5(body)));
    EXPECT_THAT(body, HasSubstr("<Delete><Quiet>false</Quiet><Object><Key>db/0000/"));
    peer.Answer(200, {}, answer);
  };
  answer = fmt::format("<DeleteResult><Deleted><Key>db%2F0000%2F{}</Key></Deleted></DeleteResult>",
                       kName1);
  const auto deleted = Connect()->Delete(kNever, ids);
  EXPECT_EQ(CodeOf(deleted), ErrorCode::kUnavailable);
  EXPECT_THAT(deleted.error().message(), HasSubstr("oss: failed to delete files:\ndb/0000/"));
  EXPECT_THAT(deleted.error().message(), Not(HasSubstr(kName1)));
  answer = "";
  EXPECT_EQ(CodeOf(Connect()->Delete(kNever, ids)), ErrorCode::kUnavailable);
  EXPECT_TRUE(Connect()->Delete(kNever, {}).ok());
}

TEST_F(OssClientTest, TheClockIsCorrectedOnce) {
  int refused = 0;
  bool again = false;
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    const std::string stamp = request.header("x-oss-date");
    if (stamp.starts_with("2040") && !again) {
      return peer.Answer(200, {}, "<ListBucketResult></ListBucketResult>");
    }
    ++refused;
    peer.Answer(403, {"Date: Sat, 01 Dec 2040 00:00:00 GMT"}, ErrorBody("RequestTimeTooSkewed"));
  };
  const auto client = Connect();
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_EQ(refused, 1);
  again = true;
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kDenied);
  EXPECT_THAT(listed.error().message(), HasSubstr("set the clock of this machine"));
  EXPECT_EQ(refused, 3);
}

TEST_F(OssClientTest, KeysThatExpireAreLookedForAgain) {
  variables_ = {{"OSS_ACCESS_KEY_ID", "old"}, {"OSS_ACCESS_KEY_SECRET", "s"}};
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.header("authorization").find("Credential=new/") != std::string::npos) {
      return peer.Answer(200, {}, "<ListBucketResult></ListBucketResult>");
    }
    variables_["OSS_ACCESS_KEY_ID"] = "new";
    peer.Answer(403, {}, ErrorBody("SecurityTokenExpired"));
  };
  const auto listed = Connect()->List(kNever, kLevel0, {});
  EXPECT_TRUE(listed.ok()) << listed.error().message();
}

TEST_F(OssClientTest, WhatPassesIsTriedAgain) {
  std::atomic<int> left = 3;
  answer_ = [&](const ServedRequest&, const std::string& body, ServedPeer& peer) {
    switch (left--) {
      case 3:
        return peer.Answer(503, {}, ErrorBody("QpsLimitExceeded"));
      case 2:
        return peer.Answer(400, {}, ErrorBody("InvalidDigest"));
      case 1:
        return peer.Reset();
      default:
        EXPECT_EQ(body, "x") << "all of it, each time";
        return peer.Answer(200, Stored(body), "");
    }
  };
  const auto info = WriteFile(kNever, *Connect(), Id(0, 1, 1), "x");
  EXPECT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(Asked().size(), 4U);
}

TEST_F(OssClientTest, WhatIsFinalIsNot) {
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(403, {}, ErrorBody("AccessDenied"));
  };
  const auto listed = Connect()->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kDenied);
  EXPECT_THAT(listed.error().message(), Not(HasSubstr("top-secret")));
  EXPECT_EQ(Asked().size(), 1U);
}

TEST_F(OssClientTest, NoLeasesAndNoOldBackups) {
  const auto client = Connect();
  EXPECT_EQ(CodeOf(client->GetObject(kNever, "lock.json")), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(client->DeleteObject(kNever, "lock.json", "")), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(client->ListObjects(kNever, "", 0)), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(client->OpenObject(kNever, "x", {})), ErrorCode::kUnsupported);
  const auto put = client->PutObject(kNever, "lock.json", "x", "");
  EXPECT_EQ(CodeOf(put), ErrorCode::kUnsupported);
  EXPECT_THAT(put.error().message(), HasSubstr("set `lease: off`"));
  EXPECT_TRUE(Asked().empty());
}

TEST_F(OssClientTest, WhatDoesNotGoTogether) {
  const struct {
    oss::Options options;
    const char* said;
  } cases[] = {
      {{}, "oss: bucket name is required"},
      {{.bucket = "b_k"}, "no name of a bucket"},
      {{.bucket = "bkt", .path = "/db"}, "must not begin with a slash"},
      {{.bucket = "bkt", .path = "\\db"}, "must not begin with a slash"},
      {{.bucket = "bkt", .path = std::string(981, 'a')}, "path is too long"},
      {{.bucket = "bkt", .part_size_bytes = 1}, "part size must be"},
      {{.bucket = "bkt", .part_size_bytes = 6ULL << 30}, "part size must be"},
      {{.bucket = "bkt", .access_key_id = "k"}, "must both be given, or none"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.said);
    const auto client = MakeOssClient(c.options, shared_);
    ASSERT_FALSE(client.ok());
    EXPECT_EQ(client.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(client.error().message(), HasSubstr(c.said));
  }
  EXPECT_TRUE(MakeOssClient({.bucket = "bkt", .path = std::string(980, 'a')}, shared_).ok());
}

}  // namespace
}  // namespace litestream
