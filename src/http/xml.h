#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "litestream/result.h"

namespace litestream::http {

// An element of an answer. Namespaces differ from server to server: only local names are kept.
struct XmlElement {
  std::string name;
  std::string text;  // Without that of its children.
  std::vector<XmlElement> children;

  // The first child with that name; null if there is none.
  const XmlElement* Find(std::string_view child) const;
  // Its text; "" if there is none.
  std::string TextOf(std::string_view child) const;
};

// The root of a whole, well-formed document; kCorruption otherwise: an answer that was cut off must
// not be taken for a short list.
Result<XmlElement> ParseXml(std::string_view text);
// & < > " ' as entities.
std::string EscapeXml(std::string_view text);

}  // namespace litestream::http
