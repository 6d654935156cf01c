#include "http/curl_error.h"

#include <curl/curl.h>
#include <gtest/gtest.h>

namespace litestream::http {
namespace {

TEST(CurlError, Codes) {
  const struct {
    CURLcode code;
    ErrorCode want;
  } cases[] = {
      {CURLE_COULDNT_RESOLVE_PROXY, ErrorCode::kUnavailable},
      {CURLE_COULDNT_RESOLVE_HOST, ErrorCode::kUnavailable},
      {CURLE_COULDNT_CONNECT, ErrorCode::kUnavailable},
      {CURLE_WEIRD_SERVER_REPLY, ErrorCode::kUnavailable},
      {CURLE_PARTIAL_FILE, ErrorCode::kUnavailable},
      {CURLE_GOT_NOTHING, ErrorCode::kUnavailable},
      {CURLE_SEND_ERROR, ErrorCode::kUnavailable},
      {CURLE_RECV_ERROR, ErrorCode::kUnavailable},
      {CURLE_SEND_FAIL_REWIND, ErrorCode::kUnavailable},
      {CURLE_SSL_CONNECT_ERROR, ErrorCode::kUnavailable},
      {CURLE_HTTP2, ErrorCode::kUnavailable},
      {CURLE_HTTP2_STREAM, ErrorCode::kUnavailable},
      {CURLE_OPERATION_TIMEDOUT, ErrorCode::kTimeout},
      {CURLE_PEER_FAILED_VERIFICATION, ErrorCode::kDenied},
      {CURLE_SSL_CACERT_BADFILE, ErrorCode::kInvalidArgument},
      {CURLE_SSL_CERTPROBLEM, ErrorCode::kInvalidArgument},
      {CURLE_URL_MALFORMAT, ErrorCode::kInvalidArgument},
      {CURLE_UNSUPPORTED_PROTOCOL, ErrorCode::kUnavailable},
      {CURLE_OUT_OF_MEMORY, ErrorCode::kInternal},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(CodeOfCurl(c.code), c.want) << curl_easy_strerror(c.code);
  }
}

TEST(CurlError, Statuses) {
  const struct {
    int status;
    ErrorCode want;
  } cases[] = {
      {301, ErrorCode::kInvalidArgument}, {400, ErrorCode::kInvalidArgument},
      {401, ErrorCode::kDenied},          {403, ErrorCode::kDenied},
      {404, ErrorCode::kNotFound},        {408, ErrorCode::kTimeout},
      {409, ErrorCode::kAlreadyExists},   {412, ErrorCode::kAlreadyExists},
      {429, ErrorCode::kThrottled},       {500, ErrorCode::kUnavailable},
      {501, ErrorCode::kUnsupported},     {503, ErrorCode::kUnavailable},
      {507, ErrorCode::kNoSpace},         {599, ErrorCode::kUnavailable},
  };
  for (const auto& c : cases) EXPECT_EQ(CodeOfStatus(c.status), c.want) << c.status;
}

TEST(CurlError, PublicUrls) {
  EXPECT_EQ(PublicUrl("https://u:p@h:1/a/b?sig=x#f"), "https://h:1/a/b");
  EXPECT_EQ(PublicUrl("https://h"), "https://h");
  EXPECT_EQ(PublicUrl("https://h?secret"), "https://h");
  EXPECT_EQ(PublicUrl("http://u:p@/x@y"), "http:///x@y");
  EXPECT_EQ(PublicUrl("http://h/a\r\nX: secret"), "http://h/a");
  EXPECT_EQ(PublicUrl("secret"), "(no URL)");
}

TEST(CurlError, WhatAServerSays) {
  EXPECT_EQ(Shown("why not"), "why not");
  EXPECT_EQ(Shown("a\nlevel=ERROR\x1b[2J\x7f"), "a level=ERROR [2J ");
  EXPECT_EQ(Shown(std::string(kMaxShownBytes, 'x')), std::string(kMaxShownBytes, 'x'));
  for (std::size_t size = kMaxShownBytes - 6; size < kMaxShownBytes; ++size) {
    const std::string shown = Shown(std::string(size, 'x') + "\u20ac\u20ac" + std::string(99, 'y'));
    EXPECT_LE(shown.size(), kMaxShownBytes);
    EXPECT_GE(shown.size(), kMaxShownBytes - 6);
    const std::string kept = shown.substr(0, shown.find_last_not_of('.') + 1);
    EXPECT_TRUE(kept.ends_with("x") || kept.ends_with("\u20ac") || kept.ends_with("y")) << kept;
  }
}

}  // namespace
}  // namespace litestream::http
