#include "format/crc64.h"

#include <array>

#include "base/endian.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace litestream {
namespace {

// Polynomials over GF(2) modulo P = x^64 + x^4 + x^3 + x + 1 are kept reflected: bit 63 is x^0. So
// a shift right multiplies by x, and bytes in memory order, loaded little-endian, are coefficients
// in descending order.
constexpr std::uint64_t kPolynomial = 0xD800000000000000;  // P without x^64.
constexpr std::uint64_t kOne = 1ULL << 63;

constexpr std::uint64_t TimesX(std::uint64_t a) {
  return (a >> 1) ^ ((a & 1) != 0 ? kPolynomial : 0);
}

// a * (P - x^64), without what overflows.
constexpr std::uint64_t TimesTail(std::uint64_t a) {
  return a ^ (a >> 1) ^ (a >> 3) ^ (a >> 4);
}

// high * x^64 + low modulo P. P is so sparse that this takes no tables.
constexpr std::uint64_t Reduce(std::uint64_t high, std::uint64_t low) {
  const std::uint64_t overflow = (high << 63) ^ (high << 61) ^ (high << 60);
  return low ^ TimesTail(high) ^ TimesTail(overflow);
}

constexpr std::uint64_t MultiplyPortable(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  for (; a != 0; a <<= 1) {
    if ((a & kOne) != 0) product ^= b;
    b = TimesX(b);
  }
  return product;
}

// x^(2^i) at index i.
constexpr std::array<std::uint64_t, 64> MakeSquares() {
  std::array<std::uint64_t, 64> squares = {};
  squares[0] = TimesX(kOne);
  for (std::size_t i = 1; i < squares.size(); ++i) {
    squares[i] = MultiplyPortable(squares[i - 1], squares[i - 1]);
  }
  return squares;
}
constexpr std::array<std::uint64_t, 64> kSquares = MakeSquares();
// P is irreducible, so the sequence goes round.
static_assert(MultiplyPortable(kSquares[63], kSquares[63]) == kSquares[0]);

constexpr std::uint64_t PowerOfX(std::uint64_t exponent) {
  std::uint64_t power = kOne;
  for (std::size_t i = 0; exponent != 0; ++i, exponent >>= 1) {
    if ((exponent & 1) != 0) power = MultiplyPortable(power, kSquares[i]);
  }
  return power;
}

// tables[k][b]: what byte b adds to the register when k bytes follow it.
using Tables = std::array<std::array<std::uint64_t, 256>, 16>;

constexpr Tables MakeTables() {
  Tables tables = {};
  for (std::uint64_t byte = 0; byte < 256; ++byte) {
    std::uint64_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = TimesX(value);
    tables[0][byte] = value;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint64_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}
alignas(64) constexpr Tables kTables = MakeTables();

// The eight bytes of `word`, the first of which has `first` bytes behind it.
std::uint64_t LookUp8(std::uint64_t word, std::size_t first) {
  return kTables[first][word & 0xff] ^ kTables[first - 1][(word >> 8) & 0xff] ^
         kTables[first - 2][(word >> 16) & 0xff] ^ kTables[first - 3][(word >> 24) & 0xff] ^
         kTables[first - 4][(word >> 32) & 0xff] ^ kTables[first - 5][(word >> 40) & 0xff] ^
         kTables[first - 6][(word >> 48) & 0xff] ^ kTables[first - 7][word >> 56];
}

// The register, without initial value and final xor.
std::uint64_t UpdatePortable(std::uint64_t reg, const std::byte* p, std::size_t size) {
  for (; size >= 16; p += 16, size -= 16) {
    reg = LookUp8(reg ^ LoadLe64(p), 15) ^ LookUp8(LoadLe64(p + 8), 7);
  }
  if (size >= 8) {
    reg = LookUp8(reg ^ LoadLe64(p), 7);
    p += 8;
    size -= 8;
  }
  for (; size > 0; ++p, --size) {
    reg = (reg >> 8) ^ kTables[0][(reg ^ std::to_integer<std::uint64_t>(*p)) & 0xff];
  }
  return reg;
}

#if defined(__x86_64__)

#define LS_CLMUL __attribute__((target("pclmul,sse4.1")))

// Multiplies by x^distance a 16-byte stretch (low half times x^64 plus high half). The product of
// two reflected numbers comes out multiplied by x once more, hence the - 1.
struct FoldFactors {
  std::uint64_t low;
  std::uint64_t high;
};
constexpr FoldFactors MakeFoldFactors(std::uint64_t distance) {
  return {PowerOfX(distance + 64 - 1), PowerOfX(distance - 1)};
}
constexpr FoldFactors kFold1024 = MakeFoldFactors(1024);
constexpr FoldFactors kFold512 = MakeFoldFactors(512);
constexpr FoldFactors kFold256 = MakeFoldFactors(256);
constexpr FoldFactors kFold128 = MakeFoldFactors(128);
constexpr std::uint64_t kLast = PowerOfX(128 - 1);

LS_CLMUL inline __m128i Load(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

LS_CLMUL inline __m128i Vector(const FoldFactors& factors) {
  return _mm_set_epi64x(static_cast<long long>(factors.high), static_cast<long long>(factors.low));
}

LS_CLMUL inline __m128i Fold(__m128i a, __m128i factors, __m128i next) {
  return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(a, factors, 0x00),
                                           _mm_clmulepi64_si128(a, factors, 0x11)));
}

// Folds eight lanes of 16 bytes through a multiple of 128 bytes, then into one lane.
LS_CLMUL __m128i FoldLanes(__m128i first, const std::byte*& p, std::size_t& size) {
  __m128i lane[8];
  lane[0] = _mm_xor_si128(first, Load(p));
  for (int i = 1; i < 8; ++i) lane[i] = Load(p + 16 * i);
  const __m128i by1024 = Vector(kFold1024);
  for (p += 128, size -= 128; size >= 128; p += 128, size -= 128) {
    for (int i = 0; i < 8; ++i) lane[i] = Fold(lane[i], by1024, Load(p + 16 * i));
  }
  const __m128i by512 = Vector(kFold512);
  for (int i = 0; i < 4; ++i) lane[i] = Fold(lane[i], by512, lane[i + 4]);
  const __m128i by256 = Vector(kFold256);
  for (int i = 0; i < 2; ++i) lane[i] = Fold(lane[i], by256, lane[i + 2]);
  return Fold(lane[0], Vector(kFold128), lane[1]);
}

// `size` is 16 at least.
LS_CLMUL std::uint64_t UpdateClmul(std::uint64_t reg, const std::byte* p, std::size_t size) {
  __m128i lane = _mm_cvtsi64_si128(static_cast<long long>(reg));
  if (size >= 128) {
    lane = FoldLanes(lane, p, size);
  } else {
    lane = _mm_xor_si128(lane, Load(p));
    p += 16;
    size -= 16;
  }
  const __m128i by128 = Vector(kFold128);
  for (; size >= 16; p += 16, size -= 16) lane = Fold(lane, by128, Load(p));

  // The register is the lane times x^64: low half times x^128, high half times x^64.
  const __m128i last = _mm_cvtsi64_si128(static_cast<long long>(kLast));
  const __m128i product = _mm_clmulepi64_si128(lane, last, 0x00);
  const auto high = static_cast<std::uint64_t>(_mm_cvtsi128_si64(product)) ^
                    static_cast<std::uint64_t>(_mm_extract_epi64(lane, 1));
  reg = Reduce(high, static_cast<std::uint64_t>(_mm_extract_epi64(product, 1)));
  return size == 0 ? reg : UpdatePortable(reg, p, size);
}

LS_CLMUL std::uint64_t MultiplyClmul(std::uint64_t a, std::uint64_t b) {
  const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(a)),
                                               _mm_cvtsi64_si128(static_cast<long long>(b)), 0x00);
  const auto low = static_cast<std::uint64_t>(_mm_cvtsi128_si64(product));
  const auto high = static_cast<std::uint64_t>(_mm_extract_epi64(product, 1));
  return Reduce(low << 1, (high << 1) | (low >> 63));
}

