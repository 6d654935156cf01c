#include <array>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/nats/nats_client.h"
#include "backend/nats/upload.h"
#include "base/try.h"
#include "tests/contract/bodies.h"
#include "tests/support/nats_test_server.h"

// What the contract says nothing about, against real servers.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::TextSource;
using contract::WriteFile;
using ::testing::HasSubstr;

const Context kNever = Context::Background();

std::unique_ptr<ReplicaClient> Connect(const nats::Options& options) {
  auto client = MakeNatsClient(options, NatsTestConnections());
  EXPECT_TRUE(client.ok()) << client.error().message();
  return std::move(client).value();
}

// In a bucket of its own; a call is tried once.
nats::Options At(const std::string& bucket, const std::string& more = "") {
  auto options = NatsTestOptions();
  options.bucket = bucket;
  options.retry.attempts = 1;
  MakeNatsBucket(options, more);
  return options;
}

nats::Options TlsOptions() {
  const std::string host = NatsEnvironment("LITESTREAM_TEST_NATS_TLS_HOST");
  return {.server = {.host = "localhost" + host.substr(host.rfind(':')),
                     .token = "SECRET-token",
                     .root_certificates = {NatsFile("ca.pem")},
                     .client_certificate = NatsFile("client.pem"),
                     .client_key = NatsFile("client.key"),
                     .reconnect_wait = std::chrono::milliseconds(20)},
          .bucket = "tls",
          .domain = "hub",
          .retry = {.attempts = 1}};
}

// Of the bucket's stream, without the objects' descriptions.
std::uint64_t StoredChunks(const nats::Options& options) {
  nats::Bucket bucket(options, NatsTestConnections().Get(options.server));
  const auto page = nats::ParseSubjectPage(
      AskJetStream(options, "STREAM.INFO.OBJ_" + options.bucket,
                   fmt::format(R"({{"subjects_filter":"$O.{}.C.>"}})", options.bucket)));
  EXPECT_TRUE(page.ok()) << page.error().message();
  std::uint64_t count = 0;
  for (const auto& entry : page.value().subjects) count += entry.second;
  return count;
}

std::string Messages(const nats::Options& options) {
  const std::string info = AskJetStream(options, "STREAM.INFO.OBJ_" + options.bucket, "");
  const std::size_t at = info.find("\"messages\":");
  return at == std::string::npos ? info : info.substr(at, info.find(',', at) - at);
}

// "" after failing the test.
std::string Read(ReplicaClient& client, const FileId& id, const ByteRange& range = {}) {
  auto content = ReadFile(kNever, client, id, range);
  EXPECT_TRUE(content.ok()) << content.error().message();
  return content.ok() ? std::move(content).value() : "";
}

Error ErrorOf(const nats::Options& options) {
  const auto listed = Connect(options)->List(kNever, kLevel0, {});
  return listed.ok() ? Error(ErrorCode::kInternal, "no error") : listed.error();
}

TEST(NatsServer, LargeStreams) {
  const auto options = At("large");
  const auto client = Connect(options);
  const std::string content = MakeContent((40 << 20) + 3, 1);
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
  EXPECT_EQ(StoredChunks(options), content.size() / nats::kChunkBytes + 1)
      << "the chunks of what was replaced are gone";
  const auto files = client->List(kNever, kSnapshotLevel, {.exact_times = true});
  ASSERT_EQ(files.value().size(), 1U);
  EXPECT_EQ(files.value()[0].created_at.time_since_epoch().count(), 1'767'323'045'670);
  for (const std::uint64_t offset : {std::uint64_t{1}, nats::kChunkBytes - 1, nats::kChunkBytes,
                                     nats::kChunkBytes * 200 + 7, content.size() - 1}) {
    SCOPED_TRACE(offset);
    const auto part = ReadFile(kNever, *client, Id(9, 1, 1),
                               {.offset_bytes = offset, .length_bytes = nats::kChunkBytes + 5});
    ASSERT_TRUE(part.ok()) << part.error().message();
    EXPECT_TRUE(part.value() == content.substr(offset, nats::kChunkBytes + 5));
  }
  ASSERT_TRUE(client->DeleteAll(kNever).ok());
  EXPECT_EQ(Messages(options), "\"messages\":0") << "no marker stays either";
}

