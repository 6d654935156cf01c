#include "backend/abs/abs_client.h"

#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/abs/upload.h"
#include "http/digest.h"
#include "tests/contract/bodies.h"
#include "tests/support/http_server.h"

// What Azure does now and then, and what it may never do. That all is well with a server that
// behaves is shown by the contract suite, against a real one.

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
constexpr char kEmptyList[] = "<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.ok()) << "should have failed";
  return result.ok() ? ErrorCode::kInternal : result.error().code();
}

std::string Unescaped(std::string text) {
  text.resize(std::min(text.find('&'), text.size()));
  for (const auto& [escaped, plain] :
       {std::pair("%2B", "+"), std::pair("%2F", "/"), std::pair("%3D", "=")}) {
    for (std::size_t at = 0; (at = text.find(escaped)) != std::string::npos;) {
      text.replace(at, 3, plain);
    }
  }
  return text;
}

std::string BlobXml(const std::string& name) {
  return fmt::format(
      "<Blob><Name>{}</Name><Properties><Content-Length>5</Content-Length></Properties></Blob>",
      name);
}

class AbsClientTest : public ::testing::Test {
 protected:
  using Handler = std::function<void(const ServedRequest&, const std::string&, ServedPeer&)>;

  std::unique_ptr<ReplicaClient> Connect(abs::Options options = {}) {
    if (options.endpoint.empty()) options.endpoint = server_.url() + "/acc";
    options.container = "cont";
    options.path = "db";
    if (!with_tokens_ && options.sas_token.empty()) options.account_key = "dG9wLXNlY3JldA==";
    options.retry = {.attempts = 4,
                     .first_delay = std::chrono::milliseconds(1),
                     .max_delay = std::chrono::milliseconds(1)};
    auto client = MakeAbsClient(options, shared_);
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }
  std::vector<std::string> Asked() {
    const std::lock_guard lock(mu_);
    return asked_;
  }
  static void Refuse(ServedPeer& peer, int status, std::string_view code,
                     std::vector<std::string> headers = {}) {
    headers.push_back(fmt::format("x-ms-error-code: {}", code));
    peer.Answer(status, headers, "");
  }

  std::mutex mu_;
  std::vector<std::string> asked_;  // "METHOD target"
  Handler answer_;
  bool with_tokens_ = false;
  std::map<std::string, std::string> variables_;
  HttpServer server_{[this](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    {
      const std::lock_guard lock(mu_);
      asked_.push_back(request.method + " " + request.target);
    }
    answer_(request, body, peer);
  }};
  const std::shared_ptr<abs::Shared> shared_ =
      std::make_shared<abs::Shared>(std::make_shared<http::Client>(),
                                    abs::TokenSources{.environment = [this](std::string_view name) {
                                      return variables_[std::string(name)];
                                    }});
};

TEST_F(AbsClientTest, APutAsStockSendsIt) {
  answer_ = [](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    EXPECT_EQ(request.target, fmt::format("/acc/cont/db/ltx/0/{}", kName1));
    EXPECT_EQ(request.header("x-ms-blob-type"), "BlockBlob");
    EXPECT_EQ(request.header("x-ms-blob-content-type"), "application/octet-stream");
    EXPECT_EQ(request.header("content-length"), "5");
    EXPECT_EQ(request.header("content-md5"), http::Base64(http::Md5("hello")));
    EXPECT_EQ(request.header("x-ms-meta-litestreamtimestamp"), "2026-01-02T03:04:05.678Z");
    EXPECT_EQ(request.header("x-ms-access-tier"), "") << "not every account has tiers";
    EXPECT_EQ(request.header("if-none-match"), "");
    EXPECT_EQ(request.header("transfer-encoding"), "");
    EXPECT_THAT(request.header("user-agent"), HasSubstr("litestream"));
    EXPECT_THAT(request.header("authorization"), HasSubstr("SharedKey acc:"));
    EXPECT_EQ(body, "hello");
    peer.Answer(201, {"ETag: \"x\""}, "");
  };
  const auto info = WriteFile(
      kNever, *Connect(), Id(0, 1, 1), "hello",
      {.created_at = WallTime(std::chrono::milliseconds(1'767'323'045'678)), .size_bytes = 5});
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_EQ(info.value().size_bytes, 5U);
}

