#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "litestream/types.h"

namespace litestream {

// The first page of the lock bytes at offset 1 GiB, which SQLite never uses. Never stored in an LTX
// file; zeros in a database file; counts as sum 0.
constexpr Pgno LockPage(std::uint32_t page_size) {
  return Pgno{0x40000000U / page_size + 1};
}

inline constexpr std::size_t kMaxPageSize = 65536;
// 512 to 65536, a power of two.
constexpr bool IsValidPageSize(std::uint64_t n) {
  return n >= 512 && n <= kMaxPageSize && (n & (n - 1)) == 0;
}

// CRC64(big-endian pgno || page), all 64 bits. The page checksum of LTX is this | bit 63.
std::uint64_t PageSum(Pgno pgno, std::span<const std::byte> page);
// CRC64 of the four big-endian bytes alone.
std::uint64_t PgnoSum(Pgno pgno);

// What one page contributes to the database checksum: the finaliser of SplitMix64, which is a
// permutation with 0 -> 0 and not linear, so that exchanged pages and equal differences show.
constexpr std::uint64_t MixPageSum(std::uint64_t sum) {
  sum ^= sum >> 30;
  sum *= 0xbf58476d1ce4e5b9U;
  sum ^= sum >> 27;
  sum *= 0x94d049bb133111ebU;
  sum ^= sum >> 31;
  return sum;
}

// XOR of MixPageSum over all pages: add and remove are the same operation, in any order.
class DatabaseChecksum {
 public:
  constexpr DatabaseChecksum() = default;
  constexpr explicit DatabaseChecksum(std::uint64_t value) : value_(value) {}
  constexpr void Toggle(std::uint64_t page_sum) { value_ ^= MixPageSum(page_sum); }
  constexpr void Replace(std::uint64_t old_sum, std::uint64_t new_sum) {
    Toggle(old_sum);
    Toggle(new_sum);
  }
  constexpr std::uint64_t value() const { return value_; }
  friend bool operator==(DatabaseChecksum, DatabaseChecksum) = default;

 private:
  std::uint64_t value_ = 0;
};

}  // namespace litestream
