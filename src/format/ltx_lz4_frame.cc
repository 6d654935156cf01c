#include <bit>
#include <cstring>
#include <string>

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx.h"
#include "format/ltx_lz4.h"

namespace litestream {
namespace {

constexpr std::uint32_t kMagic = 0x184d2204;
constexpr unsigned kVersionMask = 0xc0;
constexpr unsigned kVersion = 0x40;
constexpr unsigned kBlockChecksum = 0x10;
constexpr unsigned kContentSize = 0x08;
constexpr unsigned kContentChecksum = 0x04;
constexpr unsigned kReserved = 0x02;
constexpr unsigned kDictionary = 0x01;
constexpr std::uint32_t kStored = 1U << 31;

constexpr std::uint32_t kPrime1 = 2654435761;
constexpr std::uint32_t kPrime2 = 2246822519;
constexpr std::uint32_t kPrime3 = 3266489917;
constexpr std::uint32_t kPrime4 = 668265263;
constexpr std::uint32_t kPrime5 = 374761393;

Error Corruption(std::string message) {
  return Error(ErrorCode::kCorruption, std::move(message));
}

Error NoFrameEnd(const char* detail) {
  return Corruption(fmt::format("read lz4 trailer: expected lz4 end frame ({})", detail));
}

// Takes bytes from the front.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  Result<std::span<const std::byte>> Take(std::size_t size) {
    if (rest_.size() < size) return Corruption("unexpected EOF");
    const auto front = rest_.first(size);
    rest_ = rest_.subspan(size);
    return front;
  }
  Result<std::uint32_t> TakeLe32() { return LoadLe32(LS_TRY(Take(4)).data()); }
  std::size_t left() const { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
};

// Returns the flags.
Result<unsigned> ReadFrameHeader(Reader& reader, std::size_t page_size) {
  if (LS_TRY(reader.TakeLe32()) != kMagic) return Corruption("lz4: bad magic number");
  Reader descriptor_reader = reader;
  const auto flags = std::to_integer<unsigned>(LS_TRY(reader.Take(2))[0]);
  if ((flags & kVersionMask) != kVersion || (flags & (kReserved | kDictionary)) != 0) {
    return Corruption(fmt::format("lz4: unsupported frame flags 0x{:02x}", flags));
  }
  if ((flags & kContentSize) != 0) {
    const std::uint64_t size = LoadLe64(LS_TRY(reader.Take(8)).data());
    if (size != page_size) {
      return Corruption(fmt::format("lz4: frame of {} bytes, expecting {}", size, page_size));
    }
  }
  const std::size_t descriptor_size = descriptor_reader.left() - reader.left();
  const std::uint32_t computed =
      (Xxh32(LS_TRY(descriptor_reader.Take(descriptor_size))) >> 8) & 0xff;
  const auto stored = std::to_integer<std::uint32_t>(LS_TRY(reader.Take(1))[0]);
  if (stored != computed) {
    return Corruption(
        fmt::format("lz4: invalid header checksum: got {:x}; expected {:x}", computed, stored));
  }
  return flags;
}

Result<void> ReadBlock(Reader& reader, unsigned flags, std::span<std::byte> page) {
  const std::uint32_t field = LS_TRY(reader.TakeLe32());
  const std::size_t size = field & ~kStored;
  if (size == 0 || size > MaxLz4BlockSize(static_cast<std::uint32_t>(page.size()))) {
    return Corruption(fmt::format("lz4: invalid block size {}", size));
  }
  const auto block = LS_TRY(reader.Take(size));
  if ((flags & kBlockChecksum) != 0 && LS_TRY(reader.TakeLe32()) != Xxh32(block)) {
    return Corruption("lz4: block checksum mismatch");
  }
  if ((field & kStored) != 0) {
    if (size != page.size()) {
      return Corruption(
          fmt::format("lz4: stored block of {} bytes, expecting {}", size, page.size()));
    }
    std::memcpy(page.data(), block.data(), size);
  } else if (!ExpandLz4Block(block, page)) {
    return Corruption("lz4: invalid source or destination buffer too short");
  }
  return {};
}

std::uint32_t Round(std::uint32_t lane, const std::byte* p) {
  return std::rotl(lane + LoadLe32(p) * kPrime2, 13) * kPrime1;
}

}  // namespace

Result<std::size_t> ExpandLz4Frame(std::span<const std::byte> bytes, std::span<std::byte> page) {
  Reader reader(bytes);
  const unsigned flags = LS_TRY(ReadFrameHeader(reader, page.size()));
  LS_TRY(ReadBlock(reader, flags, page));
  const auto end_mark = reader.TakeLe32();
  if (!end_mark.ok()) return NoFrameEnd("unexpected EOF");
  if (end_mark.value() != 0) return NoFrameEnd("another block follows");
  if ((flags & kContentChecksum) != 0) {
    const auto checksum = reader.TakeLe32();
    if (!checksum.ok()) return NoFrameEnd("unexpected EOF");
    if (checksum.value() != Xxh32(page)) return NoFrameEnd("content checksum mismatch");
  }
  return bytes.size() - reader.left();
}

std::uint32_t Xxh32(std::span<const std::byte> bytes) {
  const std::byte* p = bytes.data();
  std::size_t left = bytes.size();
  std::uint32_t hash = kPrime5;
  if (left >= 16) {
    std::uint32_t lanes[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
    for (; left >= 16; p += 16, left -= 16) {
      for (std::size_t i = 0; i < 4; ++i) lanes[i] = Round(lanes[i], p + 4 * i);
    }
    hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) +
           std::rotl(lanes[3], 18);
  }
  hash += static_cast<std::uint32_t>(bytes.size());
  for (; left >= 4; p += 4, left -= 4) {
    hash = std::rotl(hash + LoadLe32(p) * kPrime3, 17) * kPrime4;
  }
  for (; left > 0; ++p, --left) {
    hash = std::rotl(hash + std::to_integer<std::uint32_t>(*p) * kPrime5, 11) * kPrime1;
  }
  hash = (hash ^ (hash >> 15)) * kPrime2;
  hash = (hash ^ (hash >> 13)) * kPrime3;
  return hash ^ (hash >> 16);
}

}  // namespace litestream
