#include "cloud/calls.h"

#include <atomic>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "http/curl_error.h"
#include "tests/support/http_server.h"

namespace litestream::cloud {
namespace {

const Context kNever = Context::Background();

// A server that gives these answers one after the other, the last one for ever.
class CallsTest : public ::testing::Test {
 protected:
  CallsTest()
      : server_([this](const ServedRequest&, ServedPeer& peer) {
          const std::size_t last = statuses_.size() - 1;
          peer.Answer(statuses_[std::min<std::size_t>(served_++, last)], {}, "body");
        }),
        caller_(http_, {.attempts = 3, .first_delay = std::chrono::milliseconds(1)}) {}

  Call MakeCall() {
    return {.make = [this](const Context&) -> Result<http::Request> {
              ++made_;
              return http::Request{.url = server_.url()};
            },
            .judge = [this](const http::Response& answer) -> Verdict {
              if (answer.status < 300) return {};
              const ErrorCode code = http::CodeOfStatus(answer.status);
              return {.error = Error(code, answer.body), .again = answer.status == teaches_};
            },
            .accepted_status = 304};
  }
  // What comes of a call that is made in each of the three ways: "200" or an error's code.
  std::vector<std::string> Outcomes() {
    const auto code = [](const auto& result) {
      return std::string(ToString(result.error().code()));
    };
    std::vector<std::string> outcomes;
    served_ = made_ = 0;
    const auto opened = caller_.Open(kNever, MakeCall());
    outcomes.push_back(opened.ok() ? std::to_string(opened.value()->status()) : code(opened));
    served_ = 0;
    const auto done = caller_.Do(kNever, MakeCall());
    outcomes.push_back(done.ok() ? std::to_string(done.value().status) : code(done));
    served_ = 0;
    PendingCall pending = caller_.Begin(kNever, MakeCall());
    const auto finished = caller_.Finish(kNever, pending);
    outcomes.push_back(finished.ok() ? std::to_string(finished.value().status) : code(finished));
    return outcomes;
  }
  static std::vector<std::string> All(const std::string& text) { return {text, text, text}; }

  std::vector<int> statuses_ = {200};
  int teaches_ = 0;
  std::atomic<std::size_t> served_ = 0;
  std::atomic<int> made_ = 0;
  HttpServer server_;
  http::Client http_;
  const Caller caller_;
};

TEST_F(CallsTest, ASuccessIsMadeOnce) {
  EXPECT_EQ(Outcomes(), All("200"));
  EXPECT_EQ(made_, 3);
}

TEST_F(CallsTest, WhatMayWorkTheNextTimeIsMadeAnew) {
  statuses_ = {503, 200};
  EXPECT_EQ(Outcomes(), All("200"));
  EXPECT_EQ(made_, 6);
  statuses_ = {503};
  EXPECT_EQ(Outcomes(), All("unavailable"));
  EXPECT_EQ(made_, 10) << "three attempts, and one more for the one that was begun";
}

TEST_F(CallsTest, WhatCannotWorkIsNot) {
  statuses_ = {403, 200};
  EXPECT_EQ(Outcomes(), All("denied"));
  EXPECT_EQ(made_, 3);
}

TEST_F(CallsTest, ALessonIsWorthOneMoreTry) {
  teaches_ = 403;
  statuses_ = {403, 200};
  EXPECT_EQ(Outcomes(), All("200"));
  statuses_ = {403};
  EXPECT_EQ(Outcomes(), All("denied"));
  EXPECT_LE(made_, 7);
}

TEST_F(CallsTest, ABodyThatCannotBeReadIsAskedForAgain) {
  int reads = 0;
  const auto read = [&](ErrorCode code, int failures) {
    reads = 0;
    return caller_.Read(kNever, MakeCall(),
                        [&](const Context& ctx, http::Exchange& exchange) -> Result<void> {
                          const auto answer = exchange.Finish(ctx);
                          EXPECT_TRUE(answer.ok() && answer.value().body == "body");
                          if (++reads > failures) return {};
                          return Error(code, "cut off");
                        });
  };
  EXPECT_TRUE(read(ErrorCode::kUnavailable, 2).ok());
  EXPECT_EQ(reads, 3);
  EXPECT_FALSE(read(ErrorCode::kUnavailable, 3).ok());
  EXPECT_EQ(reads, 3);
  EXPECT_FALSE(read(ErrorCode::kDenied, 1).ok());
  EXPECT_EQ(reads, 1);
  statuses_ = {503, 200};
  served_ = 0;
  EXPECT_TRUE(read(ErrorCode::kUnavailable, 1).ok());
  statuses_ = {404};
  EXPECT_FALSE(read(ErrorCode::kUnavailable, 0).ok());
  EXPECT_EQ(reads, 0);
}

TEST_F(CallsTest, AnAcceptedStatusIsNoError) {
  statuses_ = {304};
  const auto opened = caller_.Open(kNever, MakeCall());
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(opened.value()->status(), 304);
  EXPECT_TRUE(caller_.Do(kNever, MakeCall()).ok());
}

}  // namespace
}  // namespace litestream::cloud
