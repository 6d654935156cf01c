// What Google says to the gs backend, and what lies in its files of credentials: the first byte
// says what the rest is. Nothing of it breaks a line of the log, or is taken for more than it is.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backend/gs/credentials.h"
#include "backend/gs/gs_error.h"
#include "backend/gs/jwt.h"
#include "backend/gs/object.h"
#include "backend/gs/summed_source.h"
#include "backend/gs/upload.h"
#include "fuzz/require.h"
#include "http/curl_error.h"
#include "http/headers.h"
#include "http/json.h"

namespace litestream {
namespace {

constexpr WallTime kNow{std::chrono::milliseconds(1'767'323'045'679)};

void RequireOneLine(std::string_view text) {
  Require(std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r' || c == '\0'; }));
}

http::Headers TakeHeaders(std::string_view& text) {
  http::Headers headers;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    http::Header header;
    if (line.empty()) break;
    if (http::ParseHeader(line, header)) headers.push_back(header);
  }
  return headers;
}

void TestAnswer(std::string_view text) {
  constexpr int kStatuses[] = {301, 308, 400, 401, 403, 404, 409,
                               410, 412, 416, 429, 500, 501, 503};
  http::Response response;
  response.status = kStatuses[text.empty() ? 0 : static_cast<unsigned char>(text[0]) % 14];
  response.body = text;
  const gs::ServerError error = gs::ParseServerError(response);
  const Error said = gs::Describe(error, "gs: GET bucket/key");
  RequireOneLine(said.message());
  Require(said.message().size() < 5 * http::kMaxShownBytes);
  Require(said.code() != ErrorCode::kInternal && said.code() != ErrorCode::kCancelled);
}

void TestList(std::string_view text) {
  const auto page = gs::ParseListPage(text);
  if (!page.ok()) return RequireOneLine(page.error().message());
  for (const gs::Object& object : page.value().objects) Require(!object.name.empty());
  // Cut off anywhere it is no shorter list.
  const std::size_t last = text.find_last_not_of(" \t\r\n");
  Require(!gs::ParseListPage(text.substr(0, last)).ok());
}

void TestObject(std::string_view text) {
  const auto object = gs::ParseObject(text);
  if (!object.ok()) RequireOneLine(object.error().message());
}

void TestTokens(std::string_view text) {
  for (const auto& token : {gs::ParseToken(text, kNow), gs::ParseImpersonatedToken(text)}) {
    if (!token.ok()) {
      RequireOneLine(token.error().message());
      continue;
    }
    Require(!token.value().secret.access_token.empty());
  }
  const auto token = gs::ParseToken(text, kNow);
  if (!token.ok() || !token.value().expires_at) return;
  Require(*token.value().expires_at >= kNow);
  Require(*token.value().expires_at <= kNow + std::chrono::hours(24));
}

void TestHeaders(std::string_view text) {
  const http::Headers headers = TakeHeaders(text);
  for (const int status : {200, 206, 416}) {
    const auto sum = gs::SumOfAnswer(status, headers);
    Require(!sum || (status < 300 && !sum->crc32c.empty()));
  }
  const auto persisted = gs::ParsePersisted(http::HeaderValue(headers, "range"));
  if (!persisted.ok()) RequireOneLine(persisted.error().message());
}

void TestBoundary(std::string_view text) {
  const std::string boundary = gs::Boundary(text);
  Require(text.find(boundary) == std::string_view::npos);
  Require(boundary.size() <= 70);  // RFC 2046, 5.1.1
}

// A tree in which text comes back as it went in.
void TestJson(std::string_view text) {
  const auto parsed = http::ParseJson(http::JsonString(text));
  Require(parsed.ok() && parsed.value().kind == http::JsonValue::Kind::kString);
  const std::string once = parsed.value().text;
  Require(http::ParseJson(http::JsonString(once)).value().text == once);
  const auto tree = http::ParseJson(text);
  if (!tree.ok()) return;
  Require(tree.value().names.empty() || tree.value().names.size() == tree.value().children.size());
}

void TestKey(std::string_view text) {
  const auto signed_claims = gs::SignJwt(text, "{}", "{}");
  if (!signed_claims.ok()) RequireOneLine(signed_claims.error().message());
}

void Test(std::string_view text) {
  if (text.empty()) return;
  const char kind = text.front();
  text.remove_prefix(1);
  constexpr void (*kTests[])(std::string_view) = {TestAnswer,  TestList,     TestObject, TestTokens,
                                                  TestHeaders, TestBoundary, TestJson,   TestKey};
  kTests[static_cast<unsigned char>(kind) % std::size(kTests)](text);
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
