#include "storage/url.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/test_dir.h"
#include "tests/support/golden.h"

namespace litestream {
namespace {

TEST(ReplicaUrl, WhatIsOne) {
  const struct {
    const char* text;
    bool want;
  } cases[] = {
      {"file:///a", true},  {"s3://bucket", true}, {"FILE://x", true},    {"a_1://", true},
      {"host:8080", false}, {"s3:bucket", false},  {"/srv/db", false},    {"", false},
      {"://x", false},      {"plain", false},      {"my-app://x", false}, {"./file://x", false},
      {"file:/one", false}, {" file:///a", false}, {"file", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(IsReplicaUrl(c.text), c.want);
    if (c.want) continue;
    const auto url = ParseReplicaUrl(c.text);
    ASSERT_FALSE(url.ok());
    EXPECT_EQ(url.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(
        url.error().message().starts_with(std::string("replica url scheme required: ") + c.text))
        << url.error().message();
  }
}

TEST(ReplicaUrl, FilePaths) {
  // `encoded` is what the reference makes of it.
  const struct {
    const char* url;
    const char* path;
    const char* encoded;
  } cases[] = {
      {"file:///srv/a", "/srv/a", "/srv/a"},
      {"FILE:///srv/up", "/srv/up", "/srv/up"},
      {"file:////srv/replica", "/srv/replica", "/srv/replica"},
      {"file:///srv/a b", "/srv/a b", "/srv/a%20b"},
      {"file:///srv/a%20b", "/srv/a b", "/srv/a%20b"},
      {"file:///srv/a%2Fb", "/srv/a/b", "/srv/a%2Fb"},
      {"file:///srv/100%25", "/srv/100%", "/srv/100%25"},
      {"file:///srv/x/../y/", "/srv/y", "/srv/y"},
      {"file:///srv//x/./y", "/srv/x/y", "/srv/x/y"},
      {"file:///../../x", "/x", "/x"},
      {"file:///srv/q?a=b", "/srv/q", "/srv/q"},
      {"file:///srv/f#frag", "/srv/f#frag", "/srv/f#frag"},
      {"file:///srv/f?a=b#frag", "/srv/f#frag", "/srv/f#frag"},
      {"file:///srv/f#", "/srv/f", "/srv/f"},
      {"file://rel/x", "/rel/x", "/rel/x"},
      {"file://host", "/host", "/host"},
      {"file:///", "/", "/"},
      {"file://", ".", "."},
      {"file://?a=b", ".", "."},
      {"file:///srv/\xc3\xa9!$&'()*+,;=:@", "/srv/\xc3\xa9!$&'()*+,;=:@",
       "/srv/%C3%A9%21$&%27%28%29%2A+,;=:@"},
      {"file:///srv/!'()*", "/srv/!'()*", "/srv/!'()*"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.url);
    const auto url = ParseReplicaUrl(c.url);
    ASSERT_TRUE(url.ok()) << url.error().message();
    EXPECT_EQ(url.value().scheme, "file");
    EXPECT_EQ(url.value().path, c.path);
    EXPECT_EQ(url.value().encoded_path, c.encoded);
  }
}

// The reference shows the path that it made of the URL: "type=file ... path=$TMP/x".
TEST(ReplicaUrl, FilePathsOfTheReference) {
  const auto facts = LoadJson(GoldenDir() / "config" / "expected.json");
  int checked = 0;
  for (const auto& entry : facts["urls"]) {
    std::string text = entry["url"];
    if (!IsReplicaUrl(text) || !entry.contains("replicating_to") ||
        entry["replicating_to"].empty()) {
      continue;
    }
    const std::string line = entry["replicating_to"][0];
    const std::string marker = " path=";
    if (!line.starts_with("type=file ")) continue;
    SCOPED_TRACE(text);
    std::string want = line.substr(line.find(marker) + marker.size());
    const auto expand = [](std::string& where) {
      if (const auto at = where.find("$TMP"); at != std::string::npos)
        where.replace(at, 4, "/tmp/x");
    };
    expand(text);
    expand(want);
    const auto url = ParseReplicaUrl(text);
    ASSERT_TRUE(url.ok()) << url.error().message();
    // "." is the directory that the reference ran in, and it shows that.
    EXPECT_EQ(url.value().encoded_path, text == "file://" ? "." : want);
    ++checked;
  }
  EXPECT_GE(checked, 9);
}

TEST(ReplicaUrl, Parts) {
  const auto url = ParseReplicaUrl(
      "SFTP://us%40er:p%3Ass:w@Host.Example:2222/srv/./a%20b//c/?keyPath=%2Fid+rsa&flag&x=1&x=2&"
      "bad=1;2#ignored");
  ASSERT_TRUE(url.ok()) << url.error().message();
  EXPECT_EQ(url.value().scheme, "sftp");
  EXPECT_EQ(url.value().user, "us@er");
  EXPECT_EQ(url.value().password, "p:ss:w");
  EXPECT_EQ(url.value().host, "Host.Example:2222");
  EXPECT_EQ(url.value().path, "srv/a b/c");
  const std::map<std::string, std::string, std::less<>> query = {
      {"keyPath", "/id rsa"}, {"flag", ""}, {"x", "1"}};
  EXPECT_EQ(url.value().query, query);

  const struct {
    const char* url;
    const char* host;
    const char* path;
  } cases[] = {
      {"s3://bucket", "bucket", ""},
      {"s3://bucket/", "bucket", ""},
      {"s3://bucket/.", "bucket", ""},
      {"s3://bucket/a/", "bucket", "a"},
      {"s3://bucket?region=x", "bucket", ""},
      {"s3://bucket/../../a", "bucket", "a"},
      {"nats://h:4222/b", "h:4222", "b"},
      {"abs://acct@cont/p", "cont", "p"},
      {"s3://", "", ""},
      {"webdavs://h/d%C3%A9", "h", "d\xc3\xa9"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.url);
    const auto parsed = ParseReplicaUrl(c.url);
    ASSERT_TRUE(parsed.ok()) << parsed.error().message();
    EXPECT_EQ(parsed.value().host, c.host);
    EXPECT_EQ(parsed.value().path, c.path);
  }
}

TEST(ReplicaUrl, Refused) {
  const struct {
    const char* why;
    std::string url;
    const char* message;
  } cases[] = {
      {"a lone percent sign", "file:///srv/100%", "invalid URL escape \"%\""},
      {"no hex digits", "file:///srv/%zz", "invalid URL escape \"%zz\""},
      {"a NUL", "file:///srv/%00", "%00"},
      {"a line break", "file:///srv/a\nb", "control character"},
      {"a scheme that begins with a digit", "3s://bucket", "invalid replica url scheme"},
      {"a bad query", "s3://bucket/a?x=%g1", "invalid URL escape"},
      {"a bad user", "sftp://%4@host/", "invalid URL escape"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto url = ParseReplicaUrl(c.url);
    ASSERT_FALSE(url.ok());
    EXPECT_EQ(url.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(url.error().message().find(c.message), std::string::npos) << url.error().message();
  }
  const auto secret = ParseReplicaUrl("sftp://user:secret@host/100%");
  ASSERT_FALSE(secret.ok());
  EXPECT_EQ(secret.error().message().find("secret"), std::string::npos) << secret.error().message();
  EXPECT_NE(secret.error().message().find("sftp://***@host/100%"), std::string::npos);
}

TEST(ReplicaUrl, DataUnderTheEncodedNameIsFound) {
  const TestDir base;
  const auto root = [&base] {
    const auto url = ParseReplicaUrl("file://" + base.path().string() + "/a%20b");
    EXPECT_TRUE(url.ok());
    const auto path = FileUrlRoot(Env::Real(), url.value());
    return path.ok() ? path.value().filename().string() : path.error().message();
  };
  EXPECT_EQ(root(), "a b") << "a new replica";
  std::filesystem::create_directory(base / "a%20b");
  EXPECT_EQ(root(), "a%20b") << "one that another version made";
  std::filesystem::create_directory(base / "a b");
  EXPECT_EQ(root(), "a b") << "the name as written wins";
}

}  // namespace
}  // namespace litestream
