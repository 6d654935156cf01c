#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace litestream {

// CRC-64/GO-ISO: reflected polynomial 0xD800000000000000, initial value and final xor all ones.
// A value of 0 is the checksum of nothing. All functions take and return finished values (after
// the final xor), as Go's crc64.Update does.

// The checksum of what `crc` covers followed by `bytes`.
std::uint64_t Crc64(std::uint64_t crc, std::span<const std::byte> bytes);

// The checksum of two stretches after each other, from the checksum of each.
std::uint64_t Crc64Combine(std::uint64_t first, std::uint64_t second, std::uint64_t second_bytes);

// Multiplies by x^(8 * bytes): what appending `bytes` zero bytes does to the linear part of a
// checksum. Setting up costs some 60 multiplications, using it one.
class Crc64Shift {
 public:
  explicit Crc64Shift(std::uint64_t bytes);
  // `linear` is a difference (xor) of two checksums of stretches of equal length.
  std::uint64_t Apply(std::uint64_t linear) const;
  // Crc64Combine for a second stretch of the length given at construction.
  std::uint64_t Combine(std::uint64_t first, std::uint64_t second) const {
    return Apply(first) ^ second;
  }

 private:
  std::uint64_t factor_;
};

// The linear part of the checksum of `bytes`: its CRC from 0 without the final xor. The checksum of
// a text in which `bytes` were xored into a stretch that ends n bytes before the text's end is the
// old one ^ Crc64Shift(n).Apply(Crc64Linear(bytes)).
std::uint64_t Crc64Linear(std::span<const std::byte> bytes);

// The portable implementation and the one for carry-less multiplication, for tests and benchmarks;
// Crc64 chooses at run time.
std::uint64_t Crc64Portable(std::uint64_t crc, std::span<const std::byte> bytes);
bool Crc64HasClmul();
std::uint64_t Crc64Clmul(std::uint64_t crc, std::span<const std::byte> bytes);

}  // namespace litestream