// Chunks of several uploads lie between each other.
TEST(NatsServer, UploadsAtTheSameTime) {
  const auto options = At("together");
  const auto client = Connect(options);
  constexpr std::uint64_t kUploads = 6;
  constexpr std::size_t kSize = 5'000'001;
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 1; i <= kUploads; ++i) {
      threads.emplace_back([&client, i] {
        const auto info = WriteFile(kNever, *client, Id(1, i, i), MakeContent(kSize, i));
        EXPECT_TRUE(info.ok()) << info.error().message();
      });
    }
  }
  for (std::uint64_t i = 1; i <= kUploads; ++i) {
    const std::string content = MakeContent(kSize, i);
    EXPECT_TRUE(Read(*client, Id(1, i, i)) == content);
    for (const std::uint64_t offset : {kSize / 3, kSize - 32'768}) {
      EXPECT_TRUE(Read(*client, Id(1, i, i), {.offset_bytes = offset}) == content.substr(offset));
    }
  }
  EXPECT_TRUE(client->DeleteAll(kNever).ok());
}

TEST(NatsServer, AFailedUploadLeavesNothing) {
  const auto options = At("failed");
  const auto client = Connect(options);
  contract::TextThenSource broken(MakeContent(12 << 20, 1),
                                  [] { return Error(ErrorCode::kIo, "the disk is gone"); });
  const auto failed = client->Write(kNever, Id(9, 1, 1), broken, {});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kIo);
  std::stop_source stop;
  contract::TextThenSource stopped(MakeContent(12 << 20, 1), [&stop] {
    stop.request_stop();
    return std::size_t{0};
  });
  const auto cancelled = client->Write(Context(stop.get_token()), Id(9, 1, 1), stopped, {});
  ASSERT_FALSE(cancelled.ok());
  EXPECT_EQ(cancelled.error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(Messages(options), "\"messages\":0");
}

TEST(NatsServer, AFullBucketIsNoSpaceAndKeepsWhatItHas) {
  const auto options = At("full", R"(,"allow_direct":true,"max_bytes":3000000)");
  const auto client = Connect(options);
  const std::string content = MakeContent(1'000'000, 1);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), content).ok());
  for (const FileId& id : {Id(0, 1, 1), Id(0, 2, 2)}) {
    const auto info = WriteFile(kNever, *client, id, MakeContent(5'000'000, 2));
    ASSERT_FALSE(info.ok());
    EXPECT_EQ(info.error().code(), ErrorCode::kNoSpace) << info.error().message();
    EXPECT_THAT(info.error().message(), HasSubstr("raise the bucket's size"));
  }
  EXPECT_EQ(StoredChunks(options), 8U);
  EXPECT_TRUE(Read(*client, Id(0, 1, 1)) == content);
  EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 1U);
}

// As other clients leave them: chunks of any size, nothing that says where they are, also between
// chunks of others.
class ForeignObject {
 public:
  ForeignObject(const nats::Options& options, std::string name) : options_(options) {
    meta_.name = std::move(name);
    meta_.nuid = nats::NewNuid();
  }
  void AddChunk(const std::string& chunk) {
    Publish(fmt::format("$O.{}.C.{}", options_.bucket, meta_.nuid), chunk);
    ++meta_.chunks;
    meta_.size_bytes += chunk.size();
  }
  void AddStranger() { Publish(fmt::format("$O.{}.C.stranger", options_.bucket), "strange"); }
  void Commit(const std::string& digest = "") {
    meta_.digest = digest;
    nats::Bucket bucket(options_, NatsTestConnections().Get(options_.server));
    bool may_be_stored = false;
    EXPECT_TRUE(bucket.PutMeta(kNever, meta_, 0, may_be_stored).ok());
  }

 private:
  void Publish(const std::string& subject, const std::string& body) {
    const auto answer = NatsTestConnections()
                            .Get(options_.server)
                            ->Ask(kNever, {.subject = subject,
                                           .headers = {},
                                           .body = std::make_shared<const std::string>(body)});
    EXPECT_TRUE(answer.ok() && nats::ParsePublishAck(answer.value().body).ok());
  }
  const nats::Options options_;
  nats::ObjectMeta meta_;
};

TEST(NatsServer, ObjectsOfOtherClients) {
  for (const bool direct : {true, false}) {
    SCOPED_TRACE(direct);
    auto options =
        At(direct ? "foreign" : "foreign_of_old", direct ? "" : R"(,"allow_direct":false)");
    const auto client = Connect(options);
    const std::string content = MakeContent(700'000, 5);
    ForeignObject object(options, "ltx/0/0000000000000001-0000000000000001.ltx");
    std::size_t done = 0;
    for (std::size_t i = 0; done < content.size(); ++i) {
      const std::size_t size = i == 0 ? 100 : 1 + i * 7919 % 40'000;
      object.AddChunk(content.substr(done, size));
      done += std::min(size, content.size() - done);
      for (std::size_t s = 0; s < i % 13; ++s) object.AddStranger();
    }
    object.Commit();
    EXPECT_TRUE(Read(*client, Id(0, 1, 1)) == content);
    const auto part =
        ReadFile(kNever, *client, Id(0, 1, 1), {.offset_bytes = 333'333, .length_bytes = 77'777});
    EXPECT_TRUE(part.value() == content.substr(333'333, 77'777));
  }
}

TEST(NatsServer, WhatIsDamagedIsNotRead) {
  const auto options = At("damaged");
  const auto client = Connect(options);
  ForeignObject wrong(options, "ltx/0/0000000000000001-0000000000000001.ltx");
  wrong.AddChunk("some content");
  wrong.Commit("SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=");
  const auto read = ReadFile(kNever, *client, Id(0, 1, 1));
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code(), ErrorCode::kCorruption) << read.error().message();
  EXPECT_THAT(read.error().message(), HasSubstr("digest"));
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 2, 2), MakeContent(1'000'000, 1)).ok());
  // The third message of the upload, which came fourth in the bucket.
  const std::string removed =
      AskJetStream(options, "STREAM.MSG.DELETE.OBJ_damaged", R"({"seq":5})");
  EXPECT_THAT(removed, HasSubstr("\"success\":true"));
  const auto missing = ReadFile(kNever, *client, Id(0, 2, 2));
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kCorruption) << missing.error().message();
}

