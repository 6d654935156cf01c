#include "config/yaml.h"

#include <map>

#include <gtest/gtest.h>
#include <unistd.h>

#include "config/env_expand.h"

namespace litestream::config {
namespace {

// The tree in one line: {a: 'quoted', b: [1, ~]}.
std::string Show(const YamlNode& node) {
  std::string out;
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "~";
    case YamlNode::Kind::kScalar:
      return node.quoted ? "'" + node.text + "'" : node.text;
    case YamlNode::Kind::kList:
      for (const YamlNode& item : node.items) out += (out.empty() ? "" : ", ") + Show(item);
      return "[" + out + "]";
    case YamlNode::Kind::kMap:
      for (const YamlEntry& entry : node.entries) {
        out += (out.empty() ? "" : ", ") + entry.key + ": " + Show(entry.value);
      }
      return "{" + out + "}";
  }
  return out;
}

TEST(Yaml, Parse) {
  const struct {
    const char* why;
    const char* text;
    const char* want;
  } cases[] = {
      {"empty", "", "~"},
      {"comment", "# x\n", "~"},
      {"scalars", "a: 1\nb: '2'\nc: \"3\"\nd: ~\ne:\nf: null\n",
       "{a: 1, b: '2', c: '3', d: ~, e: ~, f: ~}"},
      {"explicit string", "a: !!str 5\n", "{a: '5'}"},
      {"nested", "a: [1, {b: c}]\n", "{a: [1, {b: c}]}"},
      {"alias", "a: &x {k: v}\nb: *x\n", "{a: {k: v}, b: {k: v}}"},
      {"merge, own keys win", "a: &x {k: v, l: w}\nb: {<<: *x, k: own}\n",
       "{a: {k: v, l: w}, b: {k: own, l: w}}"},
      {"merge of a list, earlier wins", "b:\n  <<: [{k: 1}, {k: 2, l: 3}]\n", "{b: {k: 1, l: 3}}"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto got = ParseYaml(c.text, "f");
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(Show(got.value()), c.want);
  }
}

TEST(Yaml, LinesAreKept) {
  const auto got = ParseYaml("a: 1\nb:\n  - c: 2\n", "f");
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got.value().entries[1].line, 2);
  EXPECT_EQ(got.value().entries[1].value.items[0].entries[0].line, 3);
}

TEST(Yaml, Refused) {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'j'; ++c) {
    const std::string last(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) bomb += (i == 0 ? "*" : ",*") + last;
    bomb += "]\n";
  }
  const struct {
    const char* why;
    std::string text;
    const char* says;
  } cases[] = {
      {"duplicate key", "a: 1\nb: 2\na: 3\n", "f:3: yaml: the key a is given a second time"},
      {"second document", "a: 1\n---\nb: 1\n", "a second document"},
      {"not UTF-8", "a: 1\nb: \"\xff\"\n", "f:2: yaml: invalid UTF-8"},
      {"overlong", "a: \xc0\x80\n", "f:1: yaml: invalid UTF-8"},
      {"open bracket", "a: [\n", "f:"},
      {"unknown alias", "a: *x\n", "f:1:"},
      {"alias in itself", "a: &x [*x]\n", "f:1:"},
      {"map as key", "{a: b}: c\n", "a key must be a word"},
      {"merge of a word", "a: {<<: x}\n", "<< needs a map"},
      {"aliases that blow up", bomb, "too many values"},
      {"too deep", std::string(100'000, '['), "f:1:"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto got = ParseYaml(c.text, "f");
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(got.error().message().find(c.says), std::string::npos) << got.error().message();
  }
}

TEST(EnvironmentExpander, Forms) {
  const std::map<std::string, std::string, std::less<>> variables = {
      {"NAME", "alpha"}, {"NAMEx", "beta"}, {"A_1", "x"}, {"EMPTY", ""}};
  const auto lookup = [&](std::string_view name) {
    const auto found = variables.find(name);
    return found == variables.end() ? "" : found->second;
  };
  const struct {
    const char* text;
    const char* want;
  } cases[] = {
      {"$NAME", "alpha"},
      {"${NAME}", "alpha"},
      {"$NAMEx-${NAME}x", "beta-alphax"},
      {"$A_1.$A_1", "x.x"},
      {"$UNSET|", "|"},
      {"${NAME:-x}", ""},
      {"a${}b", "ab"},
      {"c${d", "cd"},
      {"c${d\n}", "cd\n}"},
      {"pa$$word", "paword"},
      {"$1x", "x"},
      {"$*y", "y"},
      {"a$", "a$"},
      {"a$ b", "a$ b"},
      {"\\$NAME", "\\alpha"},
      {"$\u00e9", "$\u00e9"},
      {"\uE000 0\uE001", "\uE000 0\uE001"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    EnvironmentExpander expander(lookup);
    EXPECT_EQ(expander.ReplaceTokens(expander.InsertTokens(c.text)), c.want);
  }
}

TEST(EnvironmentExpander, ProcessId) {
  EXPECT_EQ(LookupEnvironment("PID"), std::to_string(::getpid()));
}

// A reference is ordinary text to the parser wherever it stands.
TEST(EnvironmentExpander, TokensSurviveYaml) {
  EnvironmentExpander expander([](std::string_view) { return "a: b, [c] # \"d\"\n- e"; });
  const std::string text = expander.InsertTokens("{a: $X, b: \"$X\", c: '${X}', d: [x$X, $X]}\n");
  const auto got = ParseYaml(text, "f");
  ASSERT_TRUE(got.ok()) << got.error().message();
  ASSERT_EQ(got.value().entries.size(), 4U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(expander.ReplaceTokens(got.value().entries[i].value.text), "a: b, [c] # \"d\"\n- e");
  }
  EXPECT_EQ(got.value().entries[3].value.items.size(), 2U);
}

}  // namespace
}  // namespace litestream::config
