#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "backend/sftp/sftp_client.h"
#include "storage/resumable_source.h"
#include "tests/contract/bodies.h"
#include "tests/support/sftp_test_server.h"
#include "tests/support/tcp_relay.h"

// Networks that stand still, and connections that end: real servers behind a relay.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using ::testing::HasSubstr;

const Context kNever = Context::Background();

class SftpNetwork : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    options_ = SftpTestOptions(GetParam());
    relay_.emplace(options_.connect.port);
    options_.connect.port = relay_->port();
    options_.path = SftpTestPath(GetParam(), "network" + std::to_string(::getpid()));
  }
  void TearDown() override {
    relay_->Thaw();
    relay_->CutAfter(0);
    options_.connect.stall_timeout = sftp::ConnectOptions().stall_timeout;
    options_.connect.connect_timeout = sftp::ConnectOptions().connect_timeout;
    EXPECT_TRUE(Connect()->DeleteAll(kNever).ok());
  }
  std::unique_ptr<ReplicaClient> Connect() {
    auto client = MakeSftpClient(options_, shared_);
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }
  TcpRelay& relay() { return *relay_; }
  // Of the file 1-1 of level 0; what went wrong if it cannot be read.
  static std::string Content(ReplicaClient& client) {
    const auto read = ReadFile(kNever, client, Id(0, 1, 1));
    return read.ok() ? read.value() : read.error().message();
  }
  static std::size_t CountFiles(ReplicaClient& client) {
    const auto files = client.List(kNever, kLevel0, {});
    EXPECT_TRUE(files.ok()) << files.error().message();
    return files.ok() ? files.value().size() : 0;
  }

  sftp::Options options_;
  sftp::Shared shared_;

 private:
  std::optional<TcpRelay> relay_;
};

