// What NATS servers say to the backend: the first byte says what the rest is. What is read of an
// object fits together, and nothing that a server says breaks a line of the log.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backend/nats/meta.h"
#include "backend/nats/nats_error.h"
#include "backend/nats/nkey.h"
#include "fuzz/require.h"
#include "http/curl_error.h"

namespace litestream::nats {
namespace {

void RequireOneLine(std::string_view text) {
  Require(std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r' || c == '\0'; }));
}

void TestMeta(std::string_view text) {
  const auto parsed = ParseMeta(text);
  if (!parsed.ok()) return RequireOneLine(parsed.error().message());
  const ObjectMeta& meta = parsed.value();
  Require(!meta.name.empty());
  Require(meta.nuid.find_first_of(" \t\r\n.*>") == std::string::npos);
  if (!meta.deleted) Require(meta.chunks <= meta.size_bytes && !meta.nuid.empty());
  Require(meta.runs.empty() == (meta.chunk_bytes == 0));
  std::uint64_t index = 0;
  std::uint64_t sequence = 1;
  for (const ChunkRun& run : meta.runs) {
    Require(run.index >= index && run.sequence >= sequence && run.count > 0);
    index = run.index + run.count;
    sequence = run.sequence + run.count;
    Require(index <= meta.chunks && sequence > run.sequence);
  }
  Require(meta.runs.empty() || meta.runs.front().index == 0);
  // What we would write of it reads the same.
  const auto again = ParseMeta(FormatMeta(meta, "bucket"));
  Require(again.ok() && again.value().name == meta.name && again.value().runs == meta.runs &&
          again.value().created_at == meta.created_at);
}

void TestAnswers(std::string_view text) {
  if (const auto error = ParseApiError(text)) {
    const Error said = Describe(*error, "list", "bucket");
    RequireOneLine(said.message());
    Require(said.message().size() < 3 * http::kMaxShownBytes);
  }
  const auto ack = ParsePublishAck(text);
  if (ack.ok()) Require(ack.value().sequence > 0);
  const auto message = ParseStoredMessage(text);
  if (message.ok()) Require(message.value().sequence > 0);
  const auto page = ParseSubjectPage(text);
  if (page.ok()) Require(page.value().total >= page.value().subjects.size());
}

void TestNames(std::string_view text) {
  Require(FromBase64Url(Base64Url(text)) == text);
  if (const auto name = FromBase64Url(text)) {
    // There may be several spellings; only the one that we write is taken for it.
    Require(FromBase64Url(Base64Url(*name)) == *name);
  }
  const auto key = PublicNkey(text);
  if (key.ok()) Require(key.value().size() == 56 && key.value().front() == 'U');
}

}  // namespace
}  // namespace litestream::nats

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      litestream::nats::TestMeta(text);
      break;
    case 1:
      litestream::nats::TestAnswers(text);
      break;
    default:
      litestream::nats::TestNames(text);
  }
  return 0;
}
