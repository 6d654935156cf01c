#include "http/uri.h"

#include <gtest/gtest.h>

namespace litestream::http {
namespace {

TEST(Uri, WhatIsNear) {
  const struct {
    const char* host;
    bool machine;
    bool near;
  } cases[] = {
      {"localhost", true, true},
      {"x.localhost", true, true},
      {"127.0.0.1", true, true},
      {"127.9.9.9", true, true},
      {"::1", true, true},
      {"10.0.0.1", false, true},
      {"192.168.7.7", false, true},
      {"172.16.0.1", false, true},
      {"172.31.255.255", false, true},
      {"172.2.0.1", false, false},
      {"172.15.0.1", false, false},
      {"172.32.0.1", false, false},
      {"172.160.0.1", false, false},
      {"192.169.0.1", false, false},
      {"8.8.8.8", false, false},
      {"127.example.com", false, false},
      {"10.example.com", false, false},
      {"192.168.example.com", false, false},
      {"172.16.example.com", false, false},
      {"localhost.example.com", false, false},
      {"127.1", false, false},
      {"", false, false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.host);
    EXPECT_EQ(IsThisMachine(c.host), c.machine);
    EXPECT_EQ(IsPrivateHost(c.host), c.near);
  }
}

TEST(UriTest, UnescapesWhatServersEscape) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},     {"a%2Fb%20c+d%2B", "a/b c d+"}, {"%C3%A9%c3%a9", "éé"}, {"100%", "100%"},
      {"%2", "%2"}, {"%zz%-1% 1", "%zz%-1% 1"},     {"%%41", "%A"},
  };
  for (const auto& [text, want] : cases) EXPECT_EQ(UnescapeForm(text), want) << text;
}

TEST(UriTest, LocalNames) {
  for (const char* host : {"nas", "nextcloud", "nas.local", "a.b.home.arpa", "db.internal"}) {
    EXPECT_TRUE(IsLocalName(host)) << host;
  }
  for (const char* host : {"", "example.com", "local.example.com", "10.example", "8.8.8.8", "::1",
                           "2001:db8::1", "xlocal.net"}) {
    EXPECT_FALSE(IsLocalName(host)) << host;
  }
}

TEST(Uri, Unescape) {
  EXPECT_EQ(Unescape("a%20b%2fC%C3%a9+~"), "a b/C\xC3\xA9+~");
  EXPECT_EQ(Unescape(""), "");
  EXPECT_EQ(Unescape(EscapePath("/of 100%/a+b/\xC3\xA9&<>'")), "/of 100%/a+b/\xC3\xA9&<>'");
  for (const char* text : {"%", "%2", "%2G", "%G2", "%%41", "%-1", "%+1", "%00", "a%0"}) {
    EXPECT_EQ(Unescape(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace litestream::http