TEST(NatsServer, ReplacedOrDeletedWhileItIsRead) {
  const auto options = At("replaced");
  const auto client = Connect(options);
  const std::string content = MakeContent(3 << 20, 1);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), content).ok());
  std::array<std::byte, 10> buffer{};
  const FileId id = Id(0, 1, 1);
  const auto before = client->Open(kNever, id, {});
  ASSERT_EQ(before.value()->Read(kNever, buffer).value(), buffer.size());
  ASSERT_TRUE(WriteFile(kNever, *client, id, MakeContent(3 << 20, 2)).ok());
  const auto rest = contract::ReadAll(kNever, *before.value());
  ASSERT_FALSE(rest.ok());
  EXPECT_EQ(rest.error().code(), ErrorCode::kUnavailable) << rest.error().message();
  const auto last = client->Open(kNever, id, {});
  ASSERT_TRUE(client->Delete(kNever, {&id, 1}).ok());
  const auto gone = contract::ReadAll(kNever, *last.value());
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code(), ErrorCode::kNotFound) << gone.error().message();
}

// What lies beside a replica in its bucket is not its own.
TEST(NatsServer, DeleteAllLeavesWhatBelongsToOthers) {
  auto options = At("shared");
  const auto root = Connect(options);
  options.path = "apps/one";
  const auto one = Connect(options);
  options.path = "apps/one-more";
  const auto two = Connect(options);
  for (const auto* client : {&root, &one, &two}) {
    ASSERT_TRUE(WriteFile(kNever, **client, Id(0, 1, 1), (*client)->Describe()).ok());
    ASSERT_TRUE((*client)->PutObject(kNever, "lock.json", "{}", "").ok());
  }
  ForeignObject(options, "picture.png").Commit();
  ASSERT_TRUE(one->DeleteAll(kNever).ok());
  EXPECT_EQ(Read(*two, Id(0, 1, 1)), two->Describe());
  EXPECT_EQ(Read(*root, Id(0, 1, 1)), root->Describe());
  ASSERT_TRUE(root->DeleteAll(kNever).ok());
  EXPECT_EQ(Read(*two, Id(0, 1, 1)), two->Describe());
  EXPECT_EQ(two->GetObject(kNever, "lock.json").value().content, "{}");
  EXPECT_EQ(root->List(kNever, kLevel0, {}).value().size(), 0U);
  EXPECT_FALSE(root->GetObject(kNever, "lock.json").ok());
}

TEST(NatsServer, EveryWayToLogIn) {
  auto nkey = At("logins");
  nkey.server.user = nkey.server.password = "";
  nkey.server.nkey = "UB";
  nkey.server.seed = NatsFileContent("nkey.seed");
  EXPECT_THAT(MakeNatsClient(nkey, NatsTestConnections()).error().message(),
              HasSubstr("is not that of the seed"));
  nkey.server.nkey = nkey.server.seed;
  nkey.server.seed = "";
  auto jwt = nkey;
  jwt.server = {.host = NatsEnvironment("LITESTREAM_TEST_NATS_JWT_HOST"),
                .jwt = NatsFileContent("user.jwt"),
                .seed = NatsFileContent("user.seed")};
  MakeNatsBucket(jwt);
  auto creds = jwt;
  creds.server.jwt = creds.server.seed = "";
  creds.server.credentials_file = NatsFile("user.creds");
  const auto tls = TlsOptions();
  MakeNatsBucket(tls);
  for (const auto& options : {nkey, jwt, creds, tls}) {
    SCOPED_TRACE(options.server.host);
    const auto client = Connect(options);
    const auto written = WriteFile(kNever, *client, Id(0, 1, 1), "x");
    EXPECT_TRUE(written.ok()) << written.error().message();
    EXPECT_EQ(Read(*client, Id(0, 1, 1)), "x");
    EXPECT_TRUE(client->DeleteAll(kNever).ok());
  }
}