TEST_F(AbsClientTest, ASasTokenGoesWithEachRequestAsItIs) {
  for (const char* mark : {"", "?"}) {
    asked_.clear();
    answer_ = [](const ServedRequest& request, const std::string&, ServedPeer& peer) {
      EXPECT_EQ(request.header("authorization"), "");
      if (request.method == "GET") return peer.Answer(200, {}, kEmptyList);
      peer.Answer(201, {}, "");
    };
    const auto client =
        Connect({.sas_token = std::string(mark) + "sv=2021-12-02&sp=r%2Bw&sig=a%2Fb%3D"});
    EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
    EXPECT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
    EXPECT_THAT(Asked(), ElementsAre("GET /acc/cont?comp=list&include=metadata&maxresults=1000&"
                                     "prefix=db%2Fltx%2F0%2F&restype=container&"
                                     "sv=2021-12-02&sp=r%2Bw&sig=a%2Fb%3D",
                                     fmt::format("PUT /acc/cont/db/ltx/0/{}?"
                                                 "sv=2021-12-02&sp=r%2Bw&sig=a%2Fb%3D",
                                                 kName1)));
  }
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    Refuse(peer, 403, "AuthenticationFailed", {"Date: Wed, 03 Mar 2038 03:04:05 GMT"});
  };
  const auto expired = Connect({.sas_token = "se=2030-01-01T00:00:00Z&sig=hush"});
  const auto listed = expired->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kDenied);
  EXPECT_THAT(listed.error().message(), HasSubstr("has expired at 2030-01-01T00:00:00Z"));
  EXPECT_THAT(listed.error().message(), Not(HasSubstr("hush")));
  EXPECT_THAT(expired->Describe(), Not(HasSubstr("hush")));
  const auto away = Connect({.endpoint = "http://127.0.0.1:1/acc", .sas_token = "sig=hush"});
  const auto unreachable = away->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(unreachable), ErrorCode::kUnavailable);
  EXPECT_THAT(unreachable.error().message(), Not(HasSubstr("hush")));
}

TEST_F(AbsClientTest, WhatMayWorkTheNextTimeIsTriedAgain) {
  const struct {
    const char* why;
    std::function<void(ServedPeer&)> act;
  } cases[] = {
      {"500", [](ServedPeer& peer) { Refuse(peer, 500, "InternalError"); }},
      {"timed out there", [](ServedPeer& peer) { Refuse(peer, 500, "OperationTimedOut"); }},
      {"busy", [](ServedPeer& peer) { Refuse(peer, 503, "ServerBusy", {"Retry-After: 0"}); }},
      {"busy, in milliseconds",
       [](ServedPeer& peer) { Refuse(peer, 503, "ServerBusy", {"x-ms-retry-after-ms: 1"}); }},
      {"damaged on the way", [](ServedPeer& peer) { Refuse(peer, 400, "Md5Mismatch"); }},
      {"429", [](ServedPeer& peer) { peer.Answer(429, {}, ""); }},
      {"408", [](ServedPeer& peer) { peer.Answer(408, {}, ""); }},
      {"cut", [](ServedPeer& peer) { peer.Close(); }},
      {"reset", [](ServedPeer& peer) { peer.Reset(); }},
      {"a bad gateway", [](ServedPeer& peer) { peer.Answer(502, {}, "<html>bad gateway"); }},
      {"the sign-in page of a network",
       [](ServedPeer& peer) { peer.Answer(200, {}, "<html>welcome"); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    std::atomic<int> puts = 0;
    answer_ = [&](const ServedRequest&, const std::string& body, ServedPeer& peer) {
      EXPECT_EQ(body, "hello") << "the whole body, each time";
      if (++puts < 3) return c.act(peer);
      peer.Answer(201, {}, "");
    };
    const auto info = WriteFile(kNever, *Connect(), Id(0, 1, 1), "hello");
    EXPECT_TRUE(info.ok()) << info.error().message();
    // libcurl itself may have replaced a connection that was used before.
    EXPECT_GE(puts, 3);
  }
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    Refuse(peer, 503, "ServerBusy");
  };
  const int before = server_.requests();
  const auto failed = WriteFile(kNever, *Connect(), Id(0, 1, 1), "hello");
  EXPECT_EQ(CodeOf(failed), ErrorCode::kThrottled);
  EXPECT_EQ(server_.requests() - before, 4);
  EXPECT_THAT(failed.error().message(), HasSubstr(fmt::format("cont/db/ltx/0/{}", kName1)));
}

TEST_F(AbsClientTest, WhatWillNotWorkIsTriedOnce) {
  for (const auto& [status, code] : {std::pair(403, "AuthorizationFailure"),
                                     std::pair(404, "ContainerNotFound"), std::pair(404, "")}) {
    SCOPED_TRACE(code);
    answer_ = [&, status = status, code = code](const ServedRequest&, const std::string&,
                                                ServedPeer& peer) { Refuse(peer, status, code); };
    const int before = server_.requests();
    const auto client = Connect();
    const auto listed = client->List(kNever, kLevel0, {});
    EXPECT_NE(CodeOf(listed), ErrorCode::kNotFound) << "never taken for an empty replica";
    EXPECT_EQ(server_.requests() - before, 1);
    EXPECT_THAT(listed.error().message(), Not(HasSubstr("top-secret")));
    EXPECT_NE(CodeOf(ReadFile(kNever, *client, Id(0, 1, 1))), ErrorCode::kNotFound);
    const FileId ids[] = {Id(0, 1, 1)};
    EXPECT_FALSE(client->Delete(kNever, ids).ok()) << "nor for files that are gone already";
  }
}

TEST_F(AbsClientTest, AWrongClockIsCorrected) {
  constexpr char kServerTime[] = "Date: Wed, 03 Mar 2038 03:04:05 GMT";
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.header("x-ms-date").find("2038") == std::string::npos) {
      return Refuse(peer, 403, "AuthenticationFailed", {kServerTime});
    }
    peer.Answer(request.method == "GET" ? 200 : 202, {}, kEmptyList);
  };
  const auto client = Connect();
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_EQ(server_.requests(), 2);
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_EQ(server_.requests(), 3) << "and stays so";
  // Several that were under way with the wrong time.
  std::vector<FileId> ids;
  for (std::uint64_t txid = 1; txid <= 10; ++txid) ids.push_back(Id(0, txid, txid));
  EXPECT_TRUE(Connect()->Delete(kNever, ids).ok());
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    Refuse(peer, 403, "AuthenticationFailed", {kServerTime});
  };
  const int before = server_.requests();
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(listed), ErrorCode::kDenied);
  EXPECT_THAT(listed.error().message(), HasSubstr("account-key is not that of account acc"));
  EXPECT_EQ(server_.requests() - before, 1) << "with the right time it is the key";
}

