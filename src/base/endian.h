#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace litestream {

// Fixed-width integers at `p`, which need not be aligned. Be: big-endian; Le: little-endian.

inline std::uint16_t LoadBe16(const std::byte* p) {
  std::uint16_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::big ? v : __builtin_bswap16(v);
}
inline std::uint32_t LoadBe32(const std::byte* p) {
  std::uint32_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::big ? v : __builtin_bswap32(v);
}
inline std::uint64_t LoadBe64(const std::byte* p) {
  std::uint64_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::big ? v : __builtin_bswap64(v);
}
inline std::uint32_t LoadLe32(const std::byte* p) {
  std::uint32_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::little ? v : __builtin_bswap32(v);
}
inline std::uint64_t LoadLe64(const std::byte* p) {
  std::uint64_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return std::endian::native == std::endian::little ? v : __builtin_bswap64(v);
}

inline void StoreBe16(std::byte* p, std::uint16_t v) {
  if constexpr (std::endian::native != std::endian::big) v = __builtin_bswap16(v);
  std::memcpy(p, &v, sizeof v);
}
inline void StoreBe32(std::byte* p, std::uint32_t v) {
  if constexpr (std::endian::native != std::endian::big) v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}
inline void StoreBe64(std::byte* p, std::uint64_t v) {
  if constexpr (std::endian::native != std::endian::big) v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}
inline void StoreLe32(std::byte* p, std::uint32_t v) {
  if constexpr (std::endian::native != std::endian::little) v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}
inline void StoreLe64(std::byte* p, std::uint64_t v) {
  if constexpr (std::endian::native != std::endian::little) v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}

}  // namespace litestream
