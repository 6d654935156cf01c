#include "http/json.h"

#include <gtest/gtest.h>

namespace litestream::http {
namespace {

TEST(Json, WhatIsInIt) {
  const auto parsed = ParseJson(
      R"( {"name": "a\n\u00e9", "size": 18446744073709551615, "half": 0.50, "yes": true,
           "items": [{"name": "x"}, null, -3], "name": "second"} )");
  ASSERT_TRUE(parsed.ok());
  const JsonValue& root = parsed.value();
  EXPECT_EQ(root.kind, JsonValue::Kind::kObject);
  EXPECT_EQ(root.TextOf("name"), "a\né");
  EXPECT_EQ(root.TextOf("size"), "18446744073709551615");
  EXPECT_EQ(root.TextOf("half"), "0.50");
  EXPECT_EQ(root.TextOf("yes"), "true");
  EXPECT_EQ(root.TextOf("none"), "");
  ASSERT_NE(root.Find("items"), nullptr);
  const auto& items = root.Find("items")->children;
  ASSERT_EQ(items.size(), 3U);
  EXPECT_EQ(items[0].TextOf("name"), "x");
  EXPECT_EQ(items[1].kind, JsonValue::Kind::kNull);
  EXPECT_EQ(items[2].text, "-3");
}

TEST(Json, WhatIsNone) {
  const std::string deep(kMaxJsonDepth + 1, '[');
  const std::string closed = deep + std::string(deep.size(), ']');
  for (const std::string& text : {std::string(), std::string("{"), std::string("{\"a\":1}x"),
                                  std::string("<html>"), std::string("{\"a\":\"\xff\"}"), closed}) {
    EXPECT_FALSE(ParseJson(text).ok()) << text;
  }
  EXPECT_TRUE(ParseJson(closed.substr(1, closed.size() - 2)).ok());
}

TEST(Json, AString) {
  EXPECT_EQ(JsonString("a\"b\n\xff"), "\"a\\\"b\\n\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace litestream::http
