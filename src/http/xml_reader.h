#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/result.h"

namespace litestream::http {

// An element's name; "" as namespace for names that are in none.
struct XmlName {
  std::string_view space;
  std::string_view local;
};

// What is told while a document is read. An error ends the reading.
class XmlHandler {
 public:
  virtual ~XmlHandler() = default;
  virtual Result<void> OnStart(const XmlName& name) = 0;
  // Text may come in pieces; between tags it is often spaces.
  virtual Result<void> OnText(std::string_view text) = 0;
  virtual Result<void> OnEnd(const XmlName& name) = 0;
};

// Reads a document of any length piece by piece, for answers that may be large; http/xml.h is for
// small ones. Keeps one tag in memory. Knows namespaces; attributes but xmlns are dropped. Takes
// UTF-8 without DOCTYPE only.
//
// Errors: kCorruption (not well-formed, too deep, a tag too long), and those of the handler.
class XmlReader {
 public:
  // Borrows the handler.
  explicit XmlReader(XmlHandler& handler) : handler_(handler) {}

  Result<void> Feed(std::string_view piece);
  // The document has ended: kCorruption if it is not whole.
  Result<void> Finish();

 private:
  struct Binding {
    std::string prefix;
    std::string space;
    std::size_t depth = 0;  // Of the element that says so.
  };
  // How many bytes of `text` were used up; 0 if it takes more of them.
  Result<std::size_t> TakeToken(std::string_view text);
  Result<std::size_t> TakeText(std::string_view text);
  Result<std::size_t> TakeMarkup(std::string_view text);
  Result<void> TakeTag(std::string_view tag);
  Result<void> TakeAttributes(std::string_view text);
  Result<void> Start(std::string_view qualified);
  Result<void> End(std::string_view qualified);
  Result<XmlName> NameOf(std::string_view qualified) const;
  Result<void> Text(std::string_view text);

  XmlHandler& handler_;
  std::string rest_;  // Of the pieces so far, what is no whole token.
  bool begun_ = false;
  bool had_root_ = false;
  std::vector<std::string> open_;  // Qualified names.
  std::vector<Binding> bindings_;
};

inline constexpr std::size_t kMaxXmlDepth = 32;
inline constexpr std::size_t kMaxXmlTokenBytes = 64 * 1024;

}  // namespace litestream::http
