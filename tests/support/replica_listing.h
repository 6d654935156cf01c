#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "replica/plan.h"

namespace litestream::testing {

// A file of a replica that is only listed.
struct ListedFile {
  int level = 0;
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  std::int64_t created_ms = 0;
};

inline WallTime At(std::int64_t ms) {
  return WallTime(std::chrono::milliseconds(ms));
}

inline FileInfo Info(const ListedFile& f) {
  return {.id = {Level{static_cast<std::uint8_t>(f.level)}, {Txid{f.min}, Txid{f.max}}},
          .size_bytes = 1000,
          .created_at = At(f.created_ms)};
}

// As ListReplica would return it.
inline ReplicaListing Listing(const std::vector<ListedFile>& files) {
  ReplicaListing listing;
  for (const ListedFile& f : files) {
    listing.levels[static_cast<std::size_t>(f.level)].push_back(Info(f));
  }
  for (auto& level : listing.levels) {
    std::ranges::sort(level, {}, [](const FileInfo& file) { return file.id.txids; });
  }
  return listing;
}

}  // namespace litestream::testing
