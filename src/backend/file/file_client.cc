#include "backend/file/file_client.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "backend/file/directories.h"
#include "base/temp_file.h"
#include "base/try.h"
#include "format/crc64.h"
#include "format/names.h"
#include "storage/layout.h"

namespace litestream {
namespace {

using std::filesystem::path;

// Decimal first: what stands there is newer than what was copied from a bucket.
constexpr std::array kLayouts = {ReplicaLayout::kLtxDecimal, ReplicaLayout::kHexLevel};
constexpr std::size_t kCopyBytes = 1 << 20;
constexpr std::chrono::hours kOtherVersionAge{24};  // Of a temporary file.
// The disk works on this much while the next is read, so that the fsync at the end is short.
constexpr std::uint64_t kWritebackBytes = 8 << 20;
constexpr std::size_t kObjectLimitBytes = 1 << 20;
// Held for every conditional write below the root.
constexpr std::string_view kLockName = ".litestream.lock";
constexpr std::chrono::milliseconds kLockPoll{2};
constexpr std::chrono::seconds kLockWait{10};

// Without "." parts and a slash at the end.
std::string CleanRoot(const path& root) {
  const path clean = root.lexically_normal();
  return clean.has_filename() ? clean.native() : clean.parent_path().native();
}

NanoTime ToNanoTime(WallTime time) {
  using std::chrono::milliseconds;
  using std::chrono::nanoseconds;
  constexpr auto kMax = std::chrono::floor<milliseconds>(nanoseconds::max());
  constexpr auto kMin = std::chrono::ceil<milliseconds>(nanoseconds::min());
  return NanoTime(std::clamp(time.time_since_epoch(), kMin, kMax));
}

// Rounded up, as the moment asked for is: a file of that very moment must not count as older. (Only
// files of Litestream v0.5.0 and copies have a fraction; what we write has whole milliseconds.)
WallTime ToWallTime(NanoTime time) {
  return std::chrono::ceil<std::chrono::milliseconds>(time);
}

std::string TagOf(std::string_view content) {
  return fmt::format("{:016x}-{}", Crc64(0, std::as_bytes(std::span(content))), content.size());
}

// A write never says kNotFound or kAlreadyExists because of its directories or temporary files:
// they would be taken for answers about the file.
Error ForWrite(const Error& error) {
  if (error.Is(ErrorCode::kNotFound)) {
    return {ErrorCode::kUnavailable,
            error.message() + "; the replica's directory changed meanwhile"};
  }
  if (error.Is(ErrorCode::kDenied)) {
    return {ErrorCode::kDenied, error.message() + "; a replica must be writable for this user"};
  }
  return error.Is(ErrorCode::kAlreadyExists) ? Error(ErrorCode::kIo, error.message()) : error;
}

class FileSource final : public ByteSource {
 public:
  FileSource(std::unique_ptr<File> file, const ByteRange& range)
      : file_(std::move(file)),
        offset_bytes_(range.offset_bytes),
        left_bytes_(range.length_bytes == 0 ? std::numeric_limits<std::uint64_t>::max()
                                            : range.length_bytes) {
    // Further than a file can reach: pread would call it an error.
    if (offset_bytes_ > kMaxOffset) left_bytes_ = 0;
    left_bytes_ = std::min(left_bytes_, kMaxOffset - std::min(offset_bytes_, kMaxOffset));
  }

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    LS_TRY(ctx.Check());
    out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_bytes_)));
    if (out.empty()) return std::size_t{0};
    const std::size_t count = LS_TRY(file_->ReadAt(out, offset_bytes_));
    offset_bytes_ += count;
    left_bytes_ -= count;
    return count;
  }

 private:
  static constexpr std::uint64_t kMaxOffset = std::numeric_limits<std::int64_t>::max();
  const std::unique_ptr<File> file_;
  std::uint64_t offset_bytes_;
  std::uint64_t left_bytes_;
};

