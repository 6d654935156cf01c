// What servers say to the WebDAV backend: the first byte says what the rest is. Nothing of it
// breaks a line of the log, gets a name with a slash for a file's, or goes out in a header unasked.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/webdav/authentication.h"
#include "backend/webdav/dav_error.h"
#include "backend/webdav/location.h"
#include "backend/webdav/multistatus.h"
#include "fuzz/require.h"
#include "http/curl_error.h"
#include "http/xml.h"
#include "http/xml_reader.h"

namespace litestream {
namespace {

void RequireOneLine(std::string_view text) {
  Require(std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r' || c == '\0'; }));
}

// Adds up what a document says.
class Adding final : public http::XmlHandler {
 public:
  Result<void> OnStart(const http::XmlName& name) override {
    Require(!name.local.empty());
    said.append("<").append(name.space).append("|").append(name.local);
    ++depth;
    Require(depth <= http::kMaxXmlDepth);
    return {};
  }
  Result<void> OnText(std::string_view text) override {
    Require(depth > 0);
    said += text;
    return {};
  }
  Result<void> OnEnd(const http::XmlName&) override {
    Require(depth-- > 0);
    said += ">";
    return {};
  }
  std::string said;
  std::size_t depth = 0;
};

bool Read(std::string_view text, std::size_t piece, std::string& said) {
  Adding adding;
  http::XmlReader reader(adding);
  for (std::size_t i = 0; i < text.size(); i += piece) {
    if (!reader.Feed(text.substr(i, piece)).ok()) return false;
  }
  if (!reader.Finish().ok()) return false;
  Require(adding.depth == 0);
  said = adding.said;
  return true;
}

// The same in whatever pieces it comes.
void TestXml(std::string_view text) {
  std::string whole;
  std::string pieces;
  const bool good = Read(text, std::max<std::size_t>(1, text.size()), whole);
  Require(Read(text, 3, pieces) == good);
  Require(!good || whole == pieces);
}

void TestMultistatus(std::string_view text) {
  const auto read = webdav::ReadMultistatus(text, [](const webdav::Resource& resource) {
    const auto path = webdav::PathOfHref(resource.href);
    Require(!path || (path->starts_with('/') && path->find("//") == std::string::npos &&
                      path->find('\0') == std::string::npos));
    Require(resource.status == 0 || resource.status >= 100);
    return Result<void>();
  });
  Require(read.ok() || read.error().Is(ErrorCode::kUnavailable));
}

void TestChallenges(std::string_view text) {
  const auto challenges = webdav::ParseChallenges(text);
  Require(challenges.size() <= 16);
  for (const webdav::Challenge& challenge : challenges) {
    if (!webdav::IsUsableDigest(challenge)) continue;
    const std::string answer = webdav::AnswerDigest(challenge, {.username = "user",
                                                                .password = "top-secret",
                                                                .method = "PUT",
                                                                .uri = "/x",
                                                                .cnonce = "abc"});
    RequireOneLine(answer);
    Require(answer.find("top-secret") == std::string::npos ||
            text.find("top-secret") != std::string_view::npos);
  }
}

void TestError(std::string_view text) {
  constexpr int kStatuses[] = {301, 307, 400, 401, 403, 404, 405, 409, 412, 423, 500, 507};
  const char* const methods[] = {"GET", "PUT", "MOVE", "MKCOL", "PROPFIND", "DELETE"};
  http::Response response;
  const unsigned kind = text.empty() ? 0 : static_cast<unsigned char>(text[0]);
  response.status = kStatuses[kind % 12];
  if (kind % 2 == 0) response.headers.push_back({"Location", std::string(text)});
  response.body = text;
  const Error said = webdav::Describe(methods[kind % 6], "webdav: x", response, kind % 3 == 0);
  RequireOneLine(said.message());
  Require(said.message().size() < 5 * http::kMaxShownBytes + http::kMaxHeaderBytes);
}

void Test(std::string_view text) {
  if (text.empty()) return;
  const char kind = text.front();
  text.remove_prefix(1);
  switch (kind % 4) {
    case 0:
      return TestXml(text);
    case 1:
      return TestMultistatus(text);
    case 2:
      return TestChallenges(text);
    default:
      return TestError(text);
  }
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