TEST(NatsServer, WhatIsWrongIsSaid) {
  const auto right = At("wrong");
  auto jwt = right;
  jwt.server = {.host = NatsEnvironment("LITESTREAM_TEST_NATS_JWT_HOST"),
                .jwt = NatsFileContent("user.jwt"),
                .seed = NatsFileContent("nkey.seed")};
  auto password = right;
  password.server.password = "SECRET-other";
  auto bucket = right;
  bucket.bucket = "missing";
  auto domain = right;
  domain.domain = "elsewhere";
  auto port = right;
  port.server.host = "127.0.0.1:1";
  auto plain = right;
  plain.server.tls = true;
  auto token = TlsOptions();
  token.server.token = "SECRET-other";
  auto no_authority = TlsOptions();
  no_authority.server.root_certificates.clear();
  auto no_certificate = TlsOptions();
  no_certificate.server.client_certificate = no_certificate.server.client_key = "";
  auto other_name = TlsOptions();
  other_name.server.host = NatsEnvironment("LITESTREAM_TEST_NATS_TLS_HOST");
  auto no_file = TlsOptions();
  no_file.server.root_certificates = {"/nowhere.pem"};
  auto no_creds = right;
  no_creds.server.credentials_file = "/nowhere.creds";
  const struct {
    const char* why;
    const nats::Options& options;
    ErrorCode code;
    const char* says;
  } cases[] = {
      {"password", password, ErrorCode::kDenied, "check username and password"},
      {"token", token, ErrorCode::kDenied, "Authorization Violation"},
      {"seed of another user", jwt, ErrorCode::kDenied, "Authorization Violation"},
      {"bucket", bucket, ErrorCode::kInvalidArgument, "must be created beforehand"},
      {"domain", domain, ErrorCode::kUnavailable, "is the domain right"},
      {"port", port, ErrorCode::kUnavailable, "127.0.0.1:1"},
      {"a server without TLS", plain, ErrorCode::kInvalidArgument, "does not offer TLS"},
      {"unknown authority", no_authority, ErrorCode::kInvalidArgument, "check root-cas"},
      {"no client certificate", no_certificate, ErrorCode::kUnavailable, "connect to"},
      {"certificate of another host", other_name, ErrorCode::kInvalidArgument, "this host"},
      {"no such file", no_file, ErrorCode::kInvalidArgument, "root-cas /nowhere.pem"},
      {"no file of credentials", no_creds, ErrorCode::kInvalidArgument, "/nowhere.creds"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const Error error = ErrorOf(c.options);
    EXPECT_EQ(error.code(), c.code) << error.message();
    EXPECT_THAT(error.message(), HasSubstr(c.says));
    EXPECT_THAT(error.message(), ::testing::Not(HasSubstr("SECRET")));
  }
  auto unverified = other_name;
  unverified.server.skip_verify = true;
  unverified.bucket = "missing";
  EXPECT_THAT(ErrorOf(unverified).message(), HasSubstr("must be created beforehand"));
  const auto read = ReadFile(kNever, *Connect(bucket), Id(0, 1, 1));
  EXPECT_EQ(read.error().code(), ErrorCode::kInvalidArgument) << "a missing bucket is no empty one";
  const auto written = WriteFile(kNever, *Connect(bucket), Id(0, 1, 1), "x");
  EXPECT_EQ(written.error().code(), ErrorCode::kInvalidArgument);
}

TEST(NatsServer, WhoMayNotWriteIsTold) {
  auto options = At("reading");
  ASSERT_TRUE(WriteFile(kNever, *Connect(options), Id(0, 1, 1), "x").ok());
  options.server.user = "reader";
  options.server.password = "SECRET-reader";
  const auto client = Connect(options);
  EXPECT_EQ(client->List(kNever, kLevel0, {}).value().size(), 1U);
  const auto written = WriteFile(kNever, *client, Id(0, 2, 2), "x");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), ErrorCode::kDenied) << written.error().message();
  EXPECT_THAT(written.error().message(), HasSubstr("Publish to \"$O.reading.C."));
  EXPECT_EQ(ReadFile(kNever, *client, Id(0, 1, 1)).error().code(), ErrorCode::kDenied);
}

TEST(NatsServer, OneConnectionForAll) {
  const auto options = At("connections");
  auto other = options;
  other.bucket = "wrong";
  nats::Connections connections;
  const auto one = connections.Get(options.server);
  EXPECT_EQ(connections.Get(other.server), one);
  other.server.password = "another";
  EXPECT_NE(connections.Get(other.server), one);
}

}  // namespace
}  // namespace litestream
