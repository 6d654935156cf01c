#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/env.h"

namespace litestream {

// Something that was done and not synced, when the power fails.
struct UnsyncedChange {
  enum class Kind : std::uint8_t {
    kEntry,   // A creation, a removal or a rename (which is one change, whatever directories).
    kSize,    // The new size of a file that was truncated, or extended by a write.
    kSector,  // At most 512 bytes of a write, within one sector.
  };
  Kind kind = Kind::kEntry;
  std::filesystem::path path;      // For a rename: the new one.
  std::uint64_t offset_bytes = 0;  // kSector: where it begins. kSize: the new size.
};
// True: it reached the disk. False: it is lost.
using KeepFunction = std::function<bool(const UnsyncedChange&)>;

// The files of MemoryEnv, twice: as everybody sees them, and as they would be after a power failure
// that loses everything unsynced, with the list of what lies between. No locks, no faults, no
// events; the environment has those.
//
// What a sync makes durable is only what POSIX promises: a file's content by Sync of the file,
// names by SyncDirectory of their directory. A sector is written whole or not at all, and so is a
// rename; everything else may come in any order.
class MemoryDisk {
 public:
  static constexpr std::uint64_t kSectorBytes = 512;
  // Larger than any test wants, and small enough to be a mistake and not the end of memory.
  static constexpr std::uint64_t kMaxFileBytes = std::uint64_t{64} << 30U;

  struct Node;
  using NodePtr = std::shared_ptr<Node>;

  // One write (bytes at offset) or change of size (no bytes) that is not synced.
  struct FileChange {
    bool is_write = false;
    std::uint64_t offset_bytes = 0;  // Or the new size.
    std::vector<std::byte> bytes;
    bool extends = false;  // A write that ended behind the end of the file then.
    bool kept = false;     // Synced, but behind one whose fate is open.
    bool failed = false;   // A sync with it failed: later ones do not try it again.
  };

  struct Node {
    FileStat stat;  // size_bytes is not kept up to date: see Stat.
    // A file's.
    std::vector<std::byte> content;
    std::vector<std::byte> durable_content;
    std::vector<FileChange> unsynced;
    bool locked = false;
    // A directory's.
    std::map<std::string, NodePtr> entries;
    std::map<std::string, NodePtr> durable_entries;
    // The environment's: who wants to hear of it.
    std::vector<std::shared_ptr<void>> watches;

    bool IsDirectory() const { return stat.type == FileType::kDirectory; }
    FileStat Stat() const;
  };

  // Where a path leads. `error_number` 0: the directory exists, and `node` too if it is set.
  struct Place {
    int error_number = 0;
    NodePtr directory;  // Unset for "/".
    std::string name;
    NodePtr node;
    std::filesystem::path path;
  };

  MemoryDisk();

  Place Look(const std::filesystem::path& path) const;

  // Below: `at` is what Look gave, with no change in between, and the operation is allowed there.
  NodePtr Create(const Place& at, FileType type, const FileOwner& owner, NanoTime now);
  void Remove(const Place& at, NanoTime now);
  void Rename(const Place& from, const Place& to, NanoTime now);
  void SyncDirectory(const Node& directory);

  void Write(Node& file, std::span<const std::byte> bytes, std::uint64_t offset_bytes,
             NanoTime now);
  void Resize(Node& file, std::uint64_t size_bytes, NanoTime now);
  void Sync(Node& file);
  // As Linux does it: what was unsynced may or may not have reached the disk, and no later sync
  // tries it again.
  void FailSync(Node& file);

  // The power fails: for each unsynced change `keep` decides. Then everything durable is what is
  // seen.
  void Crash(const KeepFunction& keep);

 private:
  struct Edit {
    NodePtr directory;
    std::string name;
    NodePtr node;  // Unset: removed.
  };
  struct EntryChange {
    std::filesystem::path path;
    std::vector<Edit> edits;  // All or none of them.
  };

  void Change(EntryChange change, NanoTime now);
  static void Apply(const EntryChange& change);
  static void CrashFile(Node& file, const std::filesystem::path& path, const KeepFunction& keep);

  NodePtr root_;
  std::uint64_t last_inode_ = 1;
  std::vector<EntryChange> unsynced_;
};

}  // namespace litestream
