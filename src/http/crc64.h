#pragma once

#include <cstdint>
#include <string_view>

namespace litestream::http {

// CRC-64 of ECMA-182 as XZ and Alibaba Cloud OSS take it: reflected, inverted before and after.
// "123456789" is 11051210869376104954. `crc` is that of what came before: 0 at the start.
std::uint64_t Crc64(std::uint64_t crc, std::string_view bytes);
// That of two texts behind each other; `second_size` is the size of the second.
std::uint64_t CombineCrc64(std::uint64_t first, std::uint64_t second, std::uint64_t second_size);

}  // namespace litestream::http
