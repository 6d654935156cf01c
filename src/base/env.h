#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "litestream/clock.h"
#include "litestream/result.h"

namespace litestream {

using NanoTime = std::chrono::sys_time<std::chrono::nanoseconds>;

enum class FileType : std::uint8_t { kRegular, kDirectory, kSymlink, kOther };

// What identifies a file, whatever paths lead to it.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};

struct FileStat {
  FileIdentity identity;
  FileType type = FileType::kRegular;
  std::uint64_t size_bytes = 0;
  NanoTime modified_at;
  NanoTime changed_at;
  std::uint32_t mode = 0;  // Permission bits only.
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

// Who owns a new file and what others may do with it.
struct FileOwner {
  std::uint32_t mode = 0600;         // The umask still applies.
  std::optional<std::uint32_t> uid;  // A chown that is not allowed is no error.
  std::optional<std::uint32_t> gid;
};

struct OpenOptions {
  bool write = false;
  bool create = false;
  bool exclusive = false;  // With create: kAlreadyExists if it is there.
  bool truncate = false;
  FileOwner owner;  // With create, for a file that was not there.
};

// An open file. Positional calls are safe to make concurrently. Closed by the destructor.
class File {
 public:
  virtual ~File() = default;
  // Bytes read; fewer than asked for only at the end of the file.
  virtual Result<std::size_t> ReadAt(std::span<std::byte> out, std::uint64_t offset_bytes) = 0;
  // All of them, or an error (kNoSpace for a full disk or quota).
  virtual Result<void> WriteAt(std::span<const std::byte> bytes, std::uint64_t offset_bytes) = 0;
  virtual Result<void> Truncate(std::uint64_t size_bytes) = 0;
  // Makes the file at least so large, and reserves the space so that writes within it do not fail
  // for lack of it. Where the file system cannot reserve, only the size changes.
  virtual Result<void> Allocate(std::uint64_t size_bytes) = 0;
  virtual Result<void> Sync() = 0;      // fsync
  virtual Result<void> SyncData() = 0;  // fdatasync
  // A hint: start writing this range to the disk now, so that a later Sync has less to do.
  virtual void StartWriteback(std::uint64_t offset_bytes, std::uint64_t length_bytes) = 0;
  virtual Result<FileStat> Stat() = 0;
  virtual Result<void> SetModified(NanoTime at) = 0;
};

// Released by the destructor, and by the system when the process dies.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct DirectoryEntry {
  std::string name;
  FileType type = FileType::kRegular;
};

enum class FileEvent : std::uint8_t {
  kModified,  // The watched file was written (one-shot: armed again by the next call).
  kEntry,     // In a watched directory, the named entry was created, moved or deleted.
  kOverflow,  // Events were lost: test everything. Armed watches stay armed.
  kGone,      // The watched file or directory itself is gone; the watch has ended.
};
// Called from the Env's own thread; must only note and wake. `name` is the entry, for kEntry.
using FileEventCallback = std::function<void(FileEvent event, const std::string& name)>;

// Ends the watch when destroyed: the callback is not running then, and will not run. (Destroyed
// from within the callback, that holds when the callback has returned.) So destroy it with no lock
// held that the callback takes.
class FileWatch {
 public:
  virtual ~FileWatch() = default;
  // For a one-shot watch: report the next change too. kNotFound if the file is gone.
  virtual Result<void> Rearm() = 0;
};

// The machine's files. The real one calls the system; the in-memory one keeps what was written
// apart from what was synced, and can lose the rest. Safe for concurrent calls.
//
// Errors: kNotFound, kAlreadyExists, kDenied, kNoSpace, kInvalidArgument (such as a name that is
// too long, or a directory where a file belongs), kUnavailable (a network file system), kIo; the
// message says the call and path.
class Env {
 public:
  virtual ~Env() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::filesystem::path& path,
                                             const OpenOptions& options) = 0;
  // Follows symbolic links.
  virtual Result<FileStat> Stat(const std::filesystem::path& path) = 0;
  // Where a symbolic link leads, link after link, whether something is there or not; the path
  // itself if it is no link. (Of the last part only: a directory of the path may be a link.)
  virtual Result<std::filesystem::path> ResolveLink(const std::filesystem::path& path) {
    return path;
  }
  virtual Result<void> Rename(const std::filesystem::path& from,
                              const std::filesystem::path& to) = 0;
  // Like Rename, but kAlreadyExists when `to` exists (and `from` then stays).
  virtual Result<void> RenameNoReplace(const std::filesystem::path& from,
                                       const std::filesystem::path& to) = 0;
  virtual Result<void> Remove(const std::filesystem::path& path) = 0;      // A file.
  virtual Result<void> RemoveTree(const std::filesystem::path& path) = 0;  // Nothing there: fine.
  // One directory; kAlreadyExists if something is there.
  virtual Result<void> CreateDirectory(const std::filesystem::path& path,
                                       const FileOwner& owner) = 0;
  // Unsorted, without "." and "..".
  virtual Result<std::vector<DirectoryEntry>> List(const std::filesystem::path& path) = 0;
  // Makes creations, renames and removals in the directory durable.
  virtual Result<void> SyncDirectory(const std::filesystem::path& path) = 0;
  // An exclusive flock on the file, created if missing. kAlreadyExists if somebody else holds it.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::filesystem::path& path,
                                                 const FileOwner& owner) = 0;
  // Whether somebody holds it; not if the file is missing. Keeps nobody out who comes to lock it.
  virtual Result<bool> IsLocked(const std::filesystem::path& path);

  // Tells of the next write to the file, once.
  virtual Result<std::unique_ptr<FileWatch>> WatchFile(const std::filesystem::path& path,
                                                       FileEventCallback callback) = 0;
  // Tells of entries that are created, moved and deleted in the directory, until destroyed.
  virtual Result<std::unique_ptr<FileWatch>> WatchDirectory(const std::filesystem::path& path,
                                                            FileEventCallback callback) = 0;
  // The same of these entries only: what the others cost does not grow with the number of watches.
  virtual Result<std::unique_ptr<FileWatch>> WatchEntries(const std::filesystem::path& path,
                                                          std::vector<std::string> names,
                                                          FileEventCallback callback);

  virtual void Random(std::span<std::byte> out) = 0;
  // Names the time since the machine was started: another one means that what was written before
  // and not synced may be gone, in any part. Empty: not known.
  virtual std::string BootId() { return {}; }
  virtual const Clock& clock() const = 0;

  // The machine's. Lives for ever.
  static Env& Real();
};

// Creates what is missing of `path`, and syncs the parents of what it created.
Result<void> CreateDirectories(Env& env, const std::filesystem::path& path, const FileOwner& owner);
// The same of what lies between `base` and `path`, which begins with it; `base` itself is not made:
// kNotFound if it is not there, or goes meanwhile.
Result<void> CreateDirectoriesBelow(Env& env, const std::filesystem::path& base,
                                    const std::filesystem::path& path, const FileOwner& owner);
// The whole of a small file. kCorruption if it is larger than `limit_bytes`.
Result<std::string> ReadSmallFile(Env& env, const std::filesystem::path& path,
                                  std::size_t limit_bytes);
// Replaces the file so that after a crash the old or the new content is there: temporary file in
// the same directory (`path` with ".tmp"), fsync, rename, fsync of the directory. After an error,
// too, it is one of the two. One caller at a time for a path.
Result<void> WriteFileAtomically(Env& env, const std::filesystem::path& path,
                                 std::span<const std::byte> content, const FileOwner& owner);
Result<bool> Exists(Env& env, const std::filesystem::path& path);

}  // namespace litestream
