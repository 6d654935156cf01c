#include "cli/json_out.h"

#include <utility>

#include <fmt/core.h>

#include "base/utf8.h"

namespace litestream::cli {
namespace {

std::string Escape(char c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '<':
    case '>':
    case '&':
      break;
    default:
      if (static_cast<unsigned char>(c) >= 0x20) return std::string(1, c);
  }
  return fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
}

std::string Quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const Utf8Character character = DecodeUtf8(text);
    if (!character.valid) {
      out += "\\ufffd";
    } else if (character.code < 0x80) {
      out += Escape(text.front());
    } else if (character.code == 0x2028 ||
               character.code == 0x2029) {  // Line breaks in JavaScript.
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(character.code));
    } else {
      out += text.substr(0, character.size_bytes);
    }
    text.remove_prefix(character.size_bytes);
  }
  return out + '"';
}

}  // namespace

void JsonWriter::NewLine() {
  out_ += '\n';
  out_.append(static_cast<std::size_t>(depth_) * 2, ' ');
}

void JsonWriter::BeforeValue() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (depth_ == 0) return;
  if (!first_) out_ += ',';
  NewLine();
  first_ = false;
}

JsonWriter& JsonWriter::Begin(char bracket) {
  BeforeValue();
  out_ += bracket;
  ++depth_;
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::End(char bracket) {
  --depth_;
  if (!first_) NewLine();
  out_ += bracket;
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view key) {
  BeforeValue();
  out_ += Quote(key);
  out_ += ": ";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::Value(std::string_view text) {
  return Raw(Quote(text));
}
JsonWriter& JsonWriter::Value(bool value) {
  return Raw(value ? "true" : "false");
}

JsonWriter& JsonWriter::Raw(std::string_view text) {
  BeforeValue();
  out_ += text;
  return *this;
}

std::string JsonWriter::Take() {
  return std::exchange(out_, {}) + "\n";
}

}  // namespace litestream::cli
