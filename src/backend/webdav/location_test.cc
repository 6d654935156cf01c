#include "backend/webdav/location.h"

#include <gtest/gtest.h>

namespace litestream::webdav {
namespace {

Location Make(const std::string& url, const std::string& path = "") {
  auto location = MakeLocation({.url = url, .path = path});
  EXPECT_TRUE(location.ok()) << location.error().message();
  return location.ok() ? std::move(location).value() : Location();
}

TEST(LocationTest, UrlsAndPaths) {
  const struct {
    const char* url;
    const char* path;
    const char* base;
    const char* replica;
  } cases[] = {
      {"http://h", "", "http://h/", "http://h/"},
      {"http://h", "db", "http://h/", "http://h/db/"},
      {"http://h/", "/db/", "http://h/", "http://h/db/"},
      {"HTTPS://Host:8443/dav", "a//b/./c", "https://host:8443/dav/",
       "https://host:8443/dav/a/b/c/"},
      {"http://[::1]:80/a b", "c d", "http://[::1]:80/a%20b/", "http://[::1]:80/a%20b/c%20d/"},
      {"http://h/a%20b%2525/%C3%A9/", "100%/+&?#", "http://h/a%20b%2525/%C3%A9/",
       "http://h/a%20b%2525/%C3%A9/100%25/%2B%26%3F%23/"},
      {"http://h", ".", "http://h/", "http://h/"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.url);
    const Location location = Make(c.url, c.path);
    EXPECT_EQ(location.Url(location.base), c.base);
    EXPECT_EQ(location.Url(location.root), c.replica);
  }
}

TEST(LocationTest, UserAndPassword) {
  const Location location = Make("https://me:p%40ss%3A@h:1/x");
  EXPECT_EQ(location.username, "me");
  EXPECT_EQ(location.password, "p@ss:");
  EXPECT_EQ(location.Url(location.root), "https://h:1/x/");
  EXPECT_EQ(location.Describe(location.root), "webdavs://h:1/x/");
  const auto own = MakeLocation({.url = "http://me:one@h", .username = "you", .password = "two"});
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(own.value().username, "you");
  EXPECT_EQ(own.value().password, "two");
}

TEST(LocationTest, WhatIsNone) {
  for (const char* url :
       {"", "h/x", "ftp://h/x", "webdav://h", "http://", "http:///x", "http://me:secret@h/?q=1",
        "http://h/#f", "http://me:secret@h/%zz", "http://h h/x"}) {
    SCOPED_TRACE(url);
    const auto location = MakeLocation({.url = url});
    ASSERT_FALSE(location.ok());
    EXPECT_EQ(location.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(location.error().message().find("secret"), std::string::npos);
  }
  EXPECT_FALSE(MakeLocation({.url = "http://h/x", .path = "../y"}).ok());
}

TEST(LocationTest, Hrefs) {
  const struct {
    const char* href;
    const char* want;  // Null: none.
  } cases[] = {
      {"/a/b", "/a/b"},     {"/a/b/", "/a/b/"},
      {"/", "/"},           {"http://other:81/a%20b/", "/a b/"},
      {"https://h", "/"},   {"/%61//b/./c%2Bd", "/a/b/c+d"},
      {"/a?x=1#f", "/a"},   {"/a://b/c", "/a:/b/c"},
      {"a/b", nullptr},     {"", nullptr},
      {"/a/../b", nullptr}, {"/a/%2e%2E/b", nullptr},
      {"/a%zz", nullptr},   {"/a%00b", nullptr},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.href);
    const auto path = PathOfHref(c.href);
    EXPECT_EQ(path.has_value(), c.want != nullptr);
    EXPECT_EQ(path.value_or("none"), c.want == nullptr ? "none" : c.want);
  }
}

}  // namespace
}  // namespace litestream::webdav
