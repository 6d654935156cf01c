#include "tests/support/sha256.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace litestream {
namespace {

// FIPS 180-4, section 6.2.
constexpr std::array<std::uint32_t, 64> kRoundConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

class Sha256 {
 public:
  void Update(std::span<const std::byte> bytes) {
    size_bytes_ += bytes.size();
    while (!bytes.empty()) {
      if (used_ == 0 && bytes.size() >= block_.size()) {
        Compress(bytes.data());
        bytes = bytes.subspan(block_.size());
        continue;
      }
      const std::size_t n = std::min(bytes.size(), block_.size() - used_);
      std::copy_n(bytes.begin(), n, block_.begin() + static_cast<std::ptrdiff_t>(used_));
      bytes = bytes.subspan(n);
      used_ += n;
      if (used_ < block_.size()) continue;
      Compress(block_.data());
      used_ = 0;
    }
  }

  std::string Finish() {
    const std::uint64_t bits = size_bytes_ * 8;
    const std::byte one{0x80};
    const std::byte zero{0};
    Update({&one, 1});
    while (used_ != 56) Update({&zero, 1});
    for (int shift = 56; shift >= 0; shift -= 8) {
      const auto b = static_cast<std::byte>(bits >> shift);
      Update({&b, 1});
    }
    std::string hex;
    for (const std::uint32_t word : state_) {
      std::array<char, 9> digits = {};
      std::snprintf(digits.data(), digits.size(), "%08x", word);
      hex += digits.data();
    }
    return hex;
  }

 private:
  using Words = std::array<std::uint32_t, 16>;

  // One round. Some gigabytes are hashed in a run of the tests, so the roles of the eight words go
  // round instead of the words, and I is a constant: all 16 rounds are written out.
  template <std::size_t I>
  static void Round(std::array<std::uint32_t, 8>& s, Words& w, std::size_t first) {
    if (first > 0) {
      const std::uint32_t a = w[(I + 1) % 16];
      const std::uint32_t b = w[(I + 14) % 16];
      w[I] += (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[(I + 9) % 16] +
              (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    const auto at = [&s](std::size_t role) -> std::uint32_t& { return s[(role - I) % 8]; };
    const std::uint32_t e = at(4);
    const std::uint32_t a = at(0);
    const std::uint32_t t1 = at(7) + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                             ((e & at(5)) ^ (~e & at(6))) + kRoundConstants[first + I] + w[I];
    const std::uint32_t t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) +
                             ((a & at(1)) ^ (a & at(2)) ^ (at(1) & at(2)));
    at(3) += t1;
    at(7) = t1 + t2;
  }
  template <std::size_t... I>
  static void Rounds(std::array<std::uint32_t, 8>& s, Words& w, std::size_t first,
                     std::index_sequence<I...>) {
    (Round<I>(s, w, first), ...);
  }

  void Compress(const std::byte* block) {
    Words w = {};
    for (std::size_t i = 0; i < 4 * w.size(); ++i) {
      w[i / 4] = w[i / 4] << 8 | std::to_integer<std::uint32_t>(block[i]);
    }
    std::array<std::uint32_t, 8> s = state_;
    for (std::size_t first = 0; first < kRoundConstants.size(); first += w.size()) {
      Rounds(s, w, first, std::make_index_sequence<16>());
    }
    for (std::size_t i = 0; i < 8; ++i) state_[i] += s[i];
  }

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> block_ = {};
  std::size_t used_ = 0;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace

std::string Sha256Hex(std::span<const std::byte> bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Finish();
}

std::string Sha256HexOfFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    ADD_FAILURE() << "cannot open " << path;
    return {};
  }
  Sha256 sha;
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0) {
    sha.Update(std::as_bytes(std::span(buffer.data(), static_cast<std::size_t>(in.gcount()))));
  }
  if (in.bad()) ADD_FAILURE() << "cannot read " << path;
  return sha.Finish();
}

}  // namespace litestream
