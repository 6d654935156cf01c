#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "litestream/result.h"

namespace litestream::config {

struct YamlEntry;

// A YAML document with aliases and merge keys (<<) resolved.
struct YamlNode {
  enum class Kind : unsigned char { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  bool quoted = false;  // A scalar that is a string whatever it looks like.
  int line = 0;         // From 1.
  std::string text;     // A scalar's.
  std::vector<YamlNode> items;
  std::vector<YamlEntry> entries;  // In the order of the file.
};
struct YamlEntry {
  std::string key;
  int line = 0;
  YamlNode value;
};

inline constexpr std::size_t kMaxYamlNodes = 1'000'000;

// Parses the only document of a file. Refuses duplicate keys, keys that are not scalars, a second
// document, text that is not UTF-8, and aliases that blow up beyond kMaxYamlNodes. An empty file is
// a null node. Messages begin with "<name>:<line>: ".
Result<YamlNode> ParseYaml(std::string_view text, std::string_view name);

}  // namespace litestream::config