TEST_F(AbsClientTest, ANewTokenForARefusedOne) {
  with_tokens_ = true;
  variables_ = {{"IDENTITY_ENDPOINT", server_.url() + "/token"}, {"IDENTITY_HEADER", "x"}};
  std::atomic<int> tokens = 0;
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.path() == "/token") {
      return peer.Answer(200, {},
                         fmt::format(R"({{"access_token":"tok{}","expires_in":36000}})", ++tokens));
    }
    if (request.header("authorization") == "Bearer tok1") {
      return Refuse(peer, 401, "InvalidAuthenticationInfo");
    }
    EXPECT_EQ(request.header("authorization"), "Bearer tok2");
    peer.Answer(200, {}, kEmptyList);
  };
  const auto client = Connect();
  const auto listed = client->List(kNever, kLevel0, {});
  EXPECT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_TRUE(client->List(kNever, kLevel0, {}).ok());
  EXPECT_TRUE(Connect()->List(kNever, kLevel0, {}).ok());
  EXPECT_EQ(tokens, 2) << "one for all replicas";
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.path() == "/token") {
      return peer.Answer(200, {}, R"({"access_token":"hush","expires_in":36000})");
    }
    Refuse(peer, 401, "InvalidAuthenticationInfo");
  };
  const auto refused = client->List(kNever, kLevel0, {});
  EXPECT_EQ(CodeOf(refused), ErrorCode::kDenied);
  EXPECT_THAT(refused.error().message(), HasSubstr("the token was not taken"));
  EXPECT_THAT(refused.error().message(), Not(HasSubstr("hush")));
}

