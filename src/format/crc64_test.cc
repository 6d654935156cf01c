#include "format/crc64.h"

#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/endian.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

constexpr unsigned kSeed = 20260801;

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::vector<std::byte> RandomBytes(std::mt19937_64& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (auto& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

// One bit at a time, as the definition has it.
std::uint64_t BitByBit(std::span<const std::byte> bytes) {
  std::uint64_t reg = ~std::uint64_t{0};
  for (const std::byte b : bytes) {
    reg ^= std::to_integer<std::uint64_t>(b);
    for (int bit = 0; bit < 8; ++bit) reg = (reg >> 1) ^ ((reg & 1) != 0 ? 0xD800000000000000 : 0);
  }
  return ~reg;
}

TEST(Crc64, KnownValues) {
  EXPECT_EQ(Crc64(0, {}), 0U);
  EXPECT_EQ(Crc64(0, Bytes("123456789")), 0xb90956c775a41001U);
  EXPECT_EQ(Crc64Portable(0, Bytes("123456789")), 0xb90956c775a41001U);
  EXPECT_EQ(Crc64Clmul(0, Bytes("123456789")), 0xb90956c775a41001U);
}

TEST(Crc64, EveryShortLengthAndAlignment) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  const auto bytes = RandomBytes(random, 700);
  for (std::size_t offset = 0; offset < 17; ++offset) {
    for (std::size_t size = 0; size <= 640; ++size) {
      const auto part = std::span(bytes).subspan(offset, size);
      const std::uint64_t want = BitByBit(part);
      ASSERT_EQ(Crc64Portable(0, part), want) << offset << " " << size;
      ASSERT_EQ(Crc64(0, part), want) << offset << " " << size;
      if (Crc64HasClmul()) {
        ASSERT_EQ(Crc64Clmul(0, part), want) << offset << " " << size;
      }
    }
  }
}

TEST(Crc64, BothWaysAndCombineAgreeOnRandomSplits) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    const auto bytes = RandomBytes(random, 1 + random() % 9000);
    const std::size_t cut = random() % (bytes.size() + 1);
    const auto first = std::span(bytes).first(cut);
    const auto second = std::span(bytes).subspan(cut);
    const std::uint64_t want = Crc64Portable(0, bytes);
    ASSERT_EQ(Crc64(Crc64(0, first), second), want) << bytes.size() << " " << cut;
    ASSERT_EQ(Crc64Portable(Crc64Portable(0, first), second), want);
    ASSERT_EQ(Crc64Combine(Crc64(0, first), Crc64(0, second), second.size()), want);
    ASSERT_EQ(Crc64Shift(second.size()).Combine(Crc64(0, first), Crc64(0, second)), want);
    if (Crc64HasClmul()) {
      ASSERT_EQ(Crc64Clmul(Crc64Clmul(0, first), second), want) << bytes.size() << " " << cut;
    }
  }
}

TEST(Crc64, PatchFormula) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    auto bytes = RandomBytes(random, 50 + random() % 5000);
    const std::uint64_t before = Crc64(0, bytes);
    const std::size_t size = 1 + random() % 40;
    const std::size_t begin = random() % (bytes.size() - size + 1);
    const auto difference = RandomBytes(random, size);
    for (std::size_t i = 0; i < size; ++i) bytes[begin + i] ^= difference[i];
    const Crc64Shift behind(bytes.size() - begin - size);
    ASSERT_EQ(before ^ behind.Apply(Crc64Linear(difference)), Crc64(0, bytes));
  }
}

TEST(Crc64, ShiftOfZeroBytesAndOfHugeLengths) {
  EXPECT_EQ(Crc64Shift(0).Apply(0x123456789abcdef0), 0x123456789abcdef0U);
  // Shifts add up, also beyond 2^61 bytes, where the number of bits does not fit.
  const std::uint64_t lengths[] = {1, 4096, 1ULL << 40, 3ULL << 60, 1ULL << 63, (1ULL << 63) - 77};
  for (const std::uint64_t a : lengths) {
    SCOPED_TRACE(a);
    const std::uint64_t value = 0xfedcba9876543210;
    const std::uint64_t at_once = Crc64Shift(a).Apply(value);
    const std::uint64_t in_two = Crc64Shift(a / 2).Apply(Crc64Shift(a - a / 2).Apply(value));
    EXPECT_EQ(at_once, in_two);
    EXPECT_NE(at_once, value);
  }
}

TEST(PageSum, IsTheChecksumOfNumberAndPage) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (const std::size_t page_size : {512U, 4096U, 65536U}) {
    const auto page = RandomBytes(random, page_size);
    const Pgno pgno{static_cast<std::uint32_t>(random())};
    std::vector<std::byte> text(4);
    StoreBe32(text.data(), pgno.value);
    EXPECT_EQ(PgnoSum(pgno), BitByBit(text));
    text.insert(text.end(), page.begin(), page.end());
    EXPECT_EQ(PageSum(pgno, page), BitByBit(text));
  }
}

// From the worked example of the format description.
TEST(PageSum, KnownValue) {
  const std::vector<std::byte> page(512, std::byte{0xab});
  EXPECT_EQ(PageSum(Pgno{2}, page) | 1ULL << 63, 0xa832567102377eeeU);
}

TEST(PageSum, LockPages) {
  EXPECT_EQ(LockPage(512), Pgno{2097153});
  EXPECT_EQ(LockPage(4096), Pgno{262145});
  EXPECT_EQ(LockPage(65536), Pgno{16385});
}

TEST(DatabaseChecksum, SeesWhatAPlainXorDoesNot) {
  const std::uint64_t a = 0x1111;
  const std::uint64_t b = 0x2222;
  const std::uint64_t change = 0x4000000000000001;
  DatabaseChecksum before;
  before.Toggle(a);
  before.Toggle(b);
  DatabaseChecksum after = before;
  after.Replace(a, a ^ change);
  EXPECT_NE(after, before);
  after.Replace(b, b ^ change);  // The same change in two pages: a plain XOR is back where it was.
  EXPECT_NE(after, before);
  after.Replace(b ^ change, b);
  after.Replace(a ^ change, a);
  EXPECT_EQ(after, before);
  DatabaseChecksum with_lock_page = before;
  with_lock_page.Toggle(0);
  EXPECT_EQ(with_lock_page, before);
}

}  // namespace
}  // namespace litestream
