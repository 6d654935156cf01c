#include "http/client.h"

#include <atomic>
#include <cstdlib>
#include <latch>
#include <thread>

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "tests/contract/bodies.h"
#include "tests/support/http_server.h"

namespace litestream::http {
namespace {

using contract::MakeContent;
using contract::TextSource;
using contract::TextThenSource;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();

template <typename T>
ErrorCode CodeOf(const Result<T>& result) {
  EXPECT_FALSE(result.ok()) << "should have failed";
  return result.ok() ? ErrorCode::kInternal : result.error().code();
}

std::shared_ptr<const std::string> Body(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

// Counts what it gave, and how far ahead of the network it had to run.
class CountingSource final : public ByteSource {
 public:
  explicit CountingSource(std::uint64_t bytes) : left_(bytes) {}
  Result<std::size_t> Read(const Context&, std::span<std::byte> out) override {
    const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_));
    std::ranges::fill(out.first(count), std::byte{'x'});
    left_ -= count;
    given_ += count;
    return count;
  }
  std::uint64_t given() const { return given_; }

 private:
  std::uint64_t left_;
  std::atomic<std::uint64_t> given_ = 0;
};

class HttpClientTest : public ::testing::Test {
 protected:
  Client client_{{.threads = 2}};
};

TEST_F(HttpClientTest, RequestAndAnswer) {
  HttpServer server([](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    peer.Answer(request.target == "/gone" ? 404 : 200, {"X-Method: " + request.method},
                request.target + "|" + request.header("x-mine") + "|" + body);
  });
  for (const char* method : {"GET", "PUT", "POST", "DELETE", "PATCH"}) {
    SCOPED_TRACE(method);
    const bool body = std::string_view(method).starts_with("P");
    const auto answer = client_.Do(kNever, {.method = method,
                                            .url = server.url() + "/a/./b/../c//d?x=%20",
                                            .headers = {{"X-Mine", "yes"}},
                                            .body = body ? Body("content") : nullptr});
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(answer.value().status, 200);
    EXPECT_EQ(HeaderValue(answer.value().headers, "x-method"), method);
    EXPECT_EQ(answer.value().body,
              std::string("/a/./b/../c//d?x=%20|yes|") + (body ? "content" : ""));
  }
  const auto gone = client_.Do(kNever, {.url = server.url() + "/gone"});
  ASSERT_TRUE(gone.ok()) << "a status is no error: " << gone.error().message();
  EXPECT_EQ(gone.value().status, 404);
  EXPECT_EQ(server.connections(), 1) << "one connection does for requests that follow each other";
}

TEST_F(HttpClientTest, EmptyBodiesHaveALengthAndHeadHasNone) {
  HttpServer server([](const ServedRequest& request, ServedPeer& peer) {
    if (request.method == "HEAD") return peer.Send("HTTP/1.1 200 x\r\nContent-Length: 77\r\n\r\n");
    peer.Answer(200, {},
                request.header("content-length") + request.header("expect") + "/" +
                    request.header("x-empty") + "/" + request.header("user-agent"));
  });
  const auto put = client_.Do(
      kNever,
      {.method = "PUT", .url = server.url(), .headers = {{"X-Empty", ""}}, .body = Body("")});
  ASSERT_TRUE(put.ok()) << put.error().message();
  EXPECT_EQ(put.value().body, "0//litestream");
  const auto head = client_.Do(kNever, {.method = "HEAD", .url = server.url() + "/"});
  ASSERT_TRUE(head.ok()) << head.error().message();
  EXPECT_EQ(HeaderValue(head.value().headers, "Content-Length"), "77");
  EXPECT_EQ(head.value().body, "");
}

TEST_F(HttpClientTest, NothingIsFollowed) {
  HttpServer server([](const ServedRequest& request, ServedPeer& peer) {
    EXPECT_EQ(request.path(), "/");
    peer.Answer(307, {"Location: /elsewhere"}, "");
  });
  const auto answer = client_.Do(kNever, {.url = server.url() + "/"});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer.value().status, 307);
}

