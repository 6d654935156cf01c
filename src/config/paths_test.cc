#include "config/paths.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "config/glob.h"
#include "config/s3_url.h"
#include "config/suggest.h"

namespace litestream::config {
namespace {

TEST(Paths, Clean) {
  const struct {
    const char* path;
    const char* want;
  } cases[] = {
      {"", "."},
      {".", "."},
      {"/", "/"},
      {"//", "/"},
      {"a", "a"},
      {"a/", "a"},
      {"a//b/./c", "a/b/c"},
      {"a/../b", "b"},
      {"..", ".."},
      {"../a", "../a"},
      {"a/../../b", "../b"},
      {"/..", "/"},
      {"/../a", "/a"},
      {"/a/b/../..", "/"},
      {"a/..", "."},
      {"../../x/..", "../.."},
  };
  for (const auto& c : cases) EXPECT_EQ(CleanPath(c.path), c.want) << c.path;
}

TEST(Paths, ExpandDatabase) {
  const std::string here = std::filesystem::current_path().string();
  const struct {
    const char* path;
    std::string want;
  } cases[] = {
      {"/x/../y", "/y"},
      {"sub/../db", here + "/db"},
      {"sqlite:///a/b", "/a/b"},
      {"sqlite3:///a/b", "/a/b"},
      {"sqlite://rel", here + "/rel"},
      {"~nobody/db", here + "/~nobody/db"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    const auto got = ExpandDatabasePath(c.path);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got.value(), c.want);
  }
  const auto home = ExpandPath("~");
  ASSERT_TRUE(home.ok());
  EXPECT_EQ(ExpandPath("~/a/../b").value(), CleanPath(home.value() + "/b"));
}

TEST(Paths, DefaultMetaPath) {
  EXPECT_EQ(DefaultMetaPath("/a/db"), "/a/.db-litestream");
  EXPECT_EQ(DefaultMetaPath("db"), ".db-litestream");
}

TEST(Glob, Match) {
  const struct {
    const char* pattern;
    const char* name;
    bool want;
  } cases[] = {
      {"*.db", "a.db", true},
      {"*.db", ".db", true},
      {"*.db", "a.db-wal", false},
      {"*", "anything", true},
      {"*", "", true},
      {"?", "", false},
      {"?.db", "ab.db", false},
      {"a*b*c", "a1b2b3c", true},
      {"a*b*c", "a1b2b3", false},
      {"[a-c]x", "bx", true},
      {"[^a-c]x", "bx", false},
      {"[^a-c]x", "dx", true},
      {"\\*", "*", true},
      {"\\*", "x", false},
      {"[\\]]", "]", true},
      {"a/*", "a/b", true},
      {"*", "a/b", false},
      {"**", "ab", true},
      {"{a,b}", "a", false},
      {"caf?", "caf\u00e9", true},
      {"A", "a", false},
      {"[\u4e00-\u9fff]", "\u4e2d", true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.pattern) + " " + c.name);
    const auto got = GlobMatch(c.pattern, c.name);
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got.value(), c.want);
  }
  for (const char* const bad : {"[a", "[", "[]", "[-]", "[a-]", "a\\", "[\\"}) {
    EXPECT_FALSE(CheckGlob(bad).ok()) << bad;
  }
}

TEST(Suggest, Nearest) {
  const std::vector<std::string> keys = {
      "path", "dir", "checkpoint-interval", "replica", "replicas", "sync-interval", "dbs"};
  const struct {
    const char* word;
    std::optional<std::string> want;
  } cases[] = {
      {"chekpoint-interval", "checkpoint-interval"},
      {"checkpoint_interval", "checkpoint-interval"},
      {"DBs", "dbs"},
      {"replcia", "replica"},
      {"replicass", "replicas"},
      {"sync", std::nullopt},
      {"nonsense", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& c : cases) EXPECT_EQ(Nearest(c.word, keys), c.want) << c.word;
  EXPECT_EQ(EditDistance("abc", "acb"), 1U);
  EXPECT_EQ(EditDistance("", "abc"), 3U);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3U);
}

TEST(S3Url, Host) {
  const struct {
    const char* host;
    const char* bucket;
    const char* region;
    const char* endpoint;
    std::optional<bool> path_style;
  } cases[] = {
      {"bucket", "bucket", "", "", {}},
      {"bucket.localhost:9", "bucket", "us-east-1", "http://localhost:9", true},
      {"localhost:9", "", "", "http://localhost:9", true},
      {"127.0.0.1:9000", "", "", "http://127.0.0.1:9000", true},
      {"b.s3.us-west-2.amazonaws.com", "b", "us-west-2", "", {}},
      {"b.c.s3.amazonaws.com", "b.c", "", "", {}},
      {"x.amazonaws.com", "x.amazonaws.com", "", "", {}},
      {"b.nyc3.digitaloceanspaces.com", "b", "nyc3", "https://nyc3.digitaloceanspaces.com", {}},
      {"nyc3.digitaloceanspaces.com", "", "nyc3", "https://nyc3.digitaloceanspaces.com", {}},
      {"b.s3.r1.backblazeb2.com", "b", "r1", "https://s3.r1.backblazeb2.com", true},
      {"b.s3.filebase.com", "b", "", "s3.filebase.com", {}},
      {"b.s3.fr-par.scw.cloud", "b", "fr-par", "s3.fr-par.scw.cloud", {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.host);
    const S3Host got = ParseS3Host(c.host);
    EXPECT_EQ(got.bucket, c.bucket);
    EXPECT_EQ(got.region, c.region);
    EXPECT_EQ(got.endpoint, c.endpoint);
    EXPECT_EQ(got.force_path_style, c.path_style);
  }
}

TEST(S3Url, CompleteEndpoint) {
  const struct {
    const char* endpoint;
    const char* want;
  } cases[] = {
      {"", ""},
      {"http://x", "http://x"},
      {"localhost:9000", "http://localhost:9000"},
      {"127.0.0.1:9", "http://127.0.0.1:9"},
      {"10.1.2.3", "http://10.1.2.3"},
      {"192.168.0.1:80", "http://192.168.0.1:80"},
      {"172.16.0.1", "http://172.16.0.1"},
      {"172.2.0.1", "https://172.2.0.1"},
      {"172.32.0.1", "https://172.32.0.1"},
      {"minio.local:9000", "http://minio.local:9000"},
      {"fly.storage.tigris.dev", "https://fly.storage.tigris.dev"},
  };
  for (const auto& c : cases) EXPECT_EQ(CompleteEndpoint(c.endpoint), c.want) << c.endpoint;
}

}  // namespace
}  // namespace litestream::config