TEST_F(AbsClientTest, ListsThatMustNotBeBelieved) {
  const std::string entry = BlobXml(fmt::format("db/ltx/0/{}", kName1));
  const auto page = [](const std::string& blobs, const std::string& marker) {
    return fmt::format(
        "<EnumerationResults><Blobs>{}</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
        blobs, marker);
  };
  const struct {
    const char* why;
    std::string body;
  } cases[] = {
      {"cut off", "<EnumerationResults><Blobs>" + entry},
      {"empty", ""},
      {"something else", "<html><body>welcome</body></html>"},
      {"the same page for ever", page(entry, "m")},
      {"another place", page(BlobXml("other/x"), "")},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
      peer.Answer(200, {}, c.body);
    };
    EXPECT_EQ(CodeOf(Connect()->List(kNever, kLevel0, {})), ErrorCode::kUnavailable);
    EXPECT_EQ(CodeOf(Connect()->DeleteAll(kNever)), ErrorCode::kUnavailable);
  }
  std::atomic<int> number = 0;
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    const int now = ++number;
    peer.Answer(200, {}, now > 5000 ? "too many" : page("", std::to_string(now)));
  };
  EXPECT_EQ(CodeOf(Connect()->List(kNever, kLevel0, {})), ErrorCode::kUnavailable);
  EXPECT_LT(number, 2000) << "nothing, and more";
  // A page may be empty, and not be the last.
  number = 0;
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    const int now = ++number;
    if (now > 1) {
      EXPECT_THAT(request.target, HasSubstr(fmt::format("marker=m%26{}&", now - 1)));
    }
    peer.Answer(200, {},
                page(now % 50 == 0 ? entry : "", now < 99 ? fmt::format("m&amp;{}", now) : ""));
  };
  const auto listed = Connect()->List(kNever, kLevel0, {});
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_EQ(listed.value().size(), 1U);
}

// Somebody else's blob with a name that XML cannot hold: all of it is encoded.
TEST_F(AbsClientTest, NamesThatComeEncoded) {
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.method == "DELETE") return peer.Answer(202, {}, "");
    peer.Answer(200, {},
                "<EnumerationResults><Blobs><Blob><Name Encoded=\"true\">db%2Fltx%2F0%2Fa%01b"
                "</Name><Properties><Content-Length>5</Content-Length></Properties></Blob>" +
                    BlobXml(fmt::format("db/ltx/0/{}", kName1)) + "</Blobs></EnumerationResults>");
  };
  const auto client = Connect();
  const auto listed = client->List(kNever, kLevel0, {});
  ASSERT_TRUE(listed.ok()) << listed.error().message();
  EXPECT_EQ(listed.value().size(), 1U);
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
  EXPECT_THAT(Asked(), ::testing::Contains("DELETE /acc/cont/db/ltx/0/a%01b"));
}

TEST_F(AbsClientTest, AShortListIsAskedForAsOne) {
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, kEmptyList);
  };
  const auto client = Connect();
  EXPECT_TRUE(client->List(kNever, kLevel0, {.limit = 7}).ok());
  EXPECT_TRUE(client->List(kNever, kLevel0, {.seek = Txid{26}, .limit = 7}).ok());
  EXPECT_TRUE(client->ListAll(kNever, true).ok());
  const auto asked = Asked();
  ASSERT_EQ(asked.size(), 3U);
  EXPECT_THAT(asked[0], HasSubstr("maxresults=7&prefix=db%2Fltx%2F0%2F&"));
  EXPECT_THAT(asked[1], HasSubstr("maxresults=1000&prefix=db%2Fltx%2F0%2F&"));
  EXPECT_THAT(asked[2], HasSubstr("maxresults=1000&prefix=db%2Fltx%2F&"));
}

TEST_F(AbsClientTest, ADeleteIsVerified) {
  const FileId ids[] = {Id(0, 1, 1), Id(0, 2, 2), Id(0, 3, 3)};
  int status = 202;
  std::string code;
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.target.find("0002-") == std::string::npos) return peer.Answer(202, {}, "");
    Refuse(peer, status, code);
  };
  const struct {
    int status;
    const char* code;
    bool ok;
  } cases[] = {{202, "", true},
               {404, "BlobNotFound", true},
               {404, "ContainerNotFound", false},
               {404, "", false},
               {200, "", false},
               {403, "AuthorizationPermissionMismatch", false},
               {409, "SnapshotsPresent", false},
               {412, "LeaseIdMissing", false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{} {}", c.status, c.code));
    status = c.status;
    code = c.code;
    EXPECT_EQ(Connect()->Delete(kNever, ids).ok(), c.ok);
  }
}

