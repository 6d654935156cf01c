#include "http/xml_reader.h"

#include <string>

#include <gtest/gtest.h>

#include "base/try.h"

namespace litestream::http {
namespace {

// Writes down what it is told: "<{ns}name>text</name>".
class NotingHandler final : public XmlHandler {
 public:
  Result<void> OnStart(const XmlName& name) override {
    notes += "<";
    if (!name.space.empty()) notes.append("{").append(name.space).append("}");
    notes.append(name.local).append(">");
    return {};
  }
  Result<void> OnText(std::string_view text) override {
    notes += text;
    return {};
  }
  Result<void> OnEnd(const XmlName& name) override {
    if (name.local == "refused") return Error(ErrorCode::kDenied, "not this");
    notes.append("</").append(name.local).append(">");
    return {};
  }
  std::string notes;
};

std::string ReadInPieces(std::string_view text, std::size_t piece) {
  NotingHandler handler;
  XmlReader reader(handler);
  const auto read = [&]() -> Result<void> {
    for (std::size_t i = 0; i < text.size(); i += piece) LS_TRY(reader.Feed(text.substr(i, piece)));
    return reader.Finish();
  }();
  return read.ok() ? handler.notes : std::string(ToString(read.error().code()));
}

TEST(XmlReaderTest, Documents) {
  const struct {
    const char* why;
    const char* text;
    const char* want;
  } cases[] = {
      {"empty", "<a/>", "<a></a>"},
      {"a declaration, comments, spaces", "<?xml version=\"1.0\"?>\n<!-- > --><a >x</a >\n<!---->",
       "<a>x</a>"},
      {"a byte order mark", "\xEF\xBB\xBF<a/>", "<a></a>"},
      {"namespaces", R"(<D:a xmlns:D="DAV:" x='>'><b xmlns="n"><c/></b><D:b/></D:a>)",
       "<{DAV:}a><{n}b><{n}c></c></b><{DAV:}b></b></a>"},
      {"the inner prefix counts", R"(<p:a xmlns:p="1"><p:b xmlns:p="2"/><p:c/></p:a>)",
       "<{1}a><{2}b></b><{1}c></c></a>"},
      {"no namespace again", R"(<a xmlns="n"><b xmlns=""/></a>)", "<{n}a><b></b></a>"},
      {"references", "<a>&lt;&#65;&#x2f;&amp;&#xE9;&#x20AC;&#x1F600;</a>",
       "<a><A/&\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80</a>"},
      {"CDATA", "<a><![CDATA[<b>&amp;]]></a>", "<a><b>&amp;</a>"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    for (std::size_t piece = 1; piece <= 20; ++piece) {
      EXPECT_EQ(ReadInPieces(c.text, piece), c.want) << piece;
    }
  }
}

TEST(XmlReaderTest, WhatIsNone) {
  const struct {
    const char* why;
    std::string text;
  } cases[] = {
      {"nothing", ""},
      {"text", "not found"},
      {"cut off", "<a><b></b>"},
      {"cut off in a tag", "<a></a"},
      {"tags that do not match", "<a></b>"},
      {"an end too many", "<a></a></a>"},
      {"two roots", "<a/><b/>"},
      {"text behind", "<a/>x"},
      {"a document type", "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>"},
      {"an entity of nobody", "<a>&x;</a>"},
      {"a reference without end", "<a>&lt </a>"},
      {"no character", "<a>&#0;</a>"},
      {"half a character", "<a>&#xD800;</a>"},
      {"a control character", std::string("<a>x\0y</a>", 10)},
      {"a reference to one", "<a>&#7;</a>"},
      {"a prefix of nobody", "<D:a/>"},
      {"an attribute without quotes", "<a b=c/>"},
      {"an attribute without a value", "<a b/>"},
      {"a tag without a name", "< a/>"},
      {"CDATA outside", "<![CDATA[x]]><a/>"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    for (const std::size_t piece : {1, 7, 1000}) {
      EXPECT_EQ(ReadInPieces(c.text, piece), "corruption") << piece;
    }
  }
}

TEST(XmlReaderTest, IsBounded) {
  std::string deep;
  for (std::size_t i = 0; i < kMaxXmlDepth; ++i) deep += "<a>";
  std::string closed = deep;
  for (std::size_t i = 0; i < kMaxXmlDepth; ++i) closed += "</a>";
  EXPECT_NE(ReadInPieces(closed, 100), "corruption");
  EXPECT_EQ(ReadInPieces(deep + "<a>", 100), "corruption");
  EXPECT_EQ(ReadInPieces("<a b='" + std::string(kMaxXmlTokenBytes, 'x') + "'/>", 1 << 16),
            "corruption");
  NotingHandler handler;
  XmlReader reader(handler);
  ASSERT_TRUE(reader.Feed("<a><!--").ok());
  bool refused = false;
  for (int i = 0; i < 100 && !refused; ++i) refused = !reader.Feed(std::string(1000, 'x')).ok();
  EXPECT_TRUE(refused) << "a comment without end fills the memory";
}

TEST(XmlReaderTest, WhatTheHandlerRefusesEndsIt) {
  EXPECT_EQ(ReadInPieces("<a><refused/></a>", 100), "denied");
}

}  // namespace
}  // namespace litestream::http
