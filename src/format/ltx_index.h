#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "format/ltx.h"

namespace litestream {

// The page index of an LTX file: for each page three varints (unsigned LEB128) with page number,
// offset and size of its frame; then a zero byte.

// A 32-bit page number, and twice 64 bits.
inline constexpr std::size_t kMaxLtxIndexEntrySize = 5 + 10 + 10;

// Writes the entry to `out` and returns the byte behind it.
std::byte* PutLtxIndexEntry(std::byte* out, const LtxIndexEntry& entry);

// What an encoder has to remember of the frames it wrote. Two bytes for most pages, because frames
// are adjacent and pages mostly follow one another: the sizes tell the offsets.
class LtxIndexLog {
 public:
  void Add(Pgno pgno, std::size_t frame_size);

  // Reads the log from the front. Borrows it; nothing may be added meanwhile.
  class Reader {
   public:
    explicit Reader(const LtxIndexLog& log) : log_(&log) {}
    // False at the end.
    bool Next(LtxIndexEntry& entry);

   private:
    const LtxIndexLog* log_;
    std::size_t chunk_ = 0;
    std::size_t position_ = 0;
    LtxIndexEntry last_{.pgno = Pgno{0}, .offset_bytes = kLtxHeaderSize, .size_bytes = 0};
  };

 private:
  static constexpr std::size_t kChunkSize = std::size_t{16} << 10;
  struct Chunk {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t used = 0;
  };

  std::vector<Chunk> chunks_;
  Pgno last_;
};

// Size and checksum of the index that belongs to a series of frames. A decoder compares them with
// those of the index in the file, and need not hold either.
class LtxIndexDigest {
 public:
  void Add(const LtxIndexEntry& entry);
  // After the last entry.
  void AddTerminator();
  std::uint64_t size_bytes() const { return size_bytes_; }
  std::uint64_t crc() const { return crc_; }

 private:
  void Flush();

  std::array<std::byte, 1024> buffer_;
  std::size_t used_ = 0;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t crc_ = 0;
};

}  // namespace litestream
