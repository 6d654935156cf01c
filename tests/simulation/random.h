#pragma once

#include <cstdint>
#include <string_view>

namespace litestream::sim {

// SplitMix64. Not a std engine: small enough to give each process, client and decision its own, so
// that leaving one thing out of a run does not change the dice of all others.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  // 0 to n - 1.
  std::uint64_t Below(std::uint64_t n) { return n == 0 ? 0 : Next() % n; }
  // Both ends included.
  std::uint64_t Between(std::uint64_t low, std::uint64_t high) {
    return low + Below(high - low + 1);
  }
  bool PerMillion(std::uint64_t n) { return Below(1'000'000) < n; }
  bool OneIn(std::uint64_t n) { return Below(n) == 0; }

 private:
  std::uint64_t state_;
};

inline std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
  return Random(a ^ (b * 0xff51afd7ed558ccdU)).Next();
}

inline std::uint64_t HashOf(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace litestream::sim
