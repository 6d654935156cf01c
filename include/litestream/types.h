#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace litestream {

// Number of a captured batch of commits, 1, 2, 3 ... One level-0 file holds one. 0 means none.
// (A batch holds every commit found in the WAL since the one before; it is not one SQLite
// transaction.)
struct Txid {
  std::uint64_t value = 0;
  friend auto operator<=>(Txid, Txid) = default;
  [[nodiscard]] constexpr Txid Next() const { return Txid{value + 1}; }
};

// Both ends are included.
struct TxidRange {
  Txid min;
  Txid max;
  friend auto operator<=>(const TxidRange&, const TxidRange&) = default;
};

// Page number, from 1. 0 means none.
struct Pgno {
  std::uint32_t value = 0;
  friend auto operator<=>(Pgno, Pgno) = default;
};

// 0: as captured. 1 to 8: merged. 9: snapshots.
struct Level {
  std::uint8_t value = 0;
  friend auto operator<=>(Level, Level) = default;
};

inline constexpr Level kLevel0{0};
inline constexpr Level kMaxMergeLevel{8};
inline constexpr Level kSnapshotLevel{9};
inline constexpr int kLevelCount = 10;

// UTC. What LTX files can store.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
// Never jumps; only differences mean something.
using MonoTime = std::chrono::steady_clock::time_point;

}  // namespace litestream
