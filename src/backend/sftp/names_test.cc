// Names and places: of servers, temporary files, directories, the states of an object.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/sftp/address.h"
#include "backend/sftp/files.h"
#include "backend/sftp/objects.h"
#include "backend/sftp/upload.h"

namespace litestream::sftp {
namespace {

TEST(AddressTest, HostAndPort) {
  const struct {
    const char* text;
    const char* host;  // "": an error
    int port;
  } cases[] = {
      {"backup.example.com", "backup.example.com", 22},
      {"Host:2222", "Host", 2222},
      {"127.0.0.1:65535", "127.0.0.1", 65535},
      {"[::1]", "::1", 22},
      {"[fe80::1%eth0]:2022", "fe80::1%eth0", 2022},
      {"::1", "::1", 22},
      {"", "", 0},
      {":22", "", 0},
      {"host:", "", 0},
      {"host:0", "", 0},
      {"host:65536", "", 0},
      {"host:-1", "", 0},
      {"host:22x", "", 0},
      {"[::1", "", 0},
      {"[]:22", "", 0},
      {"[::1]22", "", 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto parsed = ParseHostAndPort(c.text);
    ASSERT_EQ(parsed.ok(), c.host[0] != '\0');
    if (!parsed.ok()) {
      EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalidArgument);
      continue;
    }
    EXPECT_EQ(parsed.value().host, c.host);
    EXPECT_EQ(parsed.value().port, c.port);
  }
}

TEST(NamesTest, TemporaryFiles) {
  const std::string ltx = "0000000000000001-0000000000000002.ltx";
  EXPECT_TRUE(IsTempName(TempName(ltx)));
  EXPECT_NE(TempName(ltx), TempName(ltx));
  EXPECT_TRUE(IsOwnTempName(TempName(ltx)));
  EXPECT_FALSE(IsOwnTempName(ltx + ".0123456789abcdef-1.tmp"));
  EXPECT_TRUE(IsTempName(ltx + ".123.1700000000000000000.tmp")) << "of stock Litestream";
  EXPECT_TRUE(IsTempName(ltx + ".tmp"));
  for (const std::string& name : {ltx, ltx + ".bak", ltx + "tmp", std::string("x.tmp"),
                                  "x" + ltx + ".tmp", std::string("lock.json.d.1.tmp")}) {
    EXPECT_FALSE(IsTempName(name)) << name;
  }
}

TEST(NamesTest, Parents) {
  EXPECT_EQ(ParentOf("/a/b"), "/a");
  EXPECT_EQ(ParentOf("/a"), "/");
  EXPECT_EQ(ParentOf("a/b"), "a");
  EXPECT_EQ(ParentOf("a"), "");
  EXPECT_EQ(Join("", "a"), "a");
  EXPECT_EQ(Join("/", "a"), "/a");
  EXPECT_EQ(Join("/a", "b/c"), "/a/b/c");
}

std::vector<NamedFile> Names(const std::vector<std::string>& names) {
  std::vector<NamedFile> files;
  for (const std::string& name : names) files.push_back({.name = name});
  return files;
}

TEST(ObjectStateTest, OneNameSaysIt) {
  const std::string a(32, 'a');
  const std::string b(32, 'b');
  const auto at = StateOf(Names({b, "at-" + a, a}));
  ASSERT_TRUE(at.ok() && at.value());
  EXPECT_EQ(at.value()->tag, a);
  EXPECT_FALSE(at.value()->deleted);
  const auto none = StateOf(Names({"none-" + b}));
  ASSERT_TRUE(none.ok() && none.value());
  EXPECT_EQ(none.value()->tag, b);
  EXPECT_TRUE(none.value()->deleted);
  const auto empty = StateOf({});
  ASSERT_TRUE(empty.ok());
  EXPECT_FALSE(empty.value());
}

// A list made while the name changes. It is made again; it must not be taken for an answer.
TEST(ObjectStateTest, TwoNamesOrNoneSayNothing) {
  const std::string a(32, 'a');
  const std::string b(32, 'b');
  for (const auto& names :
       {Names({"at-" + a, "at-" + b}), Names({"at-" + a, "none-" + b}), Names({a, b}),
        Names({"at-" + std::string(31, 'a')}), Names({"at-../../../../../../../../etc/x"})}) {
    const auto state = StateOf(names);
    ASSERT_FALSE(state.ok());
    EXPECT_EQ(state.error().code(), ErrorCode::kUnavailable);
  }
}

}  // namespace
}  // namespace litestream::sftp
