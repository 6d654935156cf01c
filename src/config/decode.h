#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/env_expand.h"
#include "config/yaml.h"
#include "litestream/result.h"

namespace litestream::config {

// What decoding a whole file collects: every problem, so that all can be mended at once.
class Decoder {
 public:
  Decoder(std::string_view file, const EnvironmentExpander* expander)
      : file_(file), expander_(expander) {}

  void Problem(int line, std::string_view path, std::string_view what);
  // "<file>:<line>: "; without the line if it is 0.
  std::string Position(int line) const;
  // Replaces variables in all scalars and keys.
  void Expand(YamlNode& node) const;
  void NoteLine(std::string path, int line) { lines_.emplace(std::move(path), line); }

  // In the order of the file.
  std::vector<std::string> problems() const;
  std::map<std::string, int, std::less<>> TakeLines() { return std::move(lines_); }

 private:
  std::string file_;
  const EnvironmentExpander* expander_;       // Borrowed; null: no expansion.
  std::multimap<int, std::string> problems_;  // By line.
  std::map<std::string, int, std::less<>> lines_;
};

// Reads the keys of one map. A key that is missing or null leaves `out` as it is. A wrong type is
// noted as a problem. Finish() notes the keys that nobody asked for.
class MapReader {
 public:
  // `path` is the map's own dotted path; empty at the top.
  MapReader(Decoder& decoder, const YamlNode& node, std::string path);

  void Read(std::string_view key, std::string& out);
  void Read(std::string_view key, bool& out);
  void Read(std::string_view key, std::optional<bool>& out);
  void Read(std::string_view key, std::int64_t& out);
  void Read(std::string_view key, std::optional<std::int64_t>& out);
  void Read(std::string_view key, std::chrono::nanoseconds& out);
  void Read(std::string_view key, std::optional<std::chrono::nanoseconds>& out);
  void Read(std::string_view key, std::vector<std::string>& out);  // A list of strings.
  void ReadSize(std::string_view key, std::optional<std::uint64_t>& out);

  // The value if the key is there and not null; of the given kind, or a problem is noted.
  const YamlNode* Map(std::string_view key);
  const YamlNode* List(std::string_view key);
  // Whether the key is there at all, null or not.
  bool Has(std::string_view key) const;
  int LineOf(std::string_view key) const;  // 0 if it is not there.
  std::string PathOf(std::string_view key) const;

  // A key that means nothing but is no mistake.
  void Allow(std::string_view key);
  void Finish();

  Decoder& decoder() { return decoder_; }

 private:
  // The entry, if it is there; marks the key as known.
  const YamlEntry* Find(std::string_view key);
  const YamlNode* Scalar(std::string_view key, std::string_view wanted);
  void WrongType(const YamlEntry& entry, std::string_view wanted);

  Decoder& decoder_;
  const YamlNode& node_;
  std::string path_;
  std::vector<std::string> known_;
};

}  // namespace litestream::config
