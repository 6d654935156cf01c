#include "backend/gs/object.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/json.h"

namespace litestream::gs {
namespace {

Error Broken(std::string message) {
  return {ErrorCode::kUnavailable, std::move(message)};
}

bool ParseNumber(std::string_view text, std::uint64_t& out) {
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, out);
  return !text.empty() && parsed.ec == std::errc() && parsed.ptr == end;
}

Result<Object> ObjectOf(const http::JsonValue& json) {
  Object object{.name = json.TextOf("name"),
                .generation = json.TextOf("generation"),
                .crc32c = json.TextOf("crc32c"),
                .time_created = {},
                .created_at = {}};
  const http::JsonValue* const size = json.Find("size");
  // Google's emulator leaves out what is 0.
  if (object.name.empty() || (size != nullptr && !ParseNumber(size->text, object.size_bytes))) {
    return Broken(fmt::format("\"{}\" is no object with a size", http::Shown(object.name)));
  }
  const auto created = ParseTimestamp(json.TextOf("timeCreated"));
  if (created.ok()) object.time_created = created.value();
  object.created_at = object.time_created;
  if (const http::JsonValue* const metadata = json.Find("metadata")) {
    const auto time = ParseTimestamp(metadata->TextOf(kTimestampKey));
    if (time.ok()) object.created_at = time.value();
  }
  return object;
}

}  // namespace

Result<Object> ParseObject(std::string_view json) {
  const auto parsed = http::ParseJson(json);
  if (!parsed.ok()) return Broken("the answer is no object");
  return ObjectOf(parsed.value());
}

Result<ListPage> ParseListPage(std::string_view json) {
  const auto parsed = http::ParseJson(json);
  // An empty list has no "items"; nothing else tells it from another answer.
  if (!parsed.ok() || parsed.value().kind != http::JsonValue::Kind::kObject) {
    return Broken("the answer is no list");
  }
  ListPage page{.objects = {}, .next_page_token = parsed.value().TextOf("nextPageToken")};
  const http::JsonValue* const items = parsed.value().Find("items");
  if (items == nullptr) return page;
  page.objects.reserve(items->children.size());
  for (const http::JsonValue& item : items->children) {
    page.objects.push_back(LS_TRY(ObjectOf(item)));
  }
  return page;
}

Result<std::uint64_t> ParsePersisted(std::string_view range) {
  constexpr std::string_view kStart = "bytes=0-";
  std::uint64_t last = 0;
  if (range.empty()) return std::uint64_t{0};
  if (!range.starts_with(kStart) || !ParseNumber(range.substr(kStart.size()), last) ||
      last == ~std::uint64_t{0}) {
    return Broken(fmt::format("\"{}\" does not say how much is there", http::Shown(range)));
  }
  return last + 1;
}

std::string Crc32cOfHeader(std::string_view value) {
  constexpr std::string_view kName = "crc32c=";
  while (!value.empty()) {
    const std::size_t end = std::min(value.find(','), value.size());
    std::string_view part = value.substr(0, end);
    while (part.starts_with(' ')) part.remove_prefix(1);
    if (part.starts_with(kName)) return std::string(part.substr(kName.size()));
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return {};
}

}  // namespace litestream::gs
