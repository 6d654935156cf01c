#include "backend/nats/nkey.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include <openssl/evp.h>

namespace litestream::nats {
namespace {

// Text is base32 (RFC 4648, without padding) of: type, key, CRC-16. A seed has two bytes of type,
// "seed" and "user", 5 bits each used.
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::uint8_t kSeed = 18 << 3;
constexpr std::uint8_t kUser = 20 << 3;
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kSeedBytes = 2 + kKeyBytes + 2;

std::optional<std::string> FromBase32(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 5 | static_cast<std::uint32_t>(value);
    count += 5;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

std::string Base32(std::string_view bytes) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 5; count -= 5) out += kAlphabet[bits >> (count - 5) & 31];
  }
  if (count > 0) out += kAlphabet[bits << (5 - count) & 31];
  return out;
}

// CRC-16/XMODEM.
std::uint16_t Crc16(std::string_view bytes) {
  std::uint32_t crc = 0;
  for (const char c : bytes) {
    crc ^= static_cast<std::uint32_t>(static_cast<unsigned char>(c)) << 8;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1;
    }
  }
  return static_cast<std::uint16_t>(crc);
}

Error NoSeed(std::string_view why) {
  return {ErrorCode::kInvalidArgument,
          "nats: the nkey's seed must be that of a user (it begins with SU): " + std::string(why)};
}

}  // namespace

Result<std::string> PublicNkey(std::string_view seed) {
  const auto raw = FromBase32(seed);
  if (!raw || raw->size() != kSeedBytes) return NoSeed("it is no seed");
  const auto first = static_cast<std::uint8_t>((*raw)[0]);
  const auto second = static_cast<std::uint8_t>((*raw)[1]);
  if ((first & 0xf8) != kSeed) return NoSeed("it is no seed");
  if (static_cast<std::uint8_t>((first & 7) << 5 | (second & 0xf8) >> 3) != kUser) {
    return NoSeed("it is of something else");
  }
  const std::string_view checked(raw->data(), kSeedBytes - 2);
  const auto crc =
      static_cast<std::uint16_t>(static_cast<std::uint8_t>((*raw)[kSeedBytes - 2]) |
                                 static_cast<std::uint8_t>((*raw)[kSeedBytes - 1]) << 8);
  if (Crc16(checked) != crc) return NoSeed("its check sum is wrong");
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                   reinterpret_cast<const unsigned char*>(raw->data()) + 2,
                                   kKeyBytes),
      EVP_PKEY_free);
  std::array<unsigned char, kKeyBytes> public_key{};
  std::size_t size = public_key.size();
  if (key == nullptr || EVP_PKEY_get_raw_public_key(key.get(), public_key.data(), &size) != 1) {
    return Error(ErrorCode::kInternal, "nats: Ed25519 is not available");
  }
  std::string out(1, static_cast<char>(kUser));
  out.append(reinterpret_cast<const char*>(public_key.data()), size);
  const std::uint16_t sum = Crc16(out);
  out += static_cast<char>(sum & 0xff);
  out += static_cast<char>(sum >> 8);
  return Base32(out);
}

}  // namespace litestream::nats
