// What servers say to the S3 backend, and what lies in AWS's files: the first byte says what the
// rest is. Nothing that a server says breaks a line of the log, or makes us wait for ever.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backend/s3/credentials.h"
#include "backend/s3/s3_error.h"
#include "fuzz/answer.h"
#include "fuzz/require.h"
#include "http/curl_error.h"
#include "http/date.h"
#include "http/headers.h"
#include "http/uri.h"

namespace litestream {
namespace {

constexpr WallTime kNow{std::chrono::milliseconds(1'767'323'045'679)};

void TestAnswer(std::string_view text) {
  const http::Response response = TakeResponse(text);
  const s3::ServerError error = s3::ParseServerError(response);
  const Error said = s3::Describe(error, "list", "bucket");
  RequireOneLine(said.message());
  Require(said.message().size() < 5 * http::kMaxShownBytes);
  const auto wait = http::RetryAfter(response.headers, kNow);
  Require(wait.count() >= 0 && wait <= std::chrono::hours(24));
}

void TestCredentials(const Result<s3::Credentials>& found) {
  if (!found.ok()) return RequireOneLine(found.error().message());
  Require(!found.value().secret.access_key_id.empty());
  Require(!found.value().secret.secret_access_key.empty());
}

void TestIni(std::string_view text) {
  const std::string section(TakeLine(text));
  for (const auto& [name, value] : s3::IniSection(text, section)) {
    Require(http::LowerCase(name) == name);
    // Other control characters are refused by who makes a header of it (http/transfer.cc).
    Require(value.find('\n') == std::string::npos);
  }
}

void TestUrl(std::string_view text) {
  http::SplitUrl url;
  if (!http::ParseUrl(text, url)) return;
  Require(url.scheme == "http" || url.scheme == "https");
  Require(!url.host.empty());
  Require(url.path.empty() || url.path.front() == '/');
  Require(http::HostHeader(url).find('@') == std::string::npos);
}

void Test(std::string_view text) {
  if (text.empty()) return;
  const char kind = text.front();
  text.remove_prefix(1);
  switch (kind % 6) {
    case 0:
      return TestAnswer(text);
    case 1:
      return TestCredentials(cloud::ParseJsonKeys(text, cloud::kAwsNames));
    case 2:
      return TestCredentials(s3::ParseStsCredentials(text));
    case 3:
      return TestIni(text);
    case 4:
      return TestUrl(text);
    default:
      Require(http::ParseDate(text) >= WallTime());
  }
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