const bool kHasClmul = []() noexcept {
  __builtin_cpu_init();
  return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}();

#undef LS_CLMUL

#else

// Other processors take the portable way.
constexpr bool kHasClmul = false;
std::uint64_t UpdateClmul(std::uint64_t reg, const std::byte* p, std::size_t size) {
  return UpdatePortable(reg, p, size);
}
std::uint64_t MultiplyClmul(std::uint64_t a, std::uint64_t b) {
  return MultiplyPortable(a, b);
}

#endif

// Below this the set-up of the vector code costs more than the look-ups.
constexpr std::size_t kMinClmulSize = 32;

std::uint64_t Multiply(std::uint64_t a, std::uint64_t b) {
  return kHasClmul ? MultiplyClmul(a, b) : MultiplyPortable(a, b);
}

std::uint64_t Update(std::uint64_t reg, std::span<const std::byte> bytes) {
  if (kHasClmul && bytes.size() >= kMinClmulSize) {
    return UpdateClmul(reg, bytes.data(), bytes.size());
  }
  return UpdatePortable(reg, bytes.data(), bytes.size());
}

}  // namespace

std::uint64_t Crc64(std::uint64_t crc, std::span<const std::byte> bytes) {
  return ~Update(~crc, bytes);
}

std::uint64_t Crc64Linear(std::span<const std::byte> bytes) {
  return Update(0, bytes);
}

std::uint64_t Crc64Combine(std::uint64_t first, std::uint64_t second, std::uint64_t second_bytes) {
  return Crc64Shift(second_bytes).Combine(first, second);
}

Crc64Shift::Crc64Shift(std::uint64_t bytes) : factor_(kOne) {
  // From x^8 on; the bits that 8 * bytes would lose go round instead.
  for (std::size_t i = 3; bytes != 0; i = (i + 1) % kSquares.size(), bytes >>= 1) {
    if ((bytes & 1) != 0) factor_ = Multiply(factor_, kSquares[i]);
  }
}

std::uint64_t Crc64Shift::Apply(std::uint64_t linear) const {
  return Multiply(linear, factor_);
}

std::uint64_t Crc64Portable(std::uint64_t crc, std::span<const std::byte> bytes) {
  return ~UpdatePortable(~crc, bytes.data(), bytes.size());
}

bool Crc64HasClmul() {
  return kHasClmul;
}

std::uint64_t Crc64Clmul(std::uint64_t crc, std::span<const std::byte> bytes) {
  if (bytes.size() < 16) return Crc64Portable(crc, bytes);
  return ~UpdateClmul(~crc, bytes.data(), bytes.size());
}

}  // namespace litestream
