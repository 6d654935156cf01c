#include <limits>

#include <gtest/gtest.h>

#include "cli/json_out.h"
#include "cli/progress.h"
#include "cli/table.h"

namespace litestream::cli {
namespace {

TEST(Table, PadsByCharacters) {
  Table table({"path", "replica"});
  table.Add({"/a/db", "file"});
  table.Add({"/\u4e2d\u6587", "s3"});
  EXPECT_EQ(table.Format(),
            "path   replica\n"
            "/a/db  file\n"
            "/\u4e2d\u6587    s3\n");
}

TEST(Table, Bytes) {
  const struct {
    std::uint64_t bytes;
    const char* want;
  } cases[] = {
      {0, "0 B"},          {9, "9 B"},
      {10, "10 B"},        {999, "999 B"},
      {1000, "1.0 kB"},    {1049, "1.0 kB"},
      {1050, "1.1 kB"},    {4152, "4.2 kB"},
      {9949, "9.9 kB"},    {9950, "10 kB"},
      {32768, "33 kB"},    {999499, "1000 kB"},
      {1000000, "1.0 MB"}, {1234567, "1.2 MB"},
      {10000000, "10 MB"}, {std::numeric_limits<std::uint64_t>::max(), "18 EB"},
  };
  for (const auto& c : cases) EXPECT_EQ(FormatBytes(c.bytes), c.want);
}

TEST(Json, LooksLikeGo) {
  JsonWriter out;
  out.BeginArray()
      .BeginObject()
      .Field("url", "s3://b?x=1&y=<2>")
      .Field("quote", "\"\\\n\t\x01")
      .Field("bad",
             "a\xff"
             "b\u2028\u00e9")
      .Field("size", std::uint64_t{18446744073709551615U})
      .Field("yes", true)
      .Key("none")
      .BeginArray()
      .EndArray()
      .EndObject()
      .EndArray();
  EXPECT_EQ(out.Take(),
            "[\n"
            "  {\n"
            "    \"url\": \"s3://b?x=1\\u0026y=\\u003c2\\u003e\",\n"
            "    \"quote\": \"\\\"\\\\\\n\\t\\u0001\",\n"
            "    \"bad\": \"a\\ufffdb\\u2028\u00e9\",\n"
            "    \"size\": 18446744073709551615,\n"
            "    \"yes\": true,\n"
            "    \"none\": []\n"
            "  }\n"
            "]\n");
}

TEST(Progress, Line) {
  const std::string half =
      FormatProgress("restore", 1'200'000'000, 2'400'000'000, std::chrono::seconds(4));
  EXPECT_EQ(half,
            "restore [===============>              ]  50%  1.2 GB of 2.4 GB  300 MB/s  0:04 left");
  EXPECT_EQ(FormatProgress("x", 0, 0, std::chrono::seconds(1)),
            "x [>                             ]   0%  0 B of 0 B");
  EXPECT_NE(FormatProgress("x", 1, 1'000'000, std::chrono::seconds(1)).find("277:46:39 left"),
            std::string::npos);
}

}  // namespace
}  // namespace litestream::cli
