// What Alibaba Cloud says to the OSS backend: the first byte says what the rest is. Nothing of it
// breaks a line of the log, and no sum is taken from what does not tell all of it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backend/oss/address.h"
#include "backend/oss/checked_body.h"
#include "backend/oss/oss_error.h"
#include "cloud/temporary_keys.h"
#include "fuzz/require.h"
#include "http/curl_error.h"
#include "http/headers.h"
#include "http/uri.h"

namespace litestream {
namespace {

void RequireOneLine(std::string_view text) {
  Require(std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r' || c == '\0'; }));
}

http::Response ToResponse(std::string_view text) {
  constexpr int kStatuses[] = {200, 206, 301, 400, 401, 403, 404, 409, 416, 500, 503};
  http::Response response;
  response.status = kStatuses[text.empty() ? 0 : static_cast<unsigned char>(text[0]) % 11];
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    http::Header header;
    if (line.empty()) break;
    if (http::ParseHeader(line, header)) response.headers.push_back(header);
  }
  response.body = text;
  return response;
}

void TestError(const http::Response& response) {
  const Error said = oss::Describe(oss::ParseServerError(response), "list", "bucket");
  RequireOneLine(said.message());
  Require(said.message().size() < 5 * http::kMaxShownBytes);
}

void TestSum(const http::Response& response) {
  const auto sum = oss::SumOfWhole(response.status, response.headers);
  Require(!sum || response.status == 200 || response.status == 206);
  Require(!sum || sum->size_bytes > 0);
}

void TestKeys(std::string_view text) {
  const auto keys = cloud::ParseJsonKeys(text, cloud::kAlibabaNames);
  if (!keys.ok()) return RequireOneLine(keys.error().message());
  Require(!keys.value().secret.access_key_id.empty());
  Require(!keys.value().secret.secret_access_key.empty());
}

void TestKey(std::string_view text) {
  Require(http::UnescapeForm(http::EscapeComponent(text)) == text);
  Require(http::UnescapeForm(text).size() <= text.size());
}

void TestRegion(std::string_view text) {
  const std::string region = oss::RegionOfHost(text);
  Require(region.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos);
}

void Test(std::string_view text) {
  if (text.empty()) return;
  const char kind = text.front();
  text.remove_prefix(1);
  switch (kind % 5) {
    case 0:
      return TestError(ToResponse(text));
    case 1:
      return TestSum(ToResponse(text));
    case 2:
      return TestKeys(text);
    case 3:
      return TestKey(text);
    default:
      return TestRegion(text);
  }
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