// The lock on a replica's small objects. Removes its file before it lets go: Env::Lock sees when it
// got hold of a removed one.
class ObjectLock {
 public:
  ObjectLock(Env& env, path name, std::unique_ptr<FileLock> lock)
      : env_(env), name_(std::move(name)), lock_(std::move(lock)) {}
  ~ObjectLock() { static_cast<void>(env_.Remove(name_)); }
  ObjectLock(const ObjectLock&) = delete;
  ObjectLock& operator=(const ObjectLock&) = delete;

 private:
  Env& env_;
  const path name_;
  const std::unique_ptr<FileLock> lock_;
};

class FileClient final : public ReplicaClient {
 public:
  FileClient(Env& env, const FileClientOptions& options)
      : env_(env),
        root_(CleanRoot(options.root)),
        owner_(options.owner),
        directories_(env, root_, options.owner) {}

  std::string_view type() const override { return "file"; }
  std::string Describe() const override { return root_; }
  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override;
  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override;
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override;
  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override;
  Result<void> DeleteAll(const Context& ctx) override;
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override;
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override;
  Result<void> DeleteObject(const Context& ctx, std::string_view name,
                            std::string_view tag) override;
  Result<std::vector<ObjectInfo>> ListObjects(const Context& ctx, std::string_view prefix,
                                              std::size_t limit) override;
  Result<std::unique_ptr<ByteSource>> OpenObject(const Context& ctx, std::string_view name,
                                                 const ByteRange& range) override;

 private:
  Result<void> Begin(const Context& ctx) const;
  path root() const { return root_; }
  path PathOf(ReplicaLayout layout, const FileId& id) const {
    return root() / RelativePath(layout, id);
  }
  Result<bool> HasRoot() const;
  Result<void> AddObjects(const Context& ctx, const std::string& folder, std::string_view prefix,
                          std::vector<ObjectInfo>& objects) const;
  Result<path> PathOfObject(std::string_view name) const;
  void SweepOnce();
  Result<void> EnsureDirectory(const path& directory);
  Result<void> SyncDirectoryOf(const path& name);
  Result<std::unique_ptr<TempFile>> CreateTemp(const path& final_path);
  Result<std::unique_ptr<ObjectLock>> LockObjects(const Context& ctx);

  Env& env_;
  const std::string root_;  // There are many clients; a path is six times as large.
  const FileOwner owner_;
  DirectoryMaker directories_;
  std::atomic<bool> swept_ = false;
};

Result<void> FileClient::Begin(const Context& ctx) const {
  if (root_.empty()) return Error(ErrorCode::kInvalidArgument, "file replica path required");
  return ctx.Check();
}

// False: there is none. A file in its place has nothing below it either, but is not an empty
// replica.
Result<bool> FileClient::HasRoot() const {
  const auto stat = env_.Stat(root_);
  if (!stat.ok() && stat.error().Is(ErrorCode::kNotFound)) return false;
  // What lies below it says what is wrong.
  if (!stat.ok() || stat.value().type == FileType::kDirectory) return true;
  return Error(ErrorCode::kInvalidArgument, fmt::format("{} is not a directory", root_));
}

// ---- Listing and reading

struct Found {
  TxidRange txids;
  ReplicaLayout layout;
};

// Adds what the directory of one level holds, from options.seek on. Unsorted.
Result<void> AddNames(Env& env, const path& directory, ReplicaLayout layout, Txid seek,
                      std::vector<Found>& found) {
  auto entries = env.List(directory);
  if (!entries.ok()) {
    if (entries.error().Is(ErrorCode::kNotFound)) return {};
    return std::move(entries).error();
  }
  for (const DirectoryEntry& entry : entries.value()) {
    const auto txids = ParseLtxFilename(entry.name);
    if (!txids || txids->min < seek || entry.type == FileType::kDirectory) continue;
    found.push_back({.txids = *txids, .layout = layout});
  }
  return {};
}

