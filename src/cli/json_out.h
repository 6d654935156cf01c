#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace litestream::cli {

// Writes JSON as Go's encoder with an indent of two blanks: keys in the order given, "<", ">" and
// "&" escaped, bytes that are not UTF-8 replaced. The caller keeps objects and arrays balanced.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Begin('{'); }
  JsonWriter& EndObject() { return End('}'); }
  JsonWriter& BeginArray() { return Begin('['); }
  JsonWriter& EndArray() { return End(']'); }
  JsonWriter& Key(std::string_view key);

  JsonWriter& Value(std::string_view text);
  JsonWriter& Value(const char* text) { return Value(std::string_view(text)); }
  JsonWriter& Value(bool value);
  template <std::integral T>
  requires(!std::same_as<T, bool>) JsonWriter& Value(T value) { return Raw(std::to_string(value)); }
  template <typename T>
  JsonWriter& Field(std::string_view key, const T& value) {
    return Key(key).Value(value);
  }

  // The text, with a newline at the end.
  std::string Take();

 private:
  JsonWriter& Begin(char bracket);
  JsonWriter& End(char bracket);
  JsonWriter& Raw(std::string_view text);
  void BeforeValue();
  void NewLine();

  std::string out_;
  int depth_ = 0;
  bool first_ = true;  // Nothing stands in the current object or array yet.
  bool after_key_ = false;
};

}  // namespace litestream::cli
