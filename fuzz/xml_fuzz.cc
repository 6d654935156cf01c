// Any bytes as an XML answer of a server: bounded, and what EscapeXml writes is read as it was.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/require.h"
#include "http/xml.h"

namespace litestream {
namespace {

constexpr int kDeepest = 33;

int Depth(const http::XmlElement& element) {
  int deepest = 0;
  for (const http::XmlElement& child : element.children) deepest = std::max(deepest, Depth(child));
  return deepest + 1;
}

void Test(std::string_view text) {
  const auto parsed = http::ParseXml(text);
  if (parsed.ok()) {
    Require(Depth(parsed.value()) <= kDeepest);
  } else {
    Require(parsed.error().Is(ErrorCode::kCorruption));
  }
  // XML has no way to write other control characters; line ends may be changed.
  std::string plain;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= ' ' || c == '\t') plain += c;
  }
  const std::string document = "<a><b>" + http::EscapeXml(plain) + "</b></a>";
  const auto again = http::ParseXml(document);
  Require(again.ok() && again.value().TextOf("b") == plain);
  // Cut off anywhere it is no document.
  const std::size_t cut = text.size() % document.size();
  Require(!http::ParseXml(std::string_view(document).substr(0, cut)).ok());
}

}  // namespace
}  // namespace litestream

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
