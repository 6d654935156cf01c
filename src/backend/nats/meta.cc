#include "backend/nats/meta.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "format/names.h"
#include "http/digest.h"

namespace litestream::nats {
namespace {

using nlohmann::json;

constexpr std::string_view kTimestampHeader = "Litestream-Timestamp";
constexpr std::string_view kChunksHeader = "Litestream-Chunks";

Error Broken(std::string_view what) {
  return {ErrorCode::kUnavailable, fmt::format("nats: the server's answer is no {}", what)};
}

// Null if it is no object.
json ParseObject(std::string_view text) {
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_object() ? parsed : json();
}

std::string Text(const json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<std::uint64_t> Number(const json& object, std::string_view key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

bool Flag(const json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// The first value of a header; names are compared as they are, as all clients write them.
std::string Header(const json& object, std::string_view name) {
  const auto headers = object.find("headers");
  if (headers == object.end() || !headers->is_object()) return {};
  const auto values = headers->find(name);
  if (values == headers->end() || !values->is_array() || values->empty()) return {};
  const json& first = values->front();
  return first.is_string() ? first.get<std::string>() : "";
}

std::optional<WallTime> Time(std::string_view text) {
  const auto time = ParseTimestamp(text);
  return time.ok() ? std::optional(time.value()) : std::nullopt;
}

// Takes a number and the character behind it off the front; `end` 0: the text ends there.
bool TakeNumber(std::string_view& text, char end, std::uint64_t& out) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  if (end == 0) return text.empty();
  if (text.empty() || text.front() != end) return false;
  text.remove_prefix(1);
  return true;
}

std::string FormatRuns(const ObjectMeta& meta) {
  std::string text = std::to_string(meta.chunk_bytes);
  for (const ChunkRun& run : meta.runs) {
    text += fmt::format(" {}:{}+{}", run.index, run.sequence, run.count);
  }
  return text;
}

bool ParseRun(std::string_view word, ChunkRun& run) {
  return TakeNumber(word, ':', run.index) && TakeNumber(word, '+', run.sequence) &&
         TakeNumber(word, 0, run.count);
}

// Into `meta`, whose other fields are known; false if it does not fit to them.
bool ParseRuns(std::string_view text, ObjectMeta& meta) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return false;
  std::string_view size = text.substr(0, space);
  std::uint64_t chunk_bytes = 0;
  if (!TakeNumber(size, 0, chunk_bytes) || chunk_bytes == 0) return false;
  if (meta.size_bytes == 0 || meta.chunks != (meta.size_bytes - 1) / chunk_bytes + 1) return false;
  std::vector<ChunkRun> runs;
  std::uint64_t next_index = 0;
  std::uint64_t next_sequence = 1;
  for (std::string_view rest = text.substr(space + 1); !rest.empty();) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    ChunkRun run;
    if (!ParseRun(word, run) || run.count == 0 || run.count > meta.chunks) return false;
    if (run.index < next_index || run.sequence < next_sequence) return false;
    if (run.index > meta.chunks - run.count || run.sequence > UINT64_MAX - run.count) return false;
    next_index = run.index + run.count;
    next_sequence = run.sequence + run.count;
    runs.push_back(run);
  }
  if (runs.empty() || runs.front().index != 0 || runs.size() > kMaxRuns) return false;
  meta.chunk_bytes = chunk_bytes;
  meta.runs = std::move(runs);
  return true;
}

}  // namespace

std::string Base64Url(std::string_view bytes) {
  std::string text = http::Base64(bytes);
  std::ranges::replace(text, '+', '-');
  std::ranges::replace(text, '/', '_');
  return text;
}

std::optional<std::string> FromBase64Url(std::string_view text) {
  if (text.find_first_of("+/") != std::string_view::npos) return std::nullopt;
  std::string standard(text);
  std::ranges::replace(standard, '-', '+');
  std::ranges::replace(standard, '_', '/');
  return http::FromBase64(standard);
}

void ThinOut(std::vector<ChunkRun>& runs) {
  while (runs.size() > kMaxRuns) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < runs.size(); i += 2) runs[kept++] = runs[i];
    runs.resize(kept);
  }
}