Result<std::vector<FileInfo>> FileClient::List(const Context& ctx, Level level,
                                               const ListOptions& options) {
  LS_TRY(Begin(ctx));
  if (!LS_TRY(HasRoot())) return std::vector<FileInfo>();
  std::vector<Found> found;
  for (const ReplicaLayout layout : kLayouts) {
    LS_TRY(AddNames(env_, root() / LevelPrefix(layout, level), layout, options.seek, found));
  }
  std::ranges::sort(found, [](const Found& a, const Found& b) {
    return a.txids != b.txids ? a.txids < b.txids : a.layout < b.layout;
  });
  // Not std::ranges::unique, which clang 14 cannot parse.
  const auto same = [](const Found& a, const Found& b) { return a.txids == b.txids; };
  found.erase(std::unique(found.begin(), found.end(), same), found.end());

  std::vector<FileInfo> files;
  files.reserve(options.limit == 0 ? found.size() : std::min(options.limit, found.size()));
  for (const Found& f : found) {
    if (options.limit != 0 && files.size() == options.limit) break;
    LS_TRY(ctx.Check());
    const FileId id{.level = level, .txids = f.txids};
    auto stat = env_.Stat(PathOf(f.layout, id));
    if (!stat.ok()) {
      if (stat.error().Is(ErrorCode::kNotFound)) continue;  // Deleted since.
      return std::move(stat).error();
    }
    if (stat.value().type != FileType::kRegular) continue;
    files.push_back({.id = id,
                     .size_bytes = stat.value().size_bytes,
                     .created_at = ToWallTime(stat.value().modified_at)});
  }
  return files;
}

Result<std::unique_ptr<ByteSource>> FileClient::Open(const Context& ctx, const FileId& id,
                                                     const ByteRange& range) {
  LS_TRY(Begin(ctx));
  const path decimal = PathOf(ReplicaLayout::kLtxDecimal, id);
  auto file = env_.Open(decimal, {});
  if (!file.ok() && file.error().Is(ErrorCode::kNotFound)) {
    auto other = env_.Open(PathOf(ReplicaLayout::kHexLevel, id), {});
    if (other.ok() || !other.error().Is(ErrorCode::kNotFound)) file = std::move(other);
  }
  return std::make_unique<FileSource>(LS_TRY(std::move(file), "open ltx file {}", decimal.string()),
                                      range);
}

// ---- Writing

// Removes from `directory` what dead writers left: temporary files of ours that nobody has locked,
// and those of other versions ("<LTX name>.tmp", no lock) that nobody touched for a day. Whatever
// goes wrong leaves files in place, and is no error.
void SweepTempFiles(Env& env, const path& directory) {
  const auto entries = env.List(directory);
  if (!entries.ok()) return;
  for (const DirectoryEntry& entry : entries.value()) {
    if (entry.type != FileType::kRegular) continue;
    const path name = directory / entry.name;
    if (!TempFileStem(entry.name).empty()) {
      static_cast<void>(RemoveDeadTempFile(env, name));
    } else if (name.extension() == ".tmp" && ParseLtxFilename(name.stem().string())) {
      const auto stat = env.Stat(name);
      const NanoTime limit = env.clock().Now() - kOtherVersionAge;
      if (stat.ok() && stat.value().changed_at < limit) static_cast<void>(env.Remove(name));
    }
  }
}

void FileClient::SweepOnce() {
  if (swept_.exchange(true)) return;
  SweepTempFiles(env_, root_);
  const path levels = root() / "ltx";
  const auto entries = env_.List(levels);
  if (!entries.ok()) return;
  for (const DirectoryEntry& entry : entries.value()) {
    if (entry.type == FileType::kDirectory) SweepTempFiles(env_, levels / entry.name);
  }
}

Result<void> FileClient::EnsureDirectory(const path& directory) {
  auto made = directories_.Ensure(directory);
  if (made.ok()) return {};
  return ForWrite(made.error())
      .Wrap(fmt::format("create replica directory {}", directory.string()));
}

