#include <cstdint>
#include <cstring>

#include "format/ltx_lz4.h"

namespace litestream {
namespace {

// The largest length that a token holds alone, and what is added to that of a match.
constexpr std::size_t kLengthGoesOn = 15;
constexpr std::size_t kMinMatch = 4;

// With so much room behind `in` and `out`, a sequence whose lengths both stand in the token takes
// no further checks, even when more is copied than it has.
constexpr std::ptrdiff_t kInRoom = 1 + 16 + 2;
constexpr std::ptrdiff_t kOutRoom = 16 + 32;

// What a copy in large steps may write behind its end.
constexpr std::size_t kOvershoot = 16;

void Copy8(std::byte* out, const std::byte* in) {
  std::memcpy(out, in, 8);
}
void Copy16(std::byte* out, const std::byte* in) {
  std::memcpy(out, in, 16);
}

std::size_t LoadLe16(const std::byte* p) {
  return std::to_integer<std::size_t>(p[0]) | std::to_integer<std::size_t>(p[1]) << 8;
}

// Adds the bytes that continue a length.
bool ReadLength(const std::byte*& in, const std::byte* in_end, std::size_t& length) {
  std::size_t byte = 0;
  do {
    if (in == in_end) return false;
    byte = std::to_integer<std::size_t>(*in++);
    length += byte;
  } while (byte == 255);
  return true;
}

// Eight bytes that repeat the last `distance` (1, 2, 4 or 8) before `out`.
std::uint64_t RepeatedBytes(const std::byte* out, std::size_t distance) {
  std::uint64_t bytes = 0;
  if (distance == 8) {
    std::memcpy(&bytes, out - 8, 8);
  } else if (distance == 4) {
    std::uint32_t four = 0;
    std::memcpy(&four, out - 4, 4);
    bytes = four * 0x0000000100000001U;
  } else if (distance == 2) {
    std::uint16_t two = 0;
    std::memcpy(&two, out - 2, 2);
    bytes = two * 0x0001000100010001U;
  } else {
    bytes = std::to_integer<std::uint64_t>(out[-1]) * 0x0101010101010101U;
  }
  return bytes;
}

// A match that overlaps itself within 16 bytes. Runs are written without reading them back, which
// would wait for the writing. For other distances the first bytes go one by one; behind them, any
// multiple of the distance gives the same bytes, so it is rounded up to a step.
void CopyNearMatch(std::byte* out, std::size_t distance, std::size_t length) {
  constexpr std::uint8_t kFrom8[16] = {0, 8, 8, 9, 8, 10, 12, 14, 8, 9, 10, 11, 12, 13, 14, 15};
  if ((distance & (distance - 1)) == 0) {
    const std::uint64_t bytes = RepeatedBytes(out, distance);
    for (std::size_t i = 0; i < length; i += 16) {
      std::memcpy(out + i, &bytes, 8);
      std::memcpy(out + i + 8, &bytes, 8);
    }
    return;
  }
  const std::byte* const from = out - distance;
  for (std::size_t i = 0; i < 8; ++i) out[i] = from[i];
  for (std::size_t i = 8; i < length; i += 8) Copy8(out + i, out + i - kFrom8[distance]);
}

// May write kOvershoot bytes too many.
void CopyMatch(std::byte* out, std::size_t distance, std::size_t length) {
  if (distance < 16) return CopyNearMatch(out, distance, length);
  for (std::size_t i = 0; i < length; i += 16) Copy16(out + i, out + i - distance);
}

}  // namespace

bool ExpandLz4Block(std::span<const std::byte> block, std::span<std::byte> page) {
  const std::byte* in = block.data();
  const std::byte* const in_end = in + block.size();
  std::byte* const out_begin = page.data();
  std::byte* out = out_begin;
  std::byte* const out_end = out + page.size();

  for (;;) {
    // Sequences with short lengths, far from the ends: nearly all.
    std::size_t token = 0;
    for (;;) {
      if (in_end - in < kInRoom || out_end - out < kOutRoom) {
        if (in == in_end) return false;
        token = std::to_integer<std::size_t>(*in++);
        break;
      }
      token = std::to_integer<std::size_t>(*in++);
      std::size_t literals = token >> 4;
      if (literals == kLengthGoesOn) break;
      Copy16(out, in);
      const std::size_t distance = LoadLe16(in + literals);
      if ((token & 15) == kLengthGoesOn) break;
      in += literals + 2;
      out += literals;
      if (distance - 1 >= static_cast<std::size_t>(out - out_begin)) return false;
      const std::size_t length = (token & 15) + kMinMatch;
      if (distance >= 16) [[likely]] {
        Copy16(out, out - distance);
        Copy16(out + 16, out + 16 - distance);
      } else {
        CopyNearMatch(out, distance, length);
      }
      out += length;
    }

    std::size_t literals = token >> 4;
    if (literals == kLengthGoesOn && !ReadLength(in, in_end, literals)) return false;
    if (literals > static_cast<std::size_t>(in_end - in)) return false;
    if (literals > static_cast<std::size_t>(out_end - out)) return false;
    std::memcpy(out, in, literals);
    in += literals;
    out += literals;
    if (in == in_end) return (token & 15) == 0 && out == out_end;

    if (in_end - in < 2) return false;
    const std::size_t distance = LoadLe16(in);
    in += 2;
    if (distance - 1 >= static_cast<std::size_t>(out - out_begin)) return false;
    std::size_t length = token & 15;
    if (length == kLengthGoesOn && !ReadLength(in, in_end, length)) return false;
    length += kMinMatch;
    const auto room = static_cast<std::size_t>(out_end - out);
    if (length > room) return false;
    if (room - length >= kOvershoot) {
      CopyMatch(out, distance, length);
    } else {
      const std::byte* const from = out - distance;
      for (std::size_t i = 0; i < length; ++i) out[i] = from[i];
    }
    out += length;
  }
}

}  // namespace litestream
