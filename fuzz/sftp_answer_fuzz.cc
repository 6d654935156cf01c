// What servers say to the SFTP backend: the first byte says which answer the rest is, or that it is
// a stream of packets, cut anywhere. Nothing is read behind its end, no count is believed, and no
// message breaks a line of the log.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backend/sftp/address.h"
#include "backend/sftp/objects.h"
#include "backend/sftp/packet.h"
#include "backend/sftp/sftp_error.h"
#include "backend/sftp/upload.h"
#include "fuzz/require.h"

namespace litestream::sftp {
namespace {

void RequireOneLine(std::string_view text) {
  Require(std::ranges::none_of(text, [](char c) { return c == '\n' || c == '\r' || c == '\0'; }));
}

void TestAnswer(const Reply& reply) {
  const std::size_t size = reply.body.size();
  if (const auto status = ParseStatus(reply); status.ok()) {
    const Error error = StatusError(status.value(), "open /a");
    RequireOneLine(error.message());
    Require(error.message().size() < 1000);
  }
  if (const auto handle = ParseHandle(reply); handle.ok()) Require(handle.value().size() <= 256);
  if (const auto data = ParseData(reply); data.ok()) Require(data.value().size() + 4 <= size);
  static_cast<void>(ParseAttributes(reply));
  static_cast<void>(ParseAvailableBlocks(reply));
  const auto names = ParseNames(reply);
  if (!names.ok()) return;
  // A name has two strings and the flags of its attributes.
  Require(names.value().size() * 12 <= size);
  for (const NamedFile& file : names.value()) static_cast<void>(IsTempName(file.name));
  const auto state = StateOf(names.value());
  if (!state.ok() || !state.value()) return;
  // It becomes part of a path.
  Require(state.value()->tag.size() == 32);
  Require(state.value()->tag.find_first_not_of("0123456789abcdef") == std::string::npos);
}

// However the stream is cut, the packets are the same.
void TestStream(std::string_view text) {
  const std::size_t step = 1 + (text.empty() ? 0 : static_cast<unsigned char>(text[0]));
  PacketCutter whole;
  whole.Append(text);
  PacketCutter pieces;
  std::size_t fed = 0;
  for (;;) {
    const auto packet = whole.Next();
    auto other = pieces.Next();
    while (other.ok() && !other.value() && fed < text.size()) {
      pieces.Append(text.substr(fed, step));
      fed = std::min(text.size(), fed + step);
      other = pieces.Next();
    }
    Require(packet.ok() == other.ok());
    if (!packet.ok()) return;
    Require(packet.value() == other.value());
    if (!packet.value()) return;
    Require(!packet.value()->empty() && packet.value()->size() <= kMaxPacketBytes);
    if (packet.value()->size() < 5) continue;
    TestAnswer({.type = static_cast<PacketType>(packet.value()->front()),
                .body = packet.value()->substr(5)});
  }
}

void Test(std::string_view text) {
  constexpr PacketType kTypes[] = {PacketType::kStatus, PacketType::kHandle,
                                   PacketType::kData,   PacketType::kName,
                                   PacketType::kAttrs,  PacketType::kExtendedReply};
  if (text.empty()) return;
  const auto kind = static_cast<unsigned char>(text.front()) % 9U;
  text.remove_prefix(1);
  if (kind < 6) return TestAnswer({.type = kTypes[kind], .body = std::string(text)});
  if (kind == 6) return TestStream(text);
  if (kind == 7) {
    const auto version = ParseVersion(text);
    Require(!version.ok() || version.value().extensions.size() <= 128);
    return;
  }
  const auto address = ParseHostAndPort(text);
  if (address.ok()) Require(!address.value().host.empty() && address.value().port != 0);
}

}  // namespace
}  // namespace litestream::sftp

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  litestream::sftp::Test({reinterpret_cast<const char*>(data), size});
  return 0;
}