TEST_F(AbsClientTest, BlocksBecomeABlobWithTheLastRequest) {
  std::vector<std::string> blocks;
  std::string list;
  std::atomic<int> failing = -1;
  const ServesUntilHere serves(server_);
  answer_ = [&](const ServedRequest& request, const std::string& body, ServedPeer& peer) {
    // Unless it was broken off.
    if (request.header("content-length") != std::to_string(body.size())) return;
    EXPECT_EQ(request.header("content-md5"), http::Base64(http::Md5(body)));
    const std::lock_guard lock(mu_);
    constexpr std::string_view kBlock = "blockid=";
    if (!request.query().starts_with(kBlock)) {
      EXPECT_EQ(request.query(), "comp=blocklist");
      EXPECT_EQ(request.header("x-ms-meta-litestreamtimestamp"), "1970-01-01T00:00:00Z");
      EXPECT_EQ(request.header("x-ms-blob-content-type"), "application/octet-stream");
      list = body;
      return peer.Answer(201, {}, "");
    }
    if (static_cast<int>(blocks.size()) == failing) {
      return Refuse(peer, 403, "AuthorizationFailure");
    }
    EXPECT_EQ(request.header("x-ms-meta-litestreamtimestamp"), "");
    blocks.push_back(Unescaped(request.query().substr(kBlock.size())));
    peer.Answer(201, {}, "");
  };
  const std::string content = MakeContent(5 << 20, 1);
  const abs::Options options{.block_bytes = 2 << 20, .concurrency = 1};
  std::set<std::string> all;
  for (const auto said : {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(5 << 20)}) {
    blocks.clear();
    const auto info =
        WriteFile(kNever, *Connect(options), Id(0, 1, 1), content, {.size_bytes = said});
    ASSERT_TRUE(info.ok()) << info.error().message();
    EXPECT_EQ(info.value().size_bytes, content.size());
    ASSERT_EQ(blocks.size(), 3U);
    std::string want = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
    for (const std::string& id : blocks) {
      EXPECT_TRUE(all.insert(id).second) << "another attempt has other ids";
      want += "<Latest>" + id + "</Latest>";
    }
    EXPECT_EQ(list, want + "</BlockList>");
  }
  list.clear();
  blocks.clear();
  failing = 1;
  EXPECT_EQ(CodeOf(WriteFile(kNever, *Connect(options), Id(0, 1, 1), content)), ErrorCode::kDenied);
  failing = -1;
  EXPECT_EQ(
      CodeOf(WriteFile(kNever, *Connect(options), Id(0, 1, 1), content, {.size_bytes = 5'000'000})),
      ErrorCode::kCorruption);
  contract::TextThenSource broken(content, [] { return Error(ErrorCode::kIo, "gone"); });
  EXPECT_EQ(CodeOf(Connect(options)->Write(kNever, Id(0, 1, 1), broken, {})), ErrorCode::kIo);
  EXPECT_EQ(list, "") << "what failed became no blob";
}

TEST_F(AbsClientTest, SizesOfBlocks) {
  constexpr std::uint64_t kGiB = 1 << 30;
  EXPECT_EQ(abs::BlockBytes({}, 10 * kGiB, 1), abs::kBlockBytes);
  for (const std::uint64_t size : {kGiB, 1000 * kGiB, 190'000 * kGiB}) {
    EXPECT_LE(size, abs::BlockBytes({}, size, 1) * abs::kMaxBlocks);
    EXPECT_LE(abs::BlockBytes({}, size, 1), abs::kMaxBlockBytes);
  }
  std::uint64_t total = 0;
  for (std::uint64_t n = 1; n <= abs::kMaxBlocks; ++n) {
    EXPECT_LE(abs::BlockBytes({}, {}, n), abs::kMaxUploadBytes);
    total += abs::BlockBytes({}, {}, n);
  }
  EXPECT_GT(total, 2500 * kGiB) << "a stream of unknown length";
  EXPECT_EQ(abs::BlockBytes(100 << 20, {}, 40'000), 100U << 20) << "what was asked for";
  const std::string id = abs::BlockId("0123456789abcdef", 258);
  EXPECT_EQ(id.size(), 88U) << "all are equally long, as those of stock Litestream";
  EXPECT_EQ(http::FromBase64(id)->substr(0, 24),
            std::string("0123456789abcdef\0\0\0\0\0\0\1\2", 24));
}

TEST_F(AbsClientTest, DirectoriesGoAfterWhatIsInThem) {
  const auto directory = [](std::string_view name) {
    return fmt::format(
        "<Blob><Name>{}</Name><Properties><Content-Length>0</Content-Length>"
        "<ResourceType>directory</ResourceType></Properties></Blob>",
        name);
  };
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.method == "DELETE") return peer.Answer(202, {}, "");
    peer.Answer(200, {},
                fmt::format("<EnumerationResults><Blobs>{}{}{}</Blobs></EnumerationResults>",
                            directory("db/ltx"), directory("db/ltx/0"), BlobXml("db/ltx/0/x")));
  };
  const auto client = Connect();
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
  auto asked = Asked();
  asked.erase(asked.begin());
  EXPECT_THAT(asked, ElementsAre("DELETE /acc/cont/db/ltx/0/x", "DELETE /acc/cont/db/ltx/0",
                                 "DELETE /acc/cont/db/ltx"));
  EXPECT_EQ(client->ListObjects(kNever, "", 0).value().size(), 1U);
}

TEST_F(AbsClientTest, RangesAreAskedForInAzuresHeader) {
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    EXPECT_EQ(request.header("x-ms-range"), "bytes=4-6");
    EXPECT_EQ(request.header("range"), "");
    peer.Answer(206, {"Content-Range: bytes 4-6/16"}, "who");
  };
  const auto client = Connect();
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1), {.offset_bytes = 4, .length_bytes = 3}).value(),
            "who");
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, "the whole object");
  };
  EXPECT_EQ(CodeOf(client->Open(kNever, Id(0, 1, 1), {.offset_bytes = 4})),
            ErrorCode::kUnsupported);
}