// Whoever waits for an answer that does not come ends when he is told to, not when the connection
// is given up, a minute later.
TEST_P(SftpNetwork, EveryCallEndsWhenItIsToldTo) {
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), MakeContent(100'000, 1)).ok());
  const FileId ids[] = {Id(0, 1, 1)};
  std::unique_ptr<ByteSource> source;
  const auto code = [](const auto& result) {
    if (result.ok()) return ErrorCode::kInternal;
    EXPECT_EQ(result.error().code(), ErrorCode::kCancelled) << result.error().message();
    return result.error().code();
  };
  const struct {
    const char* why;
    std::function<ErrorCode(const Context&)> call;
  } cases[] = {
      {"list", [&](const Context& ctx) { return code(client->List(ctx, kLevel0, {})); }},
      {"open", [&](const Context& ctx) { return code(client->Open(ctx, ids[0], {})); }},
      {"read",
       [&](const Context& ctx) {
         std::array<std::byte, 100> buffer{};
         return code(source->Read(ctx, buffer));
       }},
      {"write",
       [&](const Context& ctx) { return code(WriteFile(ctx, *client, Id(0, 2, 2), "x")); }},
      {"delete", [&](const Context& ctx) { return code(client->Delete(ctx, ids)); }},
      {"delete all", [&](const Context& ctx) { return code(client->DeleteAll(ctx)); }},
      {"put", [&](const Context& ctx) { return code(client->PutObject(ctx, "l", "x", "")); }},
      {"objects", [&](const Context& ctx) { return code(client->ListObjects(ctx, "", 0)); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    auto opened = client->Open(kNever, ids[0], {});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    source = std::move(opened).value();
    std::stop_source stop;
    relay().Freeze();
    {
      const std::jthread stopper([&] {
        relay().WaitForUnheard();
        stop.request_stop();
      });
      EXPECT_EQ(c.call(Context(stop.get_token())), ErrorCode::kCancelled);
    }
    source.reset();
    relay().Thaw();
    // So that a delete that was on its way has come.
    ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), MakeContent(100'000, 1)).ok());
  }
}

TEST_P(SftpNetwork, AServerThatIsSilentIsGivenUp) {
  options_.connect.stall_timeout = std::chrono::milliseconds(2'000);
  options_.connect.connect_timeout = std::chrono::milliseconds(2'000);
  options_.retry.attempts = 1;
  const auto client = Connect();
  while (!WriteFile(kNever, *client, Id(0, 1, 1), "x").ok()) {
    // On a machine that is busy two seconds may be too short.
  }
  relay().Freeze();
  const auto listed = client->List(kNever, kLevel0, {});
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(listed.error().message(), HasSubstr("no answer"));
  const auto again = client->List(kNever, kLevel0, {});
  ASSERT_FALSE(again.ok()) << "the new connection is silent, too";
  EXPECT_EQ(again.error().code(), ErrorCode::kUnavailable);
  EXPECT_THAT(again.error().message(), HasSubstr("no answer within 2000 ms"));
}

// Connections that ended while nobody used them are nobody's trouble.
TEST_P(SftpNetwork, ACallAfterACutSucceeds) {
  const auto client = Connect();
  const FileId ids[] = {Id(0, 2, 2)};
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(WriteFile(kNever, *client, Id(0, 1, 1), "x").ok());
    relay().CutAll();
    EXPECT_EQ(Content(*client), "x");
    relay().CutAll();
    EXPECT_EQ(CountFiles(*client), 1U);
    relay().CutAll();
    EXPECT_TRUE(client->Delete(kNever, ids).ok());
    relay().CutAll();
  }
  EXPECT_GE(relay().accepted(), 15);
}

TEST_P(SftpNetwork, AReadGoesOnWhereItWasCut) {
  const auto client = Connect();
  const std::string content = MakeContent(6 << 20, 1);
  ASSERT_TRUE(WriteFile(kNever, *client, Id(9, 1, 1), content).ok());
  relay().CutAfter(1'500'000);
  relay().CutAll();
  auto source = MakeResumableSource(*client, Id(9, 1, 1), 0, content.size());
  const auto read = contract::ReadAll(kNever, *source);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_TRUE(read.value() == content);
  EXPECT_GE(relay().accepted(), 4);
}

// What was cut off is not there, and what was there before still is.
TEST_P(SftpNetwork, AWriteThatIsCutReplacesNothing) {
  // Finds connections that were cut and that nobody has noticed yet.
  const auto reader = Connect();
  options_.retry.attempts = 1;
  const auto client = Connect();
  ASSERT_TRUE(WriteFile(kNever, *reader, Id(0, 1, 1), "before").ok());
  for (const std::size_t at : {std::size_t{0}, std::size_t{1} << 20, std::size_t{3} << 20}) {
    SCOPED_TRACE(at);
    contract::TextThenSource body(MakeContent(at, 1), [&]() -> Result<std::size_t> {
      relay().CutAll();
      return std::size_t{0};
    });
    const auto written = client->Write(kNever, Id(0, 1, 1), body, {});
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code(), ErrorCode::kUnavailable) << written.error().message();
    EXPECT_EQ(Content(*reader), "before");
    EXPECT_EQ(CountFiles(*reader), 1U);
  }
  ASSERT_TRUE(WriteFile(kNever, *reader, Id(0, 1, 1), "after").ok());
  EXPECT_EQ(Content(*reader), "after");
}

INSTANTIATE_TEST_SUITE_P(Sftp, SftpNetwork, ::testing::Values("sshd", "rclone"),
                         [](const auto& info) { return std::string(info.param); });

// Nobody accepts the connection, or says a word.
TEST(SftpSilence, AConnectThatIsToldToEndDoes) {
  sftp::Options options = SftpTestOptions("sshd");
  const Fd listener = ListenOnLoopback(options.connect.port);
  sftp::Shared shared;
  const auto client = MakeSftpClient(options, shared);
  ASSERT_TRUE(client.ok());
  std::stop_source stop;
  const std::jthread stopper([&] {
    pollfd fd{.fd = listener.get(), .events = POLLIN};
    ::poll(&fd, 1, -1);
    stop.request_stop();
  });
  const auto listed = client.value()->List(Context(stop.get_token()), kLevel0, {});
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), ErrorCode::kCancelled) << listed.error().message();
}

// A hundred calls that come while one connects take part in its failure.
TEST(SftpSilence, ADeadServerIsTriedOnceForAll) {
  sftp::Options options = SftpTestOptions("sshd");
  const Fd listener = ListenOnLoopback(options.connect.port);
  options.connect.connect_timeout = std::chrono::milliseconds(300);
  options.retry.attempts = 1;
  sftp::Shared shared;
  const auto client = MakeSftpClient(options, shared);
  ASSERT_TRUE(client.ok());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 30; ++i) {
    threads.emplace_back([&] {
      const auto listed = client.value()->List(kNever, kLevel0, {});
      ASSERT_FALSE(listed.ok());
      EXPECT_EQ(listed.error().code(), ErrorCode::kUnavailable) << listed.error().message();
    });
  }
  threads.clear();
  int connections = 0;
  for (pollfd fd{.fd = listener.get(), .events = POLLIN}; ::poll(&fd, 1, 0) > 0; ++connections) {
    const Fd accepted(::accept(listener.get(), nullptr, nullptr));
  }
  EXPECT_LT(connections, 30);
}

}  // namespace
}  // namespace litestream
