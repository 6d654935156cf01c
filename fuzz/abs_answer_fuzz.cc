// What Azure and services that give out tokens say, and what people paste from its portal: the
// first byte says what the rest is. Nothing of it breaks a line of the log, and no secret gets
// there.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backend/abs/abs_error.h"
#include "backend/abs/address.h"
#include "backend/abs/list_page.h"
#include "backend/abs/tokens.h"
#include "fuzz/answer.h"
#include "fuzz/require.h"
#include "http/curl_error.h"

namespace litestream {
namespace {

constexpr WallTime kNow{std::chrono::milliseconds(1'767'323'045'679)};
constexpr std::string_view kSecret = "top!secret";

void TestAnswer(std::string_view text) {
  const http::Response response = TakeResponse(text);
  const abs::ServerError error = abs::ParseServerError(response);
  for (const abs::Access access : {abs::Access::kKey, abs::Access::kSas, abs::Access::kToken}) {
    const Error said = abs::Describe(error, {.doing = "list",
                                             .account = "account",
                                             .access = access,
                                             .sas_token = "se=2026-01-01&sig=top!secret"});
    RequireOneLine(said.message());
    Require(said.message().size() < 5 * http::kMaxShownBytes);
    Require(said.message().find(kSecret) == std::string::npos ||
            text.find(kSecret) != std::string_view::npos);
  }
}

void TestListPage(std::string_view text) {
  const auto page = abs::ParseListPage(text);
  if (!page.ok()) return RequireOneLine(page.error().message());
  for (const abs::ListedBlob& blob : page.value().blobs) {
    Require(blob.modified_at >= WallTime());
  }
}

void TestToken(std::string_view text) {
  const auto token = abs::ParseToken(text, kNow);
  if (!token.ok()) return RequireOneLine(token.error().message());
  Require(!token.value().secret.empty());
  Require(token.value().secret.find('\n') == std::string::npos);
  Require(token.value().expires_at && *token.value().expires_at > WallTime());
}

void TestConnectionString(std::string_view text) {
  const auto parsed = abs::ParseConnectionString(text);
  if (!parsed.ok()) return RequireOneLine(parsed.error().message());
  Require(!parsed.value().endpoint.empty());
  Require(!parsed.value().account_key.empty() || !parsed.value().sas_token.empty());
  const auto address = abs::MakeAddress({.container = "c",
                                         .account_name = parsed.value().account_name,
                                         .endpoint = parsed.value().endpoint});
  if (!address.ok()) return;
  Require(address.value().origin.starts_with("http"));
  Require(address.value().container_path.ends_with("/c"));
}

void Test(std::string_view text) {
  if (text.empty()) return;
  const char kind = text.front();
  text.remove_prefix(1);
  switch (kind % 5) {
    case 0:
      return TestAnswer(text);
    case 1:
      return TestListPage(text);
    case 2:
      return TestToken(text);
    case 3:
      return TestConnectionString(text);
    default:
      (void)abs::TimesOfSas(text);
  }
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
