#include "http/xml.h"

#include <algorithm>

#include <fmt/core.h>
#include <pugixml.hpp>

namespace litestream::http {
namespace {

constexpr int kMaxDepth = 32;
// Of "<" and "=", so that elements and attributes, which take many times their text in memory, are
// bounded. A page of a list has 1,000 keys with a dozen elements each.
constexpr std::ptrdiff_t kMaxMarks = 200'000;

std::string LocalName(std::string_view name) {
  const std::size_t colon = name.find(':');
  return std::string(colon == std::string_view::npos ? name : name.substr(colon + 1));
}

bool Copy(const pugi::xml_node& from, int depth, XmlElement& to) {
  if (depth > kMaxDepth) return false;
  to.name = LocalName(from.name());
  for (const pugi::xml_node& child : from.children()) {
    if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) {
      to.text += child.value();
    } else if (child.type() == pugi::node_element) {
      if (!Copy(child, depth + 1, to.children.emplace_back())) return false;
    }
  }
  return true;
}

}  // namespace

const XmlElement* XmlElement::Find(std::string_view child) const {
  for (const XmlElement& element : children) {
    if (element.name == child) return &element;
  }
  return nullptr;
}

std::string XmlElement::TextOf(std::string_view child) const {
  const XmlElement* const found = Find(child);
  return found == nullptr ? std::string() : found->text;
}

Result<XmlElement> ParseXml(std::string_view text) {
  if (std::ranges::count_if(text, [](char c) { return c == '<' || c == '='; }) > kMaxMarks) {
    return Error(ErrorCode::kCorruption, "not taken as XML: too many elements");
  }
  pugi::xml_document document;
  // Text of spaces counts where it is all there is: a key may be one.
  const auto parsed = document.load_buffer(text.data(), text.size(),
                                           pugi::parse_default | pugi::parse_ws_pcdata_single);
  if (!parsed) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("not XML: {} at byte {}", parsed.description(), parsed.offset));
  }
  XmlElement root;
  int roots = 0;
  for (const pugi::xml_node& child : document.children()) {
    if (child.type() == pugi::node_element) ++roots;
  }
  if (roots != 1 || !Copy(document.document_element(), 0, root)) {
    return Error(ErrorCode::kCorruption, "not XML: no single root, or too deep");
  }
  return root;
}

std::string EscapeXml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&apos;";
        break;
      case '\r':
        out += "&#13;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace litestream::http