std::string FormatMeta(const ObjectMeta& meta, std::string_view bucket) {
  json object;
  object["name"] = meta.name;
  object["bucket"] = bucket;
  object["nuid"] = meta.nuid;
  object["size"] = meta.size_bytes;
  object["chunks"] = meta.chunks;
  // Go's zero time. Nobody reads it: the time of the message counts.
  object["mtime"] = "0001-01-01T00:00:00Z";
  object["options"] = {{"max_chunk_size", kChunkBytes}};
  json headers = json::object();
  if (meta.created_at) headers[kTimestampHeader] = {FormatTimestamp(*meta.created_at)};
  if (!meta.runs.empty()) headers[kChunksHeader] = {FormatRuns(meta)};
  if (!headers.empty()) object["headers"] = std::move(headers);
  if (!meta.digest.empty()) object["digest"] = meta.digest;
  if (meta.deleted) object["deleted"] = true;
  // Names come from configurations, which may hold anything.
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<ObjectMeta> ParseMeta(std::string_view text) {
  const json object = ParseObject(text);
  ObjectMeta meta{.name = Text(object, "name"),
                  .nuid = Text(object, "nuid"),
                  .digest = Text(object, "digest"),
                  .deleted = Flag(object, "deleted")};
  const auto size = Number(object, "size");
  const auto chunks = Number(object, "chunks");
  // A marker of deletion needs no numbers.
  const bool complete = size && chunks && (*size > 0) == (*chunks > 0) && *chunks <= *size;
  // The nuid becomes part of a subject.
  const bool bad_nuid = meta.nuid.find_first_of(" \t\r\n.*>") != std::string::npos ||
                        (!meta.deleted && meta.nuid.empty());
  if (meta.name.empty() || bad_nuid || (!meta.deleted && !complete)) {
    return Error(ErrorCode::kCorruption, "nats: the description of an object is malformed");
  }
  meta.size_bytes = size.value_or(0);
  meta.chunks = chunks.value_or(0);
  meta.created_at = Time(Header(object, kTimestampHeader));
  ParseRuns(Header(object, kChunksHeader), meta);
  return meta;
}

std::optional<ApiError> ParseApiError(std::string_view text) {
  const json object = ParseObject(text);
  const auto error = object.find("error");
  if (error == object.end() || !error->is_object()) return std::nullopt;
  const auto number = [&error](std::string_view key) {
    return static_cast<int>(std::min<std::uint64_t>(Number(*error, key).value_or(0), 99'999));
  };
  return ApiError{.code = number("code"),
                  .err_code = number("err_code"),
                  .description = Text(*error, "description")};
}

Result<PublishAck> ParsePublishAck(std::string_view text) {
  const json object = ParseObject(text);
  const auto sequence = Number(object, "seq");
  if (!sequence || *sequence == 0 || Text(object, "stream").empty()) {
    return Broken("acknowledgement");
  }
  return PublishAck{.sequence = *sequence, .duplicate = Flag(object, "duplicate")};
}

Result<StoredMessage> ParseStoredMessage(std::string_view text) {
  const json object = ParseObject(text);
  const auto found = object.find("message");
  if (found == object.end() || !found->is_object()) return Broken("message");
  const auto sequence = Number(*found, "seq");
  auto data = http::FromBase64(Text(*found, "data"));
  if (!sequence || *sequence == 0 || !data) return Broken("message");
  return StoredMessage{.subject = Text(*found, "subject"),
                       .sequence = *sequence,
                       .data = std::move(*data),
                       .stored_at = Time(Text(*found, "time")).value_or(WallTime())};
}

Result<SubjectPage> ParseSubjectPage(std::string_view text) {
  const json object = ParseObject(text);
  const auto state = object.find("state");
  if (state == object.end() || !state->is_object()) return Broken("list of subjects");
  SubjectPage page{.total = Number(object, "total").value_or(0)};
  const auto config = object.find("config");
  page.direct = config != object.end() && config->is_object() && Flag(*config, "allow_direct");
  const auto subjects = state->find("subjects");
  if (subjects == state->end() || subjects->is_null()) return page;
  if (!subjects->is_object()) return Broken("list of subjects");
  for (const auto& [subject, count] : subjects->items()) {
    if (!count.is_number_unsigned()) return Broken("list of subjects");
    page.subjects.emplace(subject, count.get<std::uint64_t>());
  }
  page.total = std::max<std::uint64_t>(page.total, page.subjects.size());
  return page;
}

}  // namespace litestream::nats