Result<void> FileClient::SyncDirectoryOf(const path& name) {
  auto synced = env_.SyncDirectory(ParentDirectory(name));
  if (!synced.ok()) return ForWrite(synced.error());
  return {};
}

Result<std::unique_ptr<TempFile>> FileClient::CreateTemp(const path& final_path) {
  for (bool again = true;; again = false) {
    LS_TRY(EnsureDirectory(ParentDirectory(final_path)));
    auto temp = TempFile::Create(env_, final_path, owner_);
    if (temp.ok()) return temp;
    if (!temp.error().Is(ErrorCode::kNotFound) || !again) return ForWrite(temp.error());
    // Somebody removed the directories that were there a moment ago.
    directories_.Forget();
  }
}

// Returns how many bytes. kCorruption if it is not what was announced.
Result<std::uint64_t> CopyBody(const Context& ctx, ByteSource& body, File& file,
                               const std::optional<std::uint64_t>& announced_bytes) {
  // One byte more than the body has, so that a small one takes one write and its end shows.
  const auto buffer_bytes = static_cast<std::size_t>(
      announced_bytes ? std::min<std::uint64_t>(*announced_bytes, kCopyBytes - 1) + 1 : kCopyBytes);
  const auto memory = std::make_unique_for_overwrite<std::byte[]>(buffer_bytes);
  const std::span<std::byte> buffer(memory.get(), buffer_bytes);
  std::uint64_t size_bytes = 0;
  std::uint64_t started_bytes = 0;
  for (bool at_end = false; !at_end;) {
    LS_TRY(ctx.Check());
    const std::size_t count = LS_TRY(ReadFull(ctx, body, buffer));
    at_end = count < buffer.size();
    const bool too_long = announced_bytes && count > *announced_bytes - size_bytes;
    if (too_long || (at_end && announced_bytes && size_bytes + count != *announced_bytes)) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("body has {}{} bytes, {} were announced",
                               too_long ? "at least " : "", size_bytes + count, *announced_bytes));
    }
    if (count > 0) LS_TRY(file.WriteAt(buffer.first(count), size_bytes));
    size_bytes += count;
    if (size_bytes - started_bytes >= kWritebackBytes) {
      file.StartWriteback(started_bytes, size_bytes - started_bytes);
      started_bytes = size_bytes;
    }
  }
  return size_bytes;
}

Result<FileInfo> FileClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                   const WriteOptions& options) {
  LS_TRY(Begin(ctx));
  const path final_path = PathOf(ReplicaLayout::kLtxDecimal, id);
  const auto already_exists = [&final_path] {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("write ltx file {}: it exists", final_path.string()));
  };
  if (options.if_absent) {
    for (const ReplicaLayout layout : kLayouts) {
      if (LS_TRY(Exists(env_, PathOf(layout, id)))) return already_exists();
    }
  }
  SweepOnce();
  const auto temp = LS_TRY(CreateTemp(final_path), "write ltx file {}", final_path.string());
  const std::uint64_t size_bytes = LS_TRY(CopyBody(ctx, body, temp->file(), options.size_bytes),
                                          "write ltx file {}", final_path.string());
  LS_TRY(temp->file().SetModified(ToNanoTime(options.created_at)));
  LS_TRY(temp->file().Sync());
  LS_TRY(ctx.Check());
  if (auto published = temp->Publish(final_path, options.if_absent); !published.ok()) {
    if (options.if_absent && published.error().Is(ErrorCode::kAlreadyExists)) {
      return already_exists();
    }
    return ForWrite(published.error());
  }
  LS_TRY(SyncDirectoryOf(final_path));
  return FileInfo{.id = id, .size_bytes = size_bytes, .created_at = options.created_at};
}

// ---- Deleting

