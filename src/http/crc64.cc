#include "http/crc64.h"

#include <array>
#include <cstddef>

#include "base/endian.h"

namespace litestream::http {
namespace {

constexpr std::uint64_t kPolynomial = 0xC96C5795D7870F42;  // Reflected.
constexpr int kBits = 64;
constexpr std::size_t kStride = 8;

using Table = std::array<std::uint64_t, 256>;

// Table n: of a byte that n zero bytes follow.
constexpr std::array<Table, kStride> MakeTables() {
  std::array<Table, kStride> tables = {};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    for (std::size_t n = 1; n < kStride; ++n) {
      const std::uint64_t before = tables[n - 1][byte];
      tables[n][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}
constexpr std::array<Table, kStride> kTables = MakeTables();

// A linear map of 64 bits: column n is what becomes of bit n.
using Matrix = std::array<std::uint64_t, kBits>;

std::uint64_t Apply(const Matrix& matrix, std::uint64_t vector) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; vector != 0; vector >>= 1, ++i) {
    if ((vector & 1) != 0) sum ^= matrix[i];
  }
  return sum;
}

Matrix Square(const Matrix& matrix) {
  Matrix out = {};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = Apply(matrix, matrix[i]);
  return out;
}

// What one zero bit makes of a sum.
Matrix OneZeroBit() {
  Matrix matrix = {};
  matrix[0] = kPolynomial;
  for (std::size_t i = 1; i < matrix.size(); ++i) matrix[i] = std::uint64_t{1} << (i - 1);
  return matrix;
}

}  // namespace

std::uint64_t Crc64(std::uint64_t crc, std::string_view bytes) {
  crc = ~crc;
  while (bytes.size() >= kStride) {
    const std::uint64_t word = crc ^ LoadLe64(reinterpret_cast<const std::byte*>(bytes.data()));
    crc = 0;
    for (std::size_t i = 0; i < kStride; ++i) {
      crc ^= kTables[kStride - 1 - i][(word >> (8 * i)) & 0xff];
    }
    bytes.remove_prefix(kStride);
  }
  for (const char c : bytes) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<unsigned char>(c)) & 0xff];
  }
  return ~crc;
}

// As zlib's crc32_combine: the first sum goes through as many zero bits as the second text has.
std::uint64_t CombineCrc64(std::uint64_t first, std::uint64_t second, std::uint64_t second_size) {
  Matrix zeros = Square(Square(Square(OneZeroBit())));  // Eight of them.
  for (; second_size != 0; second_size >>= 1) {
    if ((second_size & 1) != 0) first = Apply(zeros, first);
    zeros = Square(zeros);
  }
  return first ^ second;
}

}  // namespace litestream::http