TEST_F(HttpClientTest, StreamsUpWithConstantMemory) {
  constexpr std::uint64_t kSize = 64 << 20;
  CountingSource source(kSize);
  std::latch first_bytes(1);
  std::latch go_on(1);
  std::size_t received = 0;
  HttpServer server([&](const ServedRequest& request, ServedPeer& peer) {
    first_bytes.count_down();
    go_on.wait();
    received = peer.ReadBody(request).size();
    peer.Answer(200, {}, request.header("content-length"));
  });
  std::jthread other([&] {
    first_bytes.wait();
    // The server does not read: what is on the way are the buffers of both kernels and ours.
    std::uint64_t last = 0;
    while (last == 0 || source.given() != last) {
      last = source.given();
      Clock::Real().Wait({}, milliseconds(50));
    }
    EXPECT_LT(last, kSize / 2) << "nothing holds the source back";
    go_on.count_down();
  });
  const auto answer = client_.Do(
      kNever,
      {.method = "PUT", .url = server.url() + "/", .source = &source, .source_bytes = kSize});
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_EQ(answer.value().body, std::to_string(kSize));
  EXPECT_EQ(received, kSize);
}

TEST_F(HttpClientTest, StreamsUpInChunksOfUnknownNumber) {
  const std::string content = MakeContent(1'000'000, 7);
  bool same = false;
  HttpServer server([&](const ServedRequest& request, ServedPeer& peer) {
    same = peer.ReadBody(request) == content;
    peer.Answer(200, {}, request.header("transfer-encoding"));
  });
  TextSource source(content, 7'777);
  const auto answer =
      client_.Do(kNever, {.method = "PUT", .url = server.url() + "/", .source = &source});
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_EQ(answer.value().body, "chunked");
  EXPECT_TRUE(same);
}

TEST_F(HttpClientTest, ABodyOfAnotherLengthIsNotSent) {
  std::atomic<int> whole = 0;
  HttpServer server([&](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    if (std::to_string(body.size()) == request.header("content-length")) ++whole;
    peer.Answer(200, {}, "");
  });
  for (const std::size_t size : {9U, 11U, 600'000U}) {
    TextSource source(std::string(size, 'x'));
    EXPECT_EQ(
        CodeOf(client_.Do(
            kNever,
            {.method = "PUT", .url = server.url() + "/", .source = &source, .source_bytes = 10})),
        ErrorCode::kCorruption);
  }
  TextThenSource broken("12345", [] { return Error(ErrorCode::kIo, "the disk is gone"); });
  EXPECT_EQ(
      CodeOf(client_.Do(
          kNever,
          {.method = "PUT", .url = server.url() + "/", .source = &broken, .source_bytes = 10})),
      ErrorCode::kIo);
  EXPECT_EQ(whole, 0) << "no server may take it for a whole one";
}

TEST_F(HttpClientTest, AnAnswerBeforeTheEndOfTheBody) {
  HttpServer server([](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(403, {"Connection: close"}, "no");
    peer.WaitForClose();
  });
  CountingSource source(64 << 20);
  const auto answer = client_.Do(
      kNever,
      {.method = "PUT", .url = server.url() + "/", .source = &source, .source_bytes = 64 << 20});
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_EQ(answer.value().status, 403);
  EXPECT_LT(source.given(), 32U << 20);
}

TEST_F(HttpClientTest, StreamsDownAsFastAsItIsRead) {
  constexpr std::size_t kSize = 64 << 20;
  std::atomic<std::size_t> sent = 0;
  HttpServer server([&](const ServedRequest&, ServedPeer& peer) {
    peer.Send(fmt::format("HTTP/1.1 200 x\r\nContent-Length: {}\r\n\r\n", kSize));
    const std::string piece(1 << 20, 'y');
    for (std::size_t i = 0; i < kSize && !peer.closed(); i += piece.size()) {
      peer.Send(piece);
      sent += piece.size();
    }
  });
  auto exchange = client_.Begin(kNever, {.url = server.url() + "/"});
  ASSERT_TRUE(exchange.ok());
  ASSERT_TRUE(exchange.value()->Wait(kNever).ok());
  std::size_t last = kSize + 1;
  while (sent != last) {
    last = sent;
    Clock::Real().Wait({}, milliseconds(50));
  }
  EXPECT_LT(last, kSize / 2) << "nobody reads, and everything was taken";
  const auto all = contract::ReadAll(kNever, *exchange.value(), 1 << 20);
  ASSERT_TRUE(all.ok()) << all.error().message();
  EXPECT_EQ(all.value().size(), kSize);
}

TEST_F(HttpClientTest, AnAnswerMayOutliveTheClient) {
  const std::string content = MakeContent(3 << 20, 3);
  HttpServer server([&](const ServedRequest&, ServedPeer& peer) { peer.Answer(200, {}, content); });
  std::unique_ptr<Exchange> exchange;
  {
    Client client;
    exchange = std::move(client.Begin(kNever, {.url = server.url() + "/"})).value();
  }
  const auto all = contract::ReadAll(kNever, *exchange);
  ASSERT_TRUE(all.ok()) << all.error().message();
  EXPECT_TRUE(all.value() == content);
}

TEST_F(HttpClientTest, WhatServersDoWrong) {
  const struct {
    const char* why;
    std::function<void(ServedPeer&)> act;
    ErrorCode want;
  } cases[] = {
      {"closes without a word", [](ServedPeer& peer) { peer.Close(); }, ErrorCode::kUnavailable},
      {"resets", [](ServedPeer& peer) { peer.Reset(); }, ErrorCode::kUnavailable},
      {"speaks something else",
       [](ServedPeer& peer) { peer.Send("SSH-2.0-x\r\n\r\n"), peer.Close(); },
       ErrorCode::kUnavailable},
      {"ends early",
       [](ServedPeer& peer) {
         peer.Send("HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n0123456789");
         peer.Close();
       },
       ErrorCode::kUnavailable},
      {"resets in the middle",
       [](ServedPeer& peer) {
         peer.Send("HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n0123456789");
         peer.Reset();
       },
       ErrorCode::kUnavailable},
      {"ends early in chunks",
       [](ServedPeer& peer) {
         peer.Send("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
         peer.Close();
       },
       ErrorCode::kUnavailable},
      {"says nothing", [](ServedPeer& peer) { peer.WaitForClose(); }, ErrorCode::kTimeout},
      {"stops in the headers",
       [](ServedPeer& peer) {
         peer.Send("HTTP/1.1 200 x\r\nContent-Len");
         peer.WaitForClose();
       },
       ErrorCode::kTimeout},
      {"stops in the body",
       [](ServedPeer& peer) {
         peer.Send("HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n0123456789");
         peer.WaitForClose();
       },
       ErrorCode::kTimeout},
      {"never ends its headers",
       [](ServedPeer& peer) {
         peer.Send("HTTP/1.1 200 x\r\n");
         while (!peer.closed()) peer.Send("X-More: " + std::string(1000, 'x') + "\r\n");
       },
       ErrorCode::kUnavailable},
      {"never ends its trailers",
       [](ServedPeer& peer) {
         peer.Send("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n");
         while (!peer.closed()) peer.Send("X-More: " + std::string(1000, 'x') + "\r\n");
       },
       ErrorCode::kUnavailable},
      {"sends more than anybody asked for",
       [](ServedPeer& peer) { peer.Answer(200, {}, std::string(200'000, 'x')); },
       ErrorCode::kUnavailable},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    HttpServer server([&](const ServedRequest&, ServedPeer& peer) { c.act(peer); });
    const Clock& clock = Clock::Real();
    const Context bounded({}, clock.Monotonic() + std::chrono::seconds(20), clock);
    const auto answer =
        client_.Do(bounded,
                   {.url = server.url() + "/x?y=secret-query",
                    .headers = {{"Authorization", "secret-header"}},
                    .timeouts = {.first_byte = milliseconds(300), .stall = milliseconds(300)}},
                   100'000);
    EXPECT_EQ(CodeOf(answer), c.want);
    if (answer.ok()) continue;
    EXPECT_THAT(answer.error().message(), HasSubstr("GET http://127.0.0.1:"));
    EXPECT_THAT(answer.error().message(), Not(HasSubstr("secret")));
  }
}

TEST_F(HttpClientTest, ASlowTrickleIsNoStall) {
  HttpServer server([](const ServedRequest&, ServedPeer& peer) {
    peer.Send("HTTP/1.1 200 x\r\nContent-Length: 30\r\n\r\n");
    for (int i = 0; i < 30; ++i) {
      peer.Send("x");
      Clock::Real().Wait({}, milliseconds(50));
    }
  });
  const Request request{.url = server.url() + "/",
                        .timeouts = {.first_byte = milliseconds(700), .stall = milliseconds(700)}};
  const auto answer = client_.Do(kNever, request);
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_EQ(answer.value().body.size(), 30U);
  Request hurried = request;
  hurried.timeouts.total = milliseconds(200);
  EXPECT_EQ(CodeOf(client_.Do(kNever, hurried)), ErrorCode::kTimeout);
}

TEST_F(HttpClientTest, AWholeAnswerThatDripsHasAnEnd) {
  ManualClock clock;
  HttpServer server([&](const ServedRequest&, ServedPeer& peer) {
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    for (int i = 0; i < 999'999 && !peer.closed(); ++i) {
      peer.Send("x");
      clock.Advance(kMaxAnswerTime / 10);
    }
  });
  const Context ctx(std::stop_token(), std::nullopt, clock);
  const auto answer = client_.Do(ctx, {.url = server.url() + "/"});
  EXPECT_EQ(CodeOf(answer), ErrorCode::kTimeout);
  EXPECT_THAT(answer.error().message(), HasSubstr("the answer is too slow"));
}

TEST_F(HttpClientTest, AReaderWhoTakesHisTimeIsNoStall) {
  HttpServer server([](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(200, {}, std::string(8 << 20, 'x'));
  });
  const auto exchange =
      client_.Begin(kNever, {.url = server.url() + "/", .timeouts = {.stall = milliseconds(100)}});
  ASSERT_TRUE(exchange.ok());
  ASSERT_TRUE(exchange.value()->Wait(kNever).ok());
  Clock::Real().Wait({}, milliseconds(2'200));  // Two looks at who stalls.
  const auto all = contract::ReadAll(kNever, *exchange.value());
  ASSERT_TRUE(all.ok()) << all.error().message();
  EXPECT_EQ(all.value().size(), 8U << 20);
}

TEST_F(HttpClientTest, CancelledAtOnce) {
  HttpServer server([](const ServedRequest& request, ServedPeer& peer) {
    if (request.target == "/body") peer.Send("HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n0123");
    peer.WaitForClose();
  });
  for (const char* target : {"/", "/body"}) {
    SCOPED_TRACE(target);
    std::stop_source stop;
    const Context ctx(stop.get_token());
    std::jthread stopper([&, before = server.requests()] {
      while (server.requests() == before) std::this_thread::yield();
      stop.request_stop();
    });
    EXPECT_EQ(CodeOf(client_.Do(ctx, {.url = server.url() + target})), ErrorCode::kCancelled);
  }
  const Context deadline({}, Clock::Real().Monotonic() + milliseconds(50));
  EXPECT_EQ(CodeOf(client_.Do(deadline, {.url = server.url() + "/"})), ErrorCode::kTimeout);
  CountingSource source(64 << 20);
  EXPECT_EQ(CodeOf(client_.Do(Context({}, Clock::Real().Monotonic() + milliseconds(50)),
                              {.method = "PUT",
                               .url = server.url() + "/",
                               .source = &source,
                               .source_bytes = 64 << 20})),
            ErrorCode::kTimeout);
}

TEST_F(HttpClientTest, TheClientEndsWithRequestsUnderWay) {
  HttpServer server([](const ServedRequest&, ServedPeer& peer) { peer.WaitForClose(); });
  auto client = std::make_unique<Client>();
  auto exchange = client->Begin(kNever, {.url = server.url() + "/"});
  ASSERT_TRUE(exchange.ok());
  while (server.requests() == 0) std::this_thread::yield();
  exchange.value().reset();
  client.reset();
}

TEST_F(HttpClientTest, SoManyRequestsToAHostAtATime) {
  constexpr int kLimit = 3;
  Client client({.threads = 2, .requests_per_host = kLimit, .turn_timeout = milliseconds(100)});
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  HttpServer server([&](const ServedRequest& request, ServedPeer& peer) {
    const int count = ++now;
    int seen = most;
    while (seen < count && !most.compare_exchange_weak(seen, count)) {
    }
    if (request.target == "/wait") peer.WaitForClose();
    --now;
    if (!peer.closed()) peer.Answer(200, {}, "x");
  });
  Client patient({.threads = 2, .requests_per_host = kLimit});
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 12; ++i) {
      callers.emplace_back([&] {
        for (int n = 0; n < 20; ++n) {
          EXPECT_TRUE(patient.Do(kNever, {.url = server.url() + "/"}).ok());
        }
      });
    }
  }
  EXPECT_LE(most, kLimit);
  EXPECT_LE(server.connections(), 2 * kLimit) << "and they are used again";
  std::vector<std::unique_ptr<Exchange>> held;
  for (int i = 0; i < kLimit; ++i) {
    held.push_back(std::move(client.Begin(kNever, {.url = server.url() + "/wait"})).value());
  }
  EXPECT_EQ(CodeOf(client.Do(kNever, {.url = server.url() + "/"})), ErrorCode::kThrottled);
  held.pop_back();
  EXPECT_TRUE(client.Do(kNever, {.url = server.url() + "/"}).ok()) << "given back";
}

TEST_F(HttpClientTest, ADeadConnectionIsReplaced) {
  std::atomic<int> served = 0;
  HttpServer server([&](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    // Says nothing of it, and closes after the first.
    peer.Answer(200, {}, body);
    if (++served == 1) peer.Close();
  });
  for (int i = 0; i < 3; ++i) {
    const auto answer =
        client_.Do(kNever, {.method = "PUT", .url = server.url() + "/", .body = Body("hello")});
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(answer.value().body, "hello");
  }
}

TEST_F(HttpClientTest, RequestsThatCannotBeSent) {
  const struct {
    const char* why;
    Request request;
  } cases[] = {
      {"no URL", {.url = "nonsense"}},
      {"another protocol", {.url = "file:///etc/passwd"}},
      {"a password", {.url = "http://user:secret@127.0.0.1/"}},
      {"a space", {.url = "http://127.0.0.1/a b?secret"}},
      {"a line end", {.url = "http://127.0.0.1/a\r\nX: secret"}},
      {"too long", {.url = "http://127.0.0.1/" + std::string(kMaxUrlBytes, 'x')}},
      {"a header with a line end", {.url = "http://127.0.0.1/", .headers = {{"X", "a\r\nsecret"}}}},
      {"a name with a line end", {.url = "http://127.0.0.1/", .headers = {{"X\nsecret", "a"}}}},
      {"large headers",
       {.url = "http://127.0.0.1/", .headers = {{"X", std::string(kMaxHeaderBytes, 'x')}}}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto answer = client_.Do(kNever, c.request);
    EXPECT_EQ(CodeOf(answer), ErrorCode::kInvalidArgument);
    EXPECT_THAT(answer.error().message(), Not(HasSubstr("secret")));
  }
}

TEST_F(HttpClientTest, NobodyListens) {
  std::string url;
  {
    HttpServer server([](const ServedRequest&, ServedPeer&) {});
    url = server.url();
  }
  EXPECT_EQ(CodeOf(client_.Do(kNever, {.url = url + "/"})), ErrorCode::kUnavailable);
  EXPECT_EQ(CodeOf(client_.Do(kNever, {.url = "http://no-such-host.invalid/"})),
            ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, TheProxyOfTheEnvironment) {
  HttpServer proxy([](const ServedRequest& request, ServedPeer& peer) {
    peer.Answer(200, {}, "proxied " + request.target);
  });
  ASSERT_EQ(::setenv("http_proxy", ("http://user:secret@" + proxy.authority()).c_str(), 1), 0);
  const auto answer = client_.Do(kNever, {.url = "http://host.invalid/x"});
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_EQ(answer.value().body, "proxied http://host.invalid/x");
  const auto direct = client_.Do(kNever, {.url = "http://host.invalid/x", .use_proxy = false});
  EXPECT_EQ(CodeOf(direct), ErrorCode::kUnavailable);
  ASSERT_EQ(::setenv("http_proxy", "http://user:secret@proxy.invalid:1", 1), 0);
  const auto failed = client_.Do(kNever, {.url = "http://host.invalid/x"});
  EXPECT_EQ(CodeOf(failed), ErrorCode::kUnavailable);
  EXPECT_THAT(failed.error().message(), Not(HasSubstr("secret")));
  ::unsetenv("http_proxy");
}

}  // namespace
}  // namespace litestream::http
