#include "config/decode.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/core.h>

#include "base/duration.h"
#include "config/suggest.h"
#include "config/units.h"

namespace litestream::config {
namespace {

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string Shown(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kList) return "a list";
  if (node.kind == YamlNode::Kind::kMap) return "a map";
  constexpr std::size_t kMaxShown = 60;
  if (node.text.size() <= kMaxShown) return fmt::format("\"{}\"", node.text);
  return fmt::format("\"{}...\"", std::string_view(node.text).substr(0, kMaxShown));
}

std::optional<std::int64_t> IntegerOf(const YamlNode& node) {
  if (node.quoted) return std::nullopt;
  const IntegerResult integer = ParseInteger(node.text);
  if (!integer.error) return integer.value;
  double number = 0;
  const char* const end = node.text.data() + node.text.size();
  const auto parsed = std::from_chars(node.text.data(), end, number);
  constexpr double kLimit = 9.2e18;
  if (parsed.ec != std::errc() || parsed.ptr != end || !(std::fabs(number) < kLimit)) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(number);
}

}  // namespace

void Decoder::Problem(int line, std::string_view path, std::string_view what) {
  problems_.emplace(line, path.empty() ? Position(line) + std::string(what)
                                       : fmt::format("{}{}: {}", Position(line), path, what));
}

std::vector<std::string> Decoder::problems() const {
  std::vector<std::string> problems;
  for (const auto& [line, problem] : problems_) problems.push_back(problem);
  return problems;
}

std::string Decoder::Position(int line) const {
  return line == 0 ? fmt::format("{}: ", file_) : fmt::format("{}:{}: ", file_, line);
}

void Decoder::Expand(YamlNode& node) const {
  if (expander_ == nullptr) return;
  for (YamlNode& item : node.items) Expand(item);
  for (YamlEntry& entry : node.entries) {
    entry.key = expander_->ReplaceTokens(entry.key);
    Expand(entry.value);
  }
  if (node.kind != YamlNode::Kind::kScalar || !EnvironmentExpander::HasToken(node.text)) return;
  node.text = expander_->ReplaceTokens(node.text);
  if (node.quoted) return;
  // As if the value had been written there: blanks around it do not count, nothing is null.
  node.text = std::string(Trim(node.text));
  if (node.text.empty() || node.text == "~" || node.text == "null") {
    node.kind = YamlNode::Kind::kNull;
  }
}

MapReader::MapReader(Decoder& decoder, const YamlNode& node, std::string path)
    : decoder_(decoder), node_(node), path_(std::move(path)) {}

std::string MapReader::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

bool MapReader::Has(std::string_view key) const {
  return std::any_of(node_.entries.begin(), node_.entries.end(),
                     [key](const YamlEntry& entry) { return entry.key == key; });
}

int MapReader::LineOf(std::string_view key) const {
  for (const YamlEntry& entry : node_.entries) {
    if (entry.key == key) return entry.line;
  }
  return 0;
}

void MapReader::Allow(std::string_view key) {
  known_.emplace_back(key);
}

const YamlEntry* MapReader::Find(std::string_view key) {
  known_.emplace_back(key);
  for (const YamlEntry& entry : node_.entries) {
    if (entry.key != key) continue;
    decoder_.NoteLine(PathOf(key), entry.line);
    return entry.value.kind == YamlNode::Kind::kNull ? nullptr : &entry;
  }
  return nullptr;
}

void MapReader::WrongType(const YamlEntry& entry, std::string_view wanted) {
  decoder_.Problem(entry.line, PathOf(entry.key),
                   fmt::format("{} is not {}", Shown(entry.value), wanted));
}

const YamlNode* MapReader::Scalar(std::string_view key, std::string_view wanted) {
  const YamlEntry* const entry = Find(key);
  if (entry == nullptr) return nullptr;
  if (entry->value.kind == YamlNode::Kind::kScalar) return &entry->value;
  WrongType(*entry, wanted);
  return nullptr;
}

void MapReader::Read(std::string_view key, std::string& out) {
  if (const YamlNode* const value = Scalar(key, "a text")) out = value->text;
}

