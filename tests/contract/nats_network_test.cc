#include <array>
#include <filesystem>
#include <functional>
#include <iterator>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/nats/nats_client.h"
#include "base/try.h"
#include "tests/contract/bodies.h"
#include "tests/support/nats_test_server.h"
#include "tests/support/tcp_relay.h"

// What happens when the network between us and a server breaks, or stands still.

namespace litestream {
namespace {

using contract::Id;
using contract::MakeContent;
using contract::ReadFile;
using contract::WriteFile;
using std::chrono::hours;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

const Context kNever = Context::Background();

std::uint16_t ServerPort() {
  const std::string host = NatsTestOptions().server.host;
  return static_cast<std::uint16_t>(std::stoi(host.substr(host.rfind(':') + 1)));
}

class NatsNetwork : public ::testing::Test {
 protected:
  NatsNetwork() {
    MakeNatsBucket(direct_);
    auto client = MakeNatsClient(direct_, NatsTestConnections());
    EXPECT_TRUE(client.ok() && client.value()->DeleteAll(kNever).ok());
    beside_ = std::move(client).value();
  }

  static nats::Options Direct() {
    auto options = NatsTestOptions();
    options.bucket = "network";
    options.server.reconnect_wait = milliseconds(1);
    // What is not told to stop in these tests would hang.
    options.server.timeout = options.server.answer_timeout = hours(1);
    options.retry.first_delay = milliseconds(1);
    return options;
  }
  nats::Options Through() const {
    auto options = direct_;
    options.server.host = "127.0.0.1:" + std::to_string(relay_.port());
    return options;
  }
  std::unique_ptr<ReplicaClient> Connect(const nats::Options& options) {
    auto client = MakeNatsClient(options, connections_);
    EXPECT_TRUE(client.ok()) << client.error().message();
    return std::move(client).value();
  }
  std::string Stored() {
    const std::string info = AskJetStream(direct_, "STREAM.INFO.OBJ_network", "");
    const std::size_t at = info.find("\"messages\":");
    return info.substr(at, info.find(',', at) - at);
  }

  const nats::Options direct_ = Direct();
  TcpRelay relay_{ServerPort()};
  nats::Connections connections_;
  std::unique_ptr<ReplicaClient> beside_;  // Not through the relay.
};

// Calls `at_step` each time that so many bytes have been read.
class SteppingSource final : public ByteSource {
 public:
  SteppingSource(std::string text, std::size_t step, std::function<void()> at_step)
      : inner_(std::move(text), step), at_step_(std::move(at_step)) {}
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    at_step_();
    return inner_.Read(ctx, out);
  }

