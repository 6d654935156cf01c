#include "backend/nats/nats_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nats/nats.h>

namespace litestream::nats {
namespace {

using ::testing::HasSubstr;

TEST(NatsErrorTest, WhatJetStreamSays) {
  const struct {
    const char* why;
    ApiError error;
    ErrorCode want;
    const char* says;
  } cases[] = {
      {"no such message", {404, 10037, "no message found"}, ErrorCode::kNotFound, "(10037)"},
      {"of a direct get", {404, 0, "Message Not Found"}, ErrorCode::kNotFound, "(404)"},
      {"404 of something else", {404, 10014, "consumer not found"}, ErrorCode::kInternal, "10014"},
      {"no bucket", {404, 10059, "stream not found"}, ErrorCode::kInvalidArgument, "beforehand"},
      {"a condition", {400, 10071, "wrong last sequence: 5"}, ErrorCode::kAlreadyExists, "5"},
      {"full", {503, 10077, "maximum bytes exceeded"}, ErrorCode::kNoSpace, "raise the bucket's"},
      {"the disk is full", {503, 10077, "no space left on device"}, ErrorCode::kNoSpace, "disk"},
      {"cannot store now", {503, 10077, "x"}, ErrorCode::kUnavailable, "x"},
      {"limits of the account",
       {400, 10002, "resource limits exceeded for account"},
       ErrorCode::kNoSpace,
       "raise the limits"},
      {"storage of the account",
       {500, 10047, "insufficient storage resources available"},
       ErrorCode::kNoSpace,
       "raise the limits"},
      {"no JetStream", {503, 10076, "JetStream not enabled"}, ErrorCode::kUnavailable, "-js"},
      {"not for this account",
       {503, 10039, "JetStream not enabled for account"},
       ErrorCode::kInvalidArgument,
       "allow JetStream"},
      {"sealed", {400, 10109, "invalid operation on sealed stream"}, ErrorCode::kDenied, "sealed"},
      {"no rollup", {500, 10111, "rollup not permitted"}, ErrorCode::kInvalidArgument, "rollup"},
      {"messages are too large",
       {400, 10054, "message size exceeds maximum allowed"},
       ErrorCode::kInvalidArgument,
       "128 KiB"},
      {"no leader",
       {503, 10008, "JetStream system temporarily unavailable"},
       ErrorCode::kUnavailable,
       "temporarily"},
      {"too many", {429, 10167, "too many requests"}, ErrorCode::kThrottled, "too many"},
      {"nobody listens", {503, 0, ""}, ErrorCode::kUnavailable, "is JetStream on"},
      {"unknown", {400, 10003, "bad request"}, ErrorCode::kInternal, "bad request"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    EXPECT_EQ(MeaningOf(c.error), c.want);
    const Error error = Describe(c.error, "list", "backups");
    EXPECT_EQ(error.code(), c.want);
    EXPECT_THAT(error.message(), HasSubstr("nats: list: bucket backups: "));
    EXPECT_THAT(error.message(), HasSubstr(c.says));
  }
}

TEST(NatsErrorTest, WhatTheLibrarySays) {
  const struct {
    int status;
    ErrorCode want;
    const char* says;
  } cases[] = {
      {NATS_CONNECTION_AUTH_FAILED, ErrorCode::kDenied, "check username and password"},
      {NATS_NO_SERVER, ErrorCode::kUnavailable, "is the server running"},
      {NATS_TIMEOUT, ErrorCode::kUnavailable, "Timeout"},
      {NATS_CONNECTION_CLOSED, ErrorCode::kUnavailable, "host:4222"},
      {NATS_SSL_ERROR, ErrorCode::kInvalidArgument, "check root-cas"},
      {NATS_SECURE_CONNECTION_WANTED, ErrorCode::kInvalidArgument, "does not offer TLS"},
      {NATS_NOT_PERMITTED, ErrorCode::kDenied, "host:4222"},
      {NATS_MAX_PAYLOAD, ErrorCode::kInvalidArgument, "host:4222"},
      {NATS_NO_MEMORY, ErrorCode::kInternal, "host:4222"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.status);
    EXPECT_EQ(MeaningOf(c.status), c.want);
    const Error error = DescribeConnect(c.status, "and\nmore", "host:4222");
    EXPECT_EQ(error.code(), c.want);
    EXPECT_THAT(error.message(), HasSubstr("nats: connect to host:4222: "));
    EXPECT_THAT(error.message(), HasSubstr(c.says));
    EXPECT_THAT(error.message(), HasSubstr("and more")) << "without control characters";
  }
}

}  // namespace
}  // namespace litestream::nats