void MapReader::Read(std::string_view key, std::optional<bool>& out) {
  constexpr std::string_view kWanted = "true or false";
  const YamlNode* const value = Scalar(key, kWanted);
  if (value == nullptr) return;
  const auto parsed = value->quoted ? std::nullopt : ParseYamlBool(value->text);
  if (parsed) {
    out = *parsed;
  } else {
    WrongType({std::string(key), LineOf(key), *value}, kWanted);
  }
}

void MapReader::Read(std::string_view key, bool& out) {
  std::optional<bool> value;
  Read(key, value);
  if (value) out = *value;
}

void MapReader::Read(std::string_view key, std::optional<std::int64_t>& out) {
  constexpr std::string_view kWanted = "a whole number (without quotes)";
  const YamlNode* const value = Scalar(key, kWanted);
  if (value == nullptr) return;
  if (const auto number = IntegerOf(*value)) {
    out = *number;
  } else {
    WrongType({std::string(key), LineOf(key), *value}, kWanted);
  }
}

void MapReader::Read(std::string_view key, std::int64_t& out) {
  std::optional<std::int64_t> value;
  Read(key, value);
  if (value) out = *value;
}

void MapReader::Read(std::string_view key, std::optional<std::chrono::nanoseconds>& out) {
  constexpr std::string_view kWanted = "a duration (like 500ms, 30s, 5m, 1h30m)";
  const YamlNode* const value = Scalar(key, kWanted);
  if (value == nullptr) return;
  const auto parsed = ParseGoDuration(value->text);
  if (parsed.ok()) {
    out = parsed.value();
  } else if (!value->quoted && IntegerOf(*value)) {
    decoder_.Problem(LineOf(key), PathOf(key),
                     fmt::format("{} has no unit; write {}s for seconds or {}ns for nanoseconds",
                                 value->text, value->text, value->text));
  } else {
    WrongType({std::string(key), LineOf(key), *value}, kWanted);
  }
}

void MapReader::Read(std::string_view key, std::chrono::nanoseconds& out) {
  std::optional<std::chrono::nanoseconds> value;
  Read(key, value);
  if (value) out = *value;
}

void MapReader::Read(std::string_view key, std::vector<std::string>& out) {
  const YamlNode* const list = List(key);
  if (list == nullptr) return;
  out.clear();
  for (const YamlNode& item : list->items) {
    if (item.kind == YamlNode::Kind::kScalar) {
      out.push_back(item.text);
    } else {
      decoder_.Problem(item.line, PathOf(key), "an element of the list is not a text");
    }
  }
}

void MapReader::ReadSize(std::string_view key, std::optional<std::uint64_t>& out) {
  const YamlNode* const value = Scalar(key, "a size (like 10MiB)");
  if (value == nullptr) return;
  const auto parsed = ParseSize(value->text);
  if (parsed.ok()) {
    out = parsed.value();
  } else {
    decoder_.Problem(LineOf(key), PathOf(key), parsed.error().message());
  }
}

const YamlNode* MapReader::Map(std::string_view key) {
  const YamlEntry* const entry = Find(key);
  if (entry == nullptr) return nullptr;
  if (entry->value.kind == YamlNode::Kind::kMap) return &entry->value;
  WrongType(*entry, "a map of keys and values");
  return nullptr;
}

const YamlNode* MapReader::List(std::string_view key) {
  const YamlEntry* const entry = Find(key);
  if (entry == nullptr) return nullptr;
  if (entry->value.kind == YamlNode::Kind::kList) return &entry->value;
  WrongType(*entry, "a list");
  return nullptr;
}

void MapReader::Finish() {
  for (const YamlEntry& entry : node_.entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    std::string what = fmt::format("unknown key \"{}\"", entry.key);
    if (const auto nearest = Nearest(entry.key, known_)) {
      what += fmt::format("; did you mean \"{}\"?", *nearest);
    }
    decoder_.Problem(entry.line, path_, what);
  }
}

}  // namespace litestream::config
