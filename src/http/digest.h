#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace litestream::http {

// Raw digests as bytes in a string.
std::string Sha256(std::string_view text);
std::string HmacSha256(std::string_view key, std::string_view text);
std::string Md5(std::string_view text);

std::string Hex(std::string_view bytes);
std::string Base64(std::string_view bytes);
// Standard alphabet, with padding; nothing else is taken.
std::optional<std::string> FromBase64(std::string_view text);

// CRC-32 as in zlib; what S3 calls CRC32.
std::uint32_t Crc32(std::string_view bytes);
// CRC-32C (Castagnoli), as Google Cloud Storage has it. `before` is that of the bytes before these.
std::uint32_t Crc32c(std::string_view bytes, std::uint32_t before = 0);
// Its four bytes, the highest first, in base64.
std::string Base64Crc(std::uint32_t crc);

}  // namespace litestream::http
