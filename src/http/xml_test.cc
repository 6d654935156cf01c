#include "http/xml.h"

#include <gtest/gtest.h>

namespace litestream::http {
namespace {

TEST(Xml, LocalNamesAndText) {
  const auto parsed = ParseXml(
      "<?xml version='1.0'?>\n<!-- x --><a:List xmlns:a='urn:x'><a:Key>a &amp;&lt;&#233;"
      "<![CDATA[<b>]]></a:Key><a:Key> </a:Key><Empty/></a:List>");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed.value().name, "List");
  ASSERT_EQ(parsed.value().children.size(), 3U);
  EXPECT_EQ(parsed.value().TextOf("Key"), "a &<é<b>");
  EXPECT_EQ(parsed.value().children[1].text, " ");
  EXPECT_EQ(parsed.value().TextOf("Empty"), "");
  EXPECT_EQ(parsed.value().Find("Nothing"), nullptr);
}

TEST(Xml, EveryPrefixOfADocumentIsRefused) {
  const std::string text = "<List><Contents><Key>a</Key></Contents><Contents/></List>";
  ASSERT_TRUE(ParseXml(text).ok());
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(ParseXml(text.substr(0, size)).ok()) << text.substr(0, size);
  }
}

TEST(Xml, WhatIsNoDocument) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  for (int i = 0; i < 100'000; ++i) deep += "</a>";
  std::string wide = "<a>";
  std::string attributes = "<a ";
  for (int i = 0; i < 250'000; ++i) {
    wide += "<b/>";
    attributes += "c=\"\" ";
  }
  wide += "</a>";
  attributes += "/>";
  for (const std::string& text : {std::string("<html><p>x</html>"), std::string("<a/><b/>"),
                                  std::string("{}"), std::string("<a>&"), deep, wide, attributes}) {
    const auto parsed = ParseXml(text);
    ASSERT_FALSE(parsed.ok()) << text.substr(0, 20);
    EXPECT_EQ(parsed.error().code(), ErrorCode::kCorruption);
  }
}

TEST(Xml, APageOfALongList) {
  std::string page = "<List>";
  for (int i = 0; i < 1000; ++i) {
    page += "<Contents>";
    for (int j = 0; j < 20; ++j) page += "<Some>" + std::string(200, 'x') + "</Some>";
    page += "</Contents>";
  }
  page += "</List>";
  const auto parsed = ParseXml(page);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed.value().children.size(), 1000U);
}

TEST(Xml, EscapedTextComesBack) {
  const std::string text = "a&b<c>\"d'\r\ne é";
  EXPECT_EQ(EscapeXml("&<>\"'"), "&amp;&lt;&gt;&quot;&apos;");
  const auto parsed = ParseXml("<k>" + EscapeXml(text) + "</k>");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().text, text);
}

}  // namespace
}  // namespace litestream::http