Result<void> FileClient::Delete(const Context& ctx, std::span<const FileId> ids) {
  if (ids.empty()) return {};
  LS_TRY(Begin(ctx));
  std::set<path> changed;
  Result<void> result;
  for (const FileId& id : ids) {
    result = ctx.Check();
    for (const ReplicaLayout layout : kLayouts) {
      if (!result.ok()) break;
      const path name = PathOf(layout, id);
      result = env_.Remove(name);
      if (result.ok()) {
        changed.insert(ParentDirectory(name));
      } else if (result.error().Is(ErrorCode::kNotFound)) {
        result = {};
      }
    }
    if (!result.ok()) break;
  }
  // A file that comes back after a power failure would be taken for one that was never deleted.
  for (const path& directory : changed) {
    auto synced = env_.SyncDirectory(directory);
    if (!synced.ok() && !synced.error().Is(ErrorCode::kNotFound) && result.ok()) result = synced;
  }
  if (!result.ok()) return std::move(result).error().Wrap("delete ltx files");
  return {};
}

Result<void> FileClient::DeleteAll(const Context& ctx) {
  LS_TRY(Begin(ctx));
  const path name = root().filename();
  if (name.empty() || name == "." || name == "..") {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("refuse to delete everything below {}: not the name of a replica's "
                             "directory",
                             root_));
  }
  auto entries = env_.List(root_);
  if (!entries.ok()) {
    if (entries.error().Is(ErrorCode::kNotFound)) return {};
    return std::move(entries).error().Wrap("delete replica");
  }
  for (const DirectoryEntry& entry : entries.value()) {
    LS_TRY(ctx.Check());
    LS_TRY(env_.RemoveTree(root() / entry.name), "delete replica {}", root_);
  }
  directories_.Forget();
  LS_TRY(env_.SyncDirectory(root_));
  return {};
}

// ---- Small objects with conditional writes

Result<path> FileClient::PathOfObject(std::string_view name) const {
  const path relative(name);
  const bool plain = !relative.empty() && relative.is_relative() && relative.has_filename() &&
                     relative.native() == relative.lexically_normal().native() &&
                     *relative.begin() != ".." && relative != "." && relative != kLockName;
  if (!plain) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("bad object name \"{}\"", name));
  }
  return root() / relative;
}

Result<std::unique_ptr<ObjectLock>> FileClient::LockObjects(const Context& ctx) {
  const path name = root() / kLockName;
  const MonoTime give_up = ctx.clock().Monotonic() + kLockWait;
  for (bool again = true;;) {
    LS_TRY(EnsureDirectory(root_));
    auto lock = env_.Lock(name, owner_);
    if (lock.ok()) return std::make_unique<ObjectLock>(env_, name, std::move(lock).value());
    if (lock.error().Is(ErrorCode::kNotFound) && again) {
      again = false;
      directories_.Forget();
      continue;
    }
    if (!lock.error().Is(ErrorCode::kAlreadyExists)) return ForWrite(lock.error());
    if (ctx.clock().Monotonic() >= give_up) {
      return Error(ErrorCode::kUnavailable,
                   fmt::format("another process holds {} for too long", name.string()));
    }
    LS_TRY(ctx.Wait(kLockPoll));
  }
}

Result<TaggedObject> FileClient::GetObject(const Context& ctx, std::string_view name) {
  LS_TRY(Begin(ctx));
  std::string content =
      LS_TRY(ReadSmallFile(env_, LS_TRY(PathOfObject(name)), kObjectLimitBytes), "get {}", name);
  std::string tag = TagOf(content);
  return TaggedObject{.content = std::move(content), .tag = std::move(tag)};
}