 private:
  contract::TextSource inner_;
  std::function<void()> at_step_;
};

TEST_F(NatsNetwork, AnUploadGoesOnAfterABreak) {
  const auto client = Connect(Through());
  const std::string content = MakeContent((9 << 20) + 5, 1);
  int steps = 0;
  SteppingSource body(content, 1 << 17, [this, &steps] {
    if (++steps % 20 == 19) relay_.CutAll();
  });
  const auto info = client->Write(kNever, Id(0, 1, 1), body, {});
  ASSERT_TRUE(info.ok()) << info.error().message();
  EXPECT_GE(relay_.accepted(), 3);
  EXPECT_TRUE(ReadFile(kNever, *beside_, Id(0, 1, 1)).value() == content);
  EXPECT_EQ(Stored(), "\"messages\":74") << "each chunk once, and the description";
}

TEST_F(NatsNetwork, AReaderGoesOnAfterABreak) {
  const std::string content = MakeContent((9 << 20) + 5, 1);
  ASSERT_TRUE(WriteFile(kNever, *beside_, Id(0, 1, 1), content).ok());
  const auto client = Connect(Through());
  const auto source = client->Open(kNever, Id(0, 1, 1), {});
  ASSERT_TRUE(source.ok()) << source.error().message();
  std::string got;
  std::array<std::byte, 50'000> buffer{};
  for (int reads = 1;; ++reads) {
    const auto count = source.value()->Read(kNever, buffer);
    ASSERT_TRUE(count.ok()) << count.error().message();
    if (count.value() == 0) break;
    got.append(reinterpret_cast<const char*>(buffer.data()), count.value());
    if (reads % 50 == 0) relay_.CutAll();
  }
  EXPECT_TRUE(got == content);
  EXPECT_GE(relay_.accepted(), 3);
}

// Wherever the answers of the server end, what is written is there once, and known to be.
TEST_F(NatsNetwork, WhereverAnswersAreLost) {
  for (std::uint64_t bytes = 700; bytes < 2600; bytes += 120) {
    SCOPED_TRACE(bytes);
    relay_.CutAfter(bytes);
    const auto client = Connect(Through());
    ASSERT_TRUE(client->List(kNever, kLevel0, {.limit = 1}).ok() || bytes < 1500);
    relay_.CutAfter(0);
    const std::string content = MakeContent(300'000, bytes);
    const FileId id = Id(0, bytes, bytes);
    const auto info = WriteFile(kNever, *client, id, content, {.if_absent = true});
    ASSERT_TRUE(info.ok()) << info.error().message();
    EXPECT_TRUE(ReadFile(kNever, *beside_, id).value() == content);
    const auto tag = client->PutObject(kNever, "lock.json", "one", "");
    ASSERT_TRUE(tag.ok()) << tag.error().message();
    EXPECT_EQ(beside_->GetObject(kNever, "lock.json").value().tag, tag.value());
    const auto again = client->PutObject(kNever, "lock.json", "two", tag.value());
    ASSERT_TRUE(again.ok()) << again.error().message();
    const auto deleted = client->DeleteObject(kNever, "lock.json", again.value());
    ASSERT_TRUE(deleted.ok()) << deleted.error().message();
    ASSERT_TRUE(client->Delete(kNever, {&id, 1}).ok());
    EXPECT_EQ(Stored(), "\"messages\":0");
  }
}

TEST_F(NatsNetwork, WhoIsStoppedDoesNotWait) {
  ASSERT_TRUE(WriteFile(kNever, *beside_, Id(0, 1, 1), MakeContent(3 << 20, 1)).ok());
  const struct {
    const char* why;
    bool connected;
    std::function<ErrorCode(ReplicaClient&, const Context&)> call;
  } cases[] = {
      {"connecting", false,
       [](ReplicaClient& client, const Context& ctx) {
         return client.List(ctx, kLevel0, {}).error().code();
       }},
      {"listing", true,
       [](ReplicaClient& client, const Context& ctx) {
         return client.List(ctx, kLevel0, {}).error().code();
       }},
      {"reading", true,
       [](ReplicaClient& client, const Context& ctx) {
         return ReadFile(ctx, client, Id(0, 1, 1)).error().code();
       }},
      {"writing", true,
       [](ReplicaClient& client, const Context& ctx) {
         return WriteFile(ctx, client, Id(0, 2, 2), MakeContent(30 << 20, 1)).error().code();
       }},
      {"deleting", true,
       [](ReplicaClient& client, const Context& ctx) {
         const FileId id = Id(0, 1, 1);
         return client.Delete(ctx, {&id, 1}).error().code();
       }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto client = Connect(Through());
    if (c.connected) {
      ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
    }
    relay_.Freeze();
    std::stop_source stop;
    ErrorCode code = ErrorCode::kInternal;
    std::jthread caller([&] { code = c.call(*client, Context(stop.get_token())); });
    // A server speaks first, so who connects is not heard at all.
    if (c.connected) relay_.WaitForUnheard();
    stop.request_stop();
    caller.join();
    EXPECT_EQ(code, ErrorCode::kCancelled);
    relay_.Thaw();
  }
}

TEST_F(NatsNetwork, ADeadlineIsKept) {
  const auto client = Connect(Through());
  ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
  relay_.Freeze();
  const Context soon({}, Clock::Real().Monotonic() + milliseconds(50));
  EXPECT_EQ(client->List(soon, kLevel0, {}).error().code(), ErrorCode::kTimeout);
  relay_.Thaw();
}

TEST_F(NatsNetwork, AServerThatDoesNotAnswerIsGivenUp) {
  auto options = Through();
  options.retry.attempts = 1;
  options.server.timeout = options.server.answer_timeout = milliseconds(100);
  const auto client = Connect(options);
  ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
  relay_.Freeze();
  for (const char* said : {"no answer", ""}) {
    const auto listed = client->List(kNever, kLevel0, {});
    ASSERT_FALSE(listed.ok());
    EXPECT_EQ(listed.error().code(), ErrorCode::kUnavailable) << listed.error().message();
    EXPECT_THAT(listed.error().message(), HasSubstr(said));
  }
  relay_.Thaw();
  options.retry.attempts = 5;
  const auto after = Connect(options)->List(kNever, kLevel0, {});
  EXPECT_TRUE(after.ok()) << after.error().message();
}

std::ptrdiff_t Threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

TEST_F(NatsNetwork, ThreadsDoNotBecomeMore) {
  const auto client = Connect(Through());
  ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
  const std::ptrdiff_t threads = Threads();
  for (int i = 0; i < 20; ++i) {
    relay_.CutAll();
    ASSERT_TRUE(client->List(kNever, kLevel0, {}).ok());
    const auto other = Connect(Through());
    ASSERT_TRUE(other->List(kNever, kLevel0, {}).ok());
  }
  EXPECT_GE(relay_.accepted(), 20);
  // Those of connections that were lost end by themselves.
  for (int i = 0; i < 1000 && Threads() > threads; ++i) {
    Clock::Real().Wait({}, milliseconds(10));
  }
  EXPECT_LE(Threads(), threads);
}

}  // namespace
}  // namespace litestream
