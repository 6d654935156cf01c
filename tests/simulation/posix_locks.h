#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace litestream::sim {

// The kernel's record locks (fcntl), as far as SQLite uses them: a lock belongs to a process and an
// inode, not to a descriptor, and a close of any descriptor of the inode drops them all. What
// SQLite locks as one range is one place here, named by its first byte.
class PosixLocks {
 public:
  enum class Kind : std::uint8_t { kNone, kShared, kExclusive };
  using ProcessId = std::uint32_t;

  // False: another process holds a lock that forbids it, and nothing has changed.
  bool Set(ProcessId process, std::uint64_t inode, std::uint64_t place, Kind kind) {
    const auto key = std::pair(inode, place);
    if (kind == Kind::kNone) {
      if (const auto it = places_.find(key); it != places_.end()) {
        it->second.erase(process);
        if (it->second.empty()) places_.erase(it);
      }
      return true;
    }
    if (Strongest(process, inode, place, kind) != Kind::kNone) return false;
    places_[key][process] = kind;
    return true;
  }

  // What F_GETLK answers: the kind of a lock of another process that forbids `wanted`.
  Kind Strongest(ProcessId process, std::uint64_t inode, std::uint64_t place, Kind wanted) const {
    const auto it = places_.find(std::pair(inode, place));
    if (it == places_.end()) return Kind::kNone;
    for (const auto& [owner, kind] : it->second) {
      if (owner == process) continue;
      if (kind == Kind::kExclusive || wanted == Kind::kExclusive) return kind;
    }
    return Kind::kNone;
  }

  // True if there was a lock to lose.
  bool CloseAny(ProcessId process, std::uint64_t inode) {
    bool lost = false;
    for (auto it = places_.lower_bound(std::pair(inode, std::uint64_t{0}));
         it != places_.end() && it->first.first == inode;) {
      lost = it->second.erase(process) > 0 || lost;
      it = it->second.empty() ? places_.erase(it) : std::next(it);
    }
    return lost;
  }

  void Die(ProcessId process) {
    for (auto it = places_.begin(); it != places_.end();) {
      it->second.erase(process);
      it = it->second.empty() ? places_.erase(it) : std::next(it);
    }
  }

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::map<ProcessId, Kind>> places_;
};

}  // namespace litestream::sim