Result<std::string> FileClient::PutObject(const Context& ctx, std::string_view name,
                                          std::string_view content, std::string_view tag) {
  LS_TRY(Begin(ctx));
  const path final_path = LS_TRY(PathOfObject(name));
  const auto lost = [name] {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("put {}: it is not what it was expected to be", name));
  };
  SweepOnce();
  const auto lock = LS_TRY(LockObjects(ctx), "put {}", name);
  auto current = GetObject(ctx, name);
  if (!current.ok() && !current.error().Is(ErrorCode::kNotFound)) return std::move(current).error();
  if (current.ok() ? tag.empty() || current.value().tag != tag : !tag.empty()) return lost();

  const auto temp = LS_TRY(CreateTemp(final_path), "put {}", name);
  LS_TRY(temp->file().WriteAt(std::as_bytes(std::span(content)), 0));
  LS_TRY(temp->file().Sync());
  if (auto published = temp->Publish(final_path, /*if_absent=*/tag.empty()); !published.ok()) {
    // A host that does not see our lock, on a network file system.
    if (tag.empty() && published.error().Is(ErrorCode::kAlreadyExists)) return lost();
    return ForWrite(published.error());
  }
  LS_TRY(SyncDirectoryOf(final_path));
  return TagOf(content);
}

Result<void> FileClient::DeleteObject(const Context& ctx, std::string_view name,
                                      std::string_view tag) {
  // Before the lock: nothing is created where nothing is.
  if (auto before = GetObject(ctx, name); !before.ok()) return std::move(before).error();
  const path final_path = LS_TRY(PathOfObject(name));
  const auto lock = LS_TRY(LockObjects(ctx), "delete {}", name);
  const auto current = LS_TRY(GetObject(ctx, name));
  if (!tag.empty() && current.tag != tag) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("delete {}: it is not what it was expected to be", name));
  }
  LS_TRY(env_.Remove(final_path));
  LS_TRY(SyncDirectoryOf(final_path));
  return {};
}

// ---- Whatever lies there

// Those in `folder`, "" or ending with a slash, and below it.
Result<void> FileClient::AddObjects(const Context& ctx, const std::string& folder,
                                    std::string_view prefix,
                                    std::vector<ObjectInfo>& objects) const {
  LS_TRY(ctx.Check());
  const auto entries = env_.List(root() / folder);
  if (!entries.ok() && entries.error().Is(ErrorCode::kNotFound)) return {};
  for (const DirectoryEntry& entry : LS_TRY(entries)) {
    const std::string name = folder + entry.name;
    if (entry.type == FileType::kDirectory) {
      const std::string below = name + "/";
      const bool leads_there = below.starts_with(prefix) || prefix.starts_with(below);
      if (leads_there) LS_TRY(AddObjects(ctx, below, prefix, objects));
      continue;
    }
    if (entry.type != FileType::kRegular || !name.starts_with(prefix)) continue;
    const auto stat = env_.Stat(root() / name);
    if (!stat.ok() && stat.error().Is(ErrorCode::kNotFound)) continue;  // Deleted since.
    const FileStat& file = LS_TRY(stat);
    objects.push_back(
        {.name = name, .size_bytes = file.size_bytes, .modified_at = ToWallTime(file.modified_at)});
  }
  return {};
}

Result<std::vector<ObjectInfo>> FileClient::ListObjects(const Context& ctx, std::string_view prefix,
                                                        std::size_t limit) {
  LS_TRY(Begin(ctx));
  std::vector<ObjectInfo> objects;
  LS_TRY(AddObjects(ctx, "", prefix, objects), "list {}", root_);
  std::ranges::sort(objects, {}, &ObjectInfo::name);
  if (limit != 0 && objects.size() > limit) objects.resize(limit);
  return objects;
}

Result<std::unique_ptr<ByteSource>> FileClient::OpenObject(const Context& ctx,
                                                           std::string_view name,
                                                           const ByteRange& range) {
  LS_TRY(Begin(ctx));
  const path file = LS_TRY(PathOfObject(name));
  return std::make_unique<FileSource>(LS_TRY(env_.Open(file, {}), "open {}", file.string()), range);
}

}  // namespace

std::unique_ptr<ReplicaClient> MakeFileClient(Env& env, const FileClientOptions& options) {
  return std::make_unique<FileClient>(env, options);
}

}  // namespace litestream
