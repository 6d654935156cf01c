// Any text as a replica's URL: what is accepted has a clean path, one that cannot climb.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/require.h"
#include "storage/url.h"

namespace litestream {
namespace {

void RequireClean(std::string_view path) {
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    Require(!part.empty() && part != "." && part != "..");
    if (slash == std::string_view::npos) return;
    path.remove_prefix(slash + 1);
    Require(!path.empty());
  }
}

void Test(std::string_view text) {
  const auto url = ParseReplicaUrl(text);
  if (!url.ok()) {
    Require(url.error().code() == ErrorCode::kInvalidArgument);
    return;
  }
  Require(IsReplicaUrl(text));
  Require(!url.value().scheme.empty());
  std::string_view path = url.value().path;
  if (url.value().scheme == "file") {
    if (path == "." || path == "/") return;
    Require(path.starts_with('/'));
    path.remove_prefix(1);
  }
  RequireClean(path);
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
