// Any text as a name or a time: what is accepted comes back from its own text form.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "format/names.h"
#include "fuzz/require.h"

namespace litestream {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

void TestNumbers(std::string_view text) {
  const auto value = ParseHex64(text);
  const auto txid = ParseTxid(text);
  Require(value.ok() == txid.ok());
  if (value.ok()) {
    Require(txid.value().value == value.value());
    Require(FormatHex64(value.value()) == Lower(text));
  }
  const auto range = ParseLtxFilename(text);
  if (range.has_value()) Require(FormatLtxFilename(*range) == text);
}

void TestTimes(std::string_view text) {
  const auto time = ParseTimestamp(text);
  if (!time.ok()) {
    Require(time.error().code() == ErrorCode::kInvalidArgument);
    return;
  }
  const std::string millis = FormatTimestampMillis(time.value());
  // An offset can lead out of the years that have four digits.
  if (millis.size() != 24) return;
  for (const std::string& form : {millis, FormatTimestamp(time.value())}) {
    const auto again = ParseTimestamp(form);
    Require(again.ok() && again.value() == time.value());
  }
  const auto seconds = ParseTimestamp(FormatTimestampSeconds(time.value()));
  Require(seconds.ok() && seconds.value() <= time.value());
  Require(time.value() - seconds.value() < std::chrono::seconds(1));
}

// Any 64 bits as a time.
void TestAllTimes(std::string_view bytes) {
  std::int64_t ms = 0;
  if (bytes.size() != sizeof ms) return;
  std::memcpy(&ms, bytes.data(), sizeof ms);
  const WallTime time{std::chrono::milliseconds(ms)};
  const std::string text = FormatTimestampMillis(time);
  const auto parsed = ParseTimestamp(text);
  Require(parsed.ok() == (text.size() == 24));
  if (parsed.ok()) Require(parsed.value() == time);
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  litestream::TestNumbers(text);
  litestream::TestTimes(text);
  litestream::TestAllTimes(text);
  return 0;
}
