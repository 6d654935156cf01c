#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "tests/support/golden.h"

namespace litestream::testing {

// Sizes, offsets and page numbers are decimal in the golden data; these are not.
inline std::uint64_t Hex(const std::string& text) {
  return std::stoull(text, nullptr, 16);
}

// Empty if there is no such file: the checks of size and sha256 then fail.
inline std::vector<std::byte> ReadFileBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::vector<std::filesystem::path> SortedFolders(const std::filesystem::path& parent) {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  for (const auto& item : std::filesystem::directory_iterator(parent, error)) {
    if (item.is_directory()) folders.push_back(item.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
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

}  // namespace litestream::testing
