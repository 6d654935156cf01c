#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/try.h"
#include "format/ltx_decoder.h"

namespace litestream {

// Sizes, offsets and page numbers are decimal in the golden data; TXIDs and checksums are not.
inline std::uint64_t Hex(const std::string& text) {
  return std::stoull(text, nullptr, 16);
}

// As a reader does that has only ranges of the file: the tail first, then the index in pieces.
inline Result<std::vector<LtxIndexEntry>> ReadIndexFromEnd(std::span<const std::byte> file,
                                                           std::size_t piece) {
  const auto last = file.last(std::min(file.size(), kLtxTailSize));
  const LtxTail tail = LS_TRY(ParseLtxTail(last, file.size()));
  LtxIndexReader reader(tail.index_offset, tail.index_bytes);
  std::vector<LtxIndexEntry> entries;
  auto rest = file.subspan(tail.index_offset, tail.index_bytes);
  while (!rest.empty()) {
    const auto part = rest.first(std::min(piece, rest.size()));
    LS_TRY(reader.Feed(part, entries));
    rest = rest.subspan(part.size());
  }
  LS_TRY(reader.Finish());
  return entries;
}

}  // namespace litestream
