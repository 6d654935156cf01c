// Any bytes as a request to the metrics address, as they come in: a head that is not answered yet
// stays within its bound, what is accepted is a clean path, and more bytes change no answer.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/require.h"
#include "server/http_request.h"

namespace litestream {
namespace {

constexpr std::size_t kLimitBytes = 512;

void Test(std::string_view received) {
  const auto whole = ParseHttpRequest(received, kLimitBytes);
  if (!whole) {
    Require(received.size() < kLimitBytes + 4);  // Its end may be under way.
    return;
  }
  const int status = whole->status;
  Require(status == 200 || status == 400 || status == 405 || status == 431 || status == 505);
  if (status == 200) {
    Require(whole->path.starts_with('/'));
    Require(whole->path.find_first_of(" ?\r\n") == std::string::npos);
  }
  Require(!FormatHttpHead(status, "text/plain", /*chunked=*/true).empty());
  // What was answered for the front is the answer.
  for (std::size_t size = 0; size < received.size(); ++size) {
    const auto front = ParseHttpRequest(received.substr(0, size), kLimitBytes);
    if (!front) continue;
    Require(front->status == status && front->path == whole->path);
    return;
  }
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
