#include "http/json.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace litestream::http {
namespace {

// Builds the value while nlohmann reads the text. No member throws; false ends the reading.
class Builder {
 public:
  using Json = nlohmann::json;

  bool null() { return Add(JsonValue::Kind::kNull, ""); }
  bool boolean(bool value) { return Add(JsonValue::Kind::kBool, value ? "true" : "false"); }
  bool number_integer(Json::number_integer_t value) {
    return Add(JsonValue::Kind::kNumber, std::to_string(value));
  }
  bool number_unsigned(Json::number_unsigned_t value) {
    return Add(JsonValue::Kind::kNumber, std::to_string(value));
  }
  bool number_float(Json::number_float_t, const Json::string_t& written) {
    return Add(JsonValue::Kind::kNumber, written);
  }
  bool string(Json::string_t& value) { return Add(JsonValue::Kind::kString, std::move(value)); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(std::size_t) { return Open(JsonValue::Kind::kObject); }
  bool start_array(std::size_t) { return Open(JsonValue::Kind::kArray); }
  bool key(Json::string_t& name) {
    open_.back().names.push_back(std::move(name));
    return true;
  }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) { return false; }

  JsonValue& root() { return root_; }

 private:
  bool Add(JsonValue::Kind kind, std::string text) {
    return Put(JsonValue{.kind = kind, .text = std::move(text), .names = {}, .children = {}});
  }
  bool Put(JsonValue value) {
    (open_.empty() ? root_ : open_.back().children.emplace_back()) = std::move(value);
    return true;
  }
  bool Open(JsonValue::Kind kind) {
    if (open_.size() == kMaxJsonDepth) return false;
    open_.push_back(JsonValue{.kind = kind, .text = {}, .names = {}, .children = {}});
    return true;
  }
  bool Close() {
    JsonValue value = std::move(open_.back());
    open_.pop_back();
    return Put(std::move(value));
  }

  std::vector<JsonValue> open_;  // From the outside to the inside.
  JsonValue root_;
};

}  // namespace

const JsonValue* JsonValue::Find(std::string_view name) const {
  const auto found = std::ranges::find(names, name);
  return found == names.end() ? nullptr
                              : &children[static_cast<std::size_t>(found - names.begin())];
}

std::string JsonValue::TextOf(std::string_view name) const {
  const JsonValue* const value = Find(name);
  return value == nullptr ? "" : value->text;
}

Result<JsonValue> ParseJson(std::string_view text) {
  Builder builder;
  if (!nlohmann::json::sax_parse(text, &builder)) {
    return Error(ErrorCode::kCorruption, "not JSON");
  }
  return std::move(builder.root());
}

std::string JsonString(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace litestream::http
