#include "http/xml_reader.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"

namespace litestream::http {
namespace {

constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::string_view kXmlSpace = "http://www.w3.org/XML/1998/namespace";
constexpr std::size_t kMaxReferenceBytes = 12;  // "&#x0010FFFF;"

Error NotXml(std::string_view why) {
  return {ErrorCode::kCorruption, fmt::format("not XML: {}", why)};
}

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(kSpaces) == std::string_view::npos;
}

// Of control characters XML has only spaces.
bool IsForbidden(char c) {
  return c >= 0 && c < ' ' && kSpaces.find(c) == std::string_view::npos;
}

std::string_view Trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

bool IsName(std::string_view text) {
  return !text.empty() && std::ranges::none_of(text, [](char c) {
    return static_cast<unsigned char>(c) <= ' ' ||
           std::string_view("<>&'\"=/").find(c) != std::string_view::npos;
  });
}

void AppendUtf8(std::uint32_t code, std::string& out) {
  const auto add = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xC0 | code >> 6);
    add(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    add(0xE0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3F));
    add(0x80 | (code & 0x3F));
  } else {
    add(0xF0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3F));
    add(0x80 | (code >> 6 & 0x3F));
    add(0x80 | (code & 0x3F));
  }
}

// "amp", "#38", "#x26". False if it is none.
bool AppendReference(std::string_view name, std::string& out) {
  constexpr std::pair<std::string_view, char> kNamed[] = {
      {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
  for (const auto& [known, c] : kNamed) {
    if (name != known) continue;
    out += c;
    return true;
  }
  if (!name.starts_with('#')) return false;
  const bool hex = name.starts_with("#x");
  const std::string_view digits = name.substr(hex ? 2 : 1);
  std::uint32_t code = 0;
  const char* const end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, code, hex ? 16 : 10);
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (parsed.ec != std::errc() || parsed.ptr != end || code > 0x10FFFF || surrogate ||
      (code < 0x80 && IsForbidden(static_cast<char>(code)))) {
    return false;
  }
  AppendUtf8(code, out);
  return true;
}

// With its references replaced.
Result<std::string> Expanded(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t plain = std::min(text.find('&'), text.size());
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const std::size_t end = text.substr(0, kMaxReferenceBytes).find(';');
    if (end == std::string_view::npos || !AppendReference(text.substr(1, end - 1), out)) {
      return NotXml("a reference to nothing");
    }
    text.remove_prefix(end + 1);
  }
  return out;
}