TEST_F(AbsClientTest, APrefixIsCleaned) {
  answer_ = [&](const ServedRequest&, const std::string&, ServedPeer& peer) {
    Refuse(peer, 404, "BlobNotFound");
  };
  const struct {
    const char* path;
    const char* blob;
  } cases[] = {
      {"", "/ltx"},         {".", "/ltx"},      {"db", "/db/ltx"},     {"db/", "/db/ltx"},
      {"a//b", "/a/b/ltx"}, {"./a/", "/a/ltx"}, {"a/../b", "/b/ltx"},  {"/db", "/%2Fdb/ltx"},
      {"/", "/ltx"},        {"/..", "/ltx"},    {"../a", "/../a/ltx"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    asked_.clear();
    const auto client = MakeAbsClient({.container = "cont",
                                       .path = c.path,
                                       .endpoint = server_.url() + "/acc",
                                       .account_key = "a2V5"},
                                      shared_);
    EXPECT_EQ(CodeOf(client.value()->Open(kNever, Id(0, 1, 1), {})), ErrorCode::kNotFound);
    EXPECT_THAT(Asked(), ElementsAre(fmt::format("GET /acc/cont{}/0/{}", c.blob, kName1)));
  }
}

TEST_F(AbsClientTest, OptionsThatDoNotGoTogether) {
  const struct {
    abs::Options options;
    const char* want;
  } cases[] = {
      {{.container = ""}, "abs: container name is required"},
      {{.container = "c"}, "abs: account name is required when endpoint is not specified"},
      {{.container = "c/d", .account_name = "a"}, "has no \"/\""},
      {{.container = "c", .endpoint = "https://10.0.0.1", .account_key = "aHVzaA=="},
       "account-name is required with account-key"},
      {{.container = "c", .account_name = "a", .account_key = "hush!"}, "not in base64"},
      {{.container = "c", .account_name = "a", .sas_token = "hush"}, "sas-token is none"},
      {{.container = "c", .account_name = "a", .sas_token = "https://a/c?sig=hush"},
       "sas-token is none"},
      {{.container = "c", .account_name = "a", .endpoint = "http://example.com"}, "over https"},
      {{.container = "c", .account_name = "a", .account_key = "a2V5", .block_bytes = 0},
       "part-size must be"},
      {{.container = "c", .account_name = "a", .account_key = "a2V5", .block_bytes = 5ULL << 30},
       "part-size must be"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.want);
    const auto client = MakeAbsClient(c.options, shared_);
    EXPECT_EQ(CodeOf(client), ErrorCode::kInvalidArgument);
    EXPECT_THAT(client.error().message(), HasSubstr(c.want));
    EXPECT_THAT(client.error().message(), Not(HasSubstr("hush")));
  }
  EXPECT_TRUE(MakeAbsClient({.container = "c", .account_name = "a"}, shared_).ok());
}

}  // namespace
}  // namespace litestream
