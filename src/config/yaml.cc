#include "config/yaml.h"

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "base/utf8.h"

namespace litestream::config {
namespace {

constexpr std::string_view kMergeKey = "<<";
constexpr std::string_view kStringTag = "tag:yaml.org,2002:str";

// Thrown through yaml-cpp out of the handler; caught in ParseYaml.
struct BuildError {
  int line;
  std::string what;
};

std::size_t CountNodes(const YamlNode& node) {
  std::size_t count = 1;
  for (const YamlNode& item : node.items) count += CountNodes(item);
  for (const YamlEntry& entry : node.entries) count += CountNodes(entry.value);
  return count;
}

// Builds the tree from the parser's events.
class TreeBuilder : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw BuildError{mark.line + 1, "a second document begins here; only one is read"};
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Make(YamlNode::Kind::kNull, mark), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw BuildError{mark.line + 1, "an alias inside its own anchor"};
    Count(CountNodes(found->second), mark);
    Add(found->second, YAML::NullAnchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = Make(YamlNode::Kind::kScalar, mark);
    node.quoted = tag == "!" || tag == kStringTag;
    node.text = value;
    Add(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open_.push_back({.node = Make(YamlNode::Kind::kList, mark), .anchor = anchor});
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open_.push_back({.node = Make(YamlNode::Kind::kMap, mark), .anchor = anchor});
  }
  void OnMapEnd() override {
    Merge(open_.back());
    Close();
  }

  YamlNode TakeRoot() { return std::move(root_); }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor;
    std::optional<YamlEntry> pending;  // Its key is known.
    std::vector<YamlNode> merges;      // Values of "<<", in order.
  };

  YamlNode Make(YamlNode::Kind kind, const YAML::Mark& mark) {
    Count(1, mark);
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    return node;
  }
  void Count(std::size_t more, const YAML::Mark& mark) {
    count_ += more;
    if (count_ > kMaxYamlNodes) throw BuildError{mark.line + 1, "too many values"};
  }
  void Close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    Add(std::move(done.node), done.anchor);
  }
  void Add(YamlNode node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (open_.back().node.kind == YamlNode::Kind::kList) {
      open_.back().node.items.push_back(std::move(node));
    } else {
      AddToMap(open_.back(), std::move(node));
    }
  }
  static void AddToMap(Open& map, YamlNode node) {
    if (!map.pending) {
      if (node.kind != YamlNode::Kind::kScalar) throw BuildError{node.line, "a key must be a word"};
      map.pending = YamlEntry{.key = std::move(node.text), .line = node.line};
      return;
    }
    YamlEntry entry = std::move(*map.pending);
    map.pending.reset();
    if (entry.key == kMergeKey) {
      map.merges.push_back(std::move(node));
      return;
    }
    for (const YamlEntry& other : map.node.entries) {
      if (other.key != entry.key) continue;
      throw BuildError{
          entry.line, fmt::format("the key {} is given a second time (first in line {})", entry.key,
                                  other.line)};
    }
    entry.value = std::move(node);
    map.node.entries.push_back(std::move(entry));
  }
  // Own keys win over merged ones, earlier merged maps over later ones.
  static void Merge(Open& map) {
    std::vector<YamlNode> sources;
    for (YamlNode& merge : map.merges) {
      if (merge.kind != YamlNode::Kind::kList) {
        sources.push_back(std::move(merge));
        continue;
      }
      for (YamlNode& item : merge.items) sources.push_back(std::move(item));
    }
    for (YamlNode& source : sources) {
      if (source.kind != YamlNode::Kind::kMap) {
        throw BuildError{source.line, "<< needs a map or a list of maps"};
      }
      for (YamlEntry& entry : source.entries) {
        const bool taken = std::any_of(map.node.entries.begin(), map.node.entries.end(),
                                       [&](const YamlEntry& e) { return e.key == entry.key; });
        if (!taken) map.node.entries.push_back(std::move(entry));
      }
    }
  }

  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  YamlNode root_;
  std::size_t count_ = 0;
  int documents_ = 0;
};

// Position of the first byte that is not part of valid UTF-8.
std::size_t FindInvalidUtf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Character character = DecodeUtf8(text.substr(at));
    if (!character.valid) return at;
    at += character.size_bytes;
  }
  return std::string_view::npos;
}

}  // namespace

Result<YamlNode> ParseYaml(std::string_view text, std::string_view name) {
  const auto fail = [&](int line, std::string_view what) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("{}:{}: yaml: {}", name, line, what));
  };
  if (const std::size_t bad = FindInvalidUtf8(text); bad != std::string_view::npos) {
    const auto newlines = std::count(text.begin(), text.begin() + static_cast<long>(bad), '\n');
    return fail(static_cast<int>(newlines) + 1, "invalid UTF-8");
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder;
    while (parser.HandleNextDocument(builder)) {
    }
    return builder.TakeRoot();
  } catch (const BuildError& error) {
    return fail(error.line, error.what);
  } catch (const YAML::Exception& error) {
    return fail(error.mark.line + 1, error.msg);
  } catch (const std::exception& error) {
    return fail(1, error.what());
  }
}

}  // namespace litestream::config