// Of a tag: its ">" that is in no quotes.
std::optional<std::size_t> TagEnd(std::string_view text) {
  char quote = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (quote != 0) {
      if (text[i] == quote) quote = 0;
    } else if (text[i] == '"' || text[i] == '\'') {
      quote = text[i];
    } else if (text[i] == '>') {
      return i;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<void> XmlReader::Feed(std::string_view piece) {
  if (std::ranges::any_of(piece, IsForbidden)) return NotXml("a control character");
  rest_ += piece;
  if (!begun_) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (rest_.size() < kByteOrderMark.size()) return {};
    begun_ = true;
    if (rest_.starts_with(kByteOrderMark)) rest_.erase(0, kByteOrderMark.size());
  }
  std::size_t done = 0;
  for (;;) {
    const std::size_t used = LS_TRY(TakeToken(std::string_view(rest_).substr(done)));
    if (used == 0) break;
    done += used;
  }
  rest_.erase(0, done);
  if (rest_.size() > kMaxXmlTokenBytes) return NotXml("a tag that is too long");
  return {};
}

Result<void> XmlReader::Finish() {
  if (!had_root_ || !open_.empty() || !IsBlank(rest_)) return NotXml("it ends too early");
  return {};
}

Result<std::size_t> XmlReader::TakeToken(std::string_view text) {
  if (text.empty()) return std::size_t{0};
  return text.front() == '<' ? TakeMarkup(text) : TakeText(text);
}

Result<std::size_t> XmlReader::TakeText(std::string_view text) {
  std::size_t end = std::min(text.find('<'), text.size());
  if (end == text.size()) {
    // A reference may go on in the next piece.
    const std::size_t reference = text.rfind('&');
    if (reference != std::string_view::npos && text.find(';', reference) == text.npos) {
      end = reference;
    }
  }
  if (end == 0) {
    if (text.size() < kMaxReferenceBytes) return std::size_t{0};
    return NotXml("a reference to nothing");
  }
  LS_TRY(Text(LS_TRY(Expanded(text.substr(0, end)))));
  return end;
}

Result<void> XmlReader::Text(std::string_view text) {
  if (!open_.empty()) return handler_.OnText(text);
  if (!IsBlank(text)) return NotXml("text outside of the document");
  return {};
}

Result<std::size_t> XmlReader::TakeMarkup(std::string_view text) {
  struct Section {
    std::string_view begin;
    std::string_view end;
  };
  constexpr std::string_view kCdata = "<![CDATA[";
  constexpr Section kSections[] = {{"<!--", "-->"}, {kCdata, "]]>"}, {"<?", "?>"}};
  for (const Section& section : kSections) {
    if (!text.starts_with(section.begin)) {
      if (section.begin.starts_with(text)) return std::size_t{0};
      continue;
    }
    const std::size_t end = text.find(section.end, section.begin.size());
    if (end == std::string_view::npos) return std::size_t{0};
    if (section.begin == kCdata) {
      if (open_.empty()) return NotXml("text outside of the document");
      LS_TRY(handler_.OnText(text.substr(kCdata.size(), end - kCdata.size())));
    }
    return end + section.end.size();
  }
  // With entities of its own a short document can become an endless one.
  if (text.starts_with("<!")) return NotXml("a document type is not taken");
  const auto end = TagEnd(text);
  if (!end) return std::size_t{0};
  if (*end > kMaxXmlTokenBytes) return NotXml("a tag that is too long");
  LS_TRY(TakeTag(text.substr(1, *end - 1)));
  return *end + 1;
}

// What is between "<" and ">".
Result<void> XmlReader::TakeTag(std::string_view tag) {
  if (tag.starts_with('/')) return End(Trimmed(tag.substr(1)));
  const bool empty = tag.ends_with('/');
  if (empty) tag.remove_suffix(1);
  const std::size_t name_end = std::min(tag.find_first_of(kSpaces), tag.size());
  const std::string_view name = tag.substr(0, name_end);
  if (!IsName(name)) return NotXml("a tag without a name");
  if (open_.empty() && had_root_) return NotXml("a second document behind the first");
  if (open_.size() == kMaxXmlDepth) return NotXml("too deep");
  had_root_ = true;
  open_.emplace_back(name);
  LS_TRY(TakeAttributes(tag.substr(name_end)));
  LS_TRY(Start(name));
  if (empty) LS_TRY(End(name));
  return {};
}

Result<void> XmlReader::TakeAttributes(std::string_view text) {
  for (text = Trimmed(text); !text.empty(); text = Trimmed(text)) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) return NotXml("an attribute without a value");
    const std::string_view name = Trimmed(text.substr(0, equals));
    if (!IsName(name)) return NotXml("an attribute without a name");
    text = Trimmed(text.substr(equals + 1));
    if (text.empty() || (text.front() != '"' && text.front() != '\'')) {
      return NotXml("the value of an attribute is not in quotes");
    }
    const std::size_t end = text.find(text.front(), 1);
    if (end == std::string_view::npos) return NotXml("the value of an attribute does not end");
    std::string value = LS_TRY(Expanded(text.substr(1, end - 1)));
    text.remove_prefix(end + 1);
    if (name == "xmlns") {
      bindings_.push_back({.prefix = "", .space = std::move(value), .depth = open_.size()});
    } else if (name.starts_with("xmlns:")) {
      bindings_.push_back({.prefix = std::string(name.substr(6)),
                           .space = std::move(value),
                           .depth = open_.size()});
    }
  }
  return {};
}

Result<XmlName> XmlReader::NameOf(std::string_view qualified) const {
  const std::size_t colon = qualified.find(':');
  const std::string_view prefix =
      colon == std::string_view::npos ? std::string_view() : qualified.substr(0, colon);
  const std::string_view local =
      colon == std::string_view::npos ? qualified : qualified.substr(colon + 1);
  if (local.empty()) return NotXml("a tag without a name");
  if (prefix == "xml") return XmlName{.space = kXmlSpace, .local = local};
  const auto found = std::find_if(bindings_.rbegin(), bindings_.rend(),
                                  [&](const Binding& b) { return b.prefix == prefix; });
  if (found != bindings_.rend()) return XmlName{.space = found->space, .local = local};
  if (!prefix.empty()) return NotXml("a prefix that stands for no namespace");
  return XmlName{.space = {}, .local = local};
}

Result<void> XmlReader::Start(std::string_view qualified) {
  return handler_.OnStart(LS_TRY(NameOf(qualified)));
}

Result<void> XmlReader::End(std::string_view qualified) {
  if (open_.empty() || open_.back() != qualified) return NotXml("tags that do not match");
  LS_TRY(handler_.OnEnd(LS_TRY(NameOf(qualified))));
  while (!bindings_.empty() && bindings_.back().depth == open_.size()) bindings_.pop_back();
  open_.pop_back();
  return {};
}

}  // namespace litestream::http
