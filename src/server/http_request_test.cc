#include "server/http_request.h"

#include <gtest/gtest.h>

namespace litestream {
namespace {

constexpr std::size_t kLimit = 100;

TEST(HttpRequest, Parse) {
  const struct {
    const char* why;
    std::string text;
    int status;  // 0: more has to come.
    const char* path = "";
  } cases[] = {
      {"plain", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200, "/metrics"},
      {"old", "GET /metrics HTTP/1.0\r\n\r\n", 200, "/metrics"},
      {"query", "GET /metrics?a=b?c HTTP/1.1\r\n\r\n", 200, "/metrics"},
      {"a body behind it", "GET / HTTP/1.1\r\n\r\n" + std::string(500, 'x'), 200, "/"},
      {"head only", "HEAD /x HTTP/1.1\r\n\r\n", 200, "/x"},
      {"nothing yet", "", 0},
      {"not whole", "GET / HTTP/1.1\r\n", 0},
      {"bare line feeds", "GET / HTTP/1.1\n\n", 0},
      {"as long as may be", std::string(kLimit, 'x'), 0},
      {"its end under way", std::string(kLimit, 'x') + "\r\n\r", 0},
      {"and there", "GET / HTTP/1.1\r\nA: " + std::string(kLimit - 19, 'x') + "\r\n\r\n", 200, "/"},
      {"too long", std::string(kLimit + 4, 'x'), 431},
      {"too long, and whole", "GET / HTTP/1.1\r\nA: " + std::string(kLimit, 'x') + "\r\n\r\n", 431},
      {"another method", "POST / HTTP/1.1\r\n\r\n", 405},
      {"no method", " / HTTP/1.1\r\n\r\n", 400},
      {"no target", "GET  HTTP/1.1\r\n\r\n", 400},
      {"two words", "GET /\r\n\r\n", 400},
      {"one word", "GET\r\n\r\n", 400},
      {"a blank in the target", "GET /a b HTTP/1.1\r\n\r\n", 400},
      {"control characters", "GET /\x01 HTTP/1.1\r\n\r\n", 400},
      {"not ASCII", "GET /\xff HTTP/1.1\r\n\r\n", 400},
      {"a proxy's", "GET http://x/ HTTP/1.1\r\n\r\n", 400},
      {"another protocol", "GET / SIP/2.0\r\n\r\n", 400},
      {"another version", "GET / HTTP/2.0\r\n\r\n", 505},
      {"empty", "\r\n\r\n", 400},
      {"a zero byte", std::string("\0 / HTTP/1.1\r\n\r\n", 16), 400},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto request = ParseHttpRequest(c.text, kLimit);
    ASSERT_EQ(request.has_value(), c.status != 0);
    if (!request) continue;
    EXPECT_EQ(request->status, c.status);
    EXPECT_EQ(request->path, c.status == 200 ? c.path : request->path);
  }
  EXPECT_TRUE(ParseHttpRequest("HEAD / HTTP/1.0\r\n\r\n", kLimit)->is_head);
  EXPECT_TRUE(ParseHttpRequest("HEAD / HTTP/1.0\r\n\r\n", kLimit)->is_http_1_0);
}

TEST(HttpRequest, FormatHead) {
  EXPECT_EQ(FormatHttpHead(200, "text/x", true),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/x\r\n"
            "Transfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(FormatHttpHead(404, "", false),
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 14\r\n\r\n404 Not Found\n");
}

}  // namespace
}  // namespace litestream
