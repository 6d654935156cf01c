#include "base/memory_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "base/posix_env.h"

namespace litestream {
namespace {

constexpr std::uint64_t kDevice = 1;

void Overwrite(std::vector<std::byte>& content, std::span<const std::byte> bytes,
               std::uint64_t offset_bytes) {
  if (bytes.empty()) return;
  content.resize(std::max<std::size_t>(content.size(), offset_bytes + bytes.size()));
  std::memcpy(content.data() + offset_bytes, bytes.data(), bytes.size());
}

void ApplyTo(std::vector<std::byte>& content, const MemoryDisk::FileChange& change) {
  if (change.is_write) {
    Overwrite(content, change.bytes, change.offset_bytes);
  } else {
    content.resize(change.offset_bytes);
  }
}

}  // namespace

FileStat MemoryDisk::Node::Stat() const {
  FileStat result = stat;
  result.size_bytes = content.size();
  return result;
}

MemoryDisk::MemoryDisk() : root_(std::make_shared<Node>()) {
  root_->stat.identity = {.device = kDevice, .inode = last_inode_};
  root_->stat.type = FileType::kDirectory;
  root_->stat.mode = 0755;
}

MemoryDisk::Place MemoryDisk::Look(const std::filesystem::path& path) const {
  Place place{.path = ("/" / path).lexically_normal()};
  if (!place.path.has_filename()) place.path = place.path.parent_path();  // "/a/" is "/a"
  place.node = root_;
  for (const auto& part : place.path.relative_path()) {
    place.directory = std::exchange(place.node, nullptr);
    if (!place.directory || !place.directory->IsDirectory()) {
      place.error_number = place.directory ? ENOTDIR : ENOENT;
      return place;
    }
    place.name = part.native();
    const auto it = place.directory->entries.find(place.name);
    if (it != place.directory->entries.end()) place.node = it->second;
  }
  return place;
}

MemoryDisk::NodePtr MemoryDisk::Create(const Place& at, FileType type, const FileOwner& owner,
                                       NanoTime now) {
  auto node = std::make_shared<Node>();
  const bool directory = type == FileType::kDirectory;
  node->stat = {.identity = {.device = kDevice, .inode = ++last_inode_},
                .type = type,
                .modified_at = now,
                .changed_at = now,
                .mode = directory ? posix::DirectoryMode(owner.mode) : owner.mode,
                .uid = owner.uid.value_or(0),
                .gid = owner.gid.value_or(0)};
  Change({.path = at.path, .edits = {{at.directory, at.name, node}}}, now);
  return node;
}

void MemoryDisk::Remove(const Place& at, NanoTime now) {
  at.node->stat.changed_at = now;
  Change({.path = at.path, .edits = {{at.directory, at.name, nullptr}}}, now);
}

void MemoryDisk::Rename(const Place& from, const Place& to, NanoTime now) {
  from.node->stat.changed_at = now;
  Change({.path = to.path,
          .edits = {{from.directory, from.name, nullptr}, {to.directory, to.name, from.node}}},
         now);
}

void MemoryDisk::Change(EntryChange change, NanoTime now) {
  for (const Edit& edit : change.edits) {
    if (edit.node) {
      edit.directory->entries[edit.name] = edit.node;
    } else {
      edit.directory->entries.erase(edit.name);
    }
    edit.directory->stat.modified_at = edit.directory->stat.changed_at = now;
  }
  unsynced_.push_back(std::move(change));
}

void MemoryDisk::Apply(const EntryChange& change) {
  for (const Edit& edit : change.edits) {
    if (edit.node) {
      edit.directory->durable_entries[edit.name] = edit.node;
    } else {
      edit.directory->durable_entries.erase(edit.name);
    }
  }
}

void MemoryDisk::SyncDirectory(const Node& directory) {
  const auto touches = [&directory](const EntryChange& change) {
    return std::ranges::any_of(
        change.edits, [&directory](const Edit& e) { return e.directory.get() == &directory; });
  };
  for (const EntryChange& change : unsynced_) {
    if (touches(change)) Apply(change);
  }
  std::erase_if(unsynced_, touches);
}

void MemoryDisk::Write(Node& file, std::span<const std::byte> bytes, std::uint64_t offset_bytes,
                       NanoTime now) {
  FileChange change{.is_write = true,
                    .offset_bytes = offset_bytes,
                    .bytes = {bytes.begin(), bytes.end()},
                    .extends = offset_bytes + bytes.size() > file.content.size()};
  ApplyTo(file.content, change);
  file.unsynced.push_back(std::move(change));
  file.stat.modified_at = file.stat.changed_at = now;
}

void MemoryDisk::Resize(Node& file, std::uint64_t size_bytes, NanoTime now) {
  FileChange change{.offset_bytes = size_bytes};
  ApplyTo(file.content, change);
  file.unsynced.push_back(std::move(change));
  file.stat.modified_at = file.stat.changed_at = now;
}

void MemoryDisk::Sync(Node& file) {
  if (std::ranges::any_of(file.unsynced, &FileChange::failed)) {
    for (FileChange& change : file.unsynced) change.kept = !change.failed;
    return;
  }
  for (const FileChange& change : file.unsynced) {
    ApplyTo(file.durable_content, change);
  }
  file.unsynced.clear();
}

void MemoryDisk::FailSync(Node& file) {
  for (FileChange& change : file.unsynced) change.failed = !change.kept;
}

void MemoryDisk::CrashFile(Node& file, const std::filesystem::path& path,
                           const KeepFunction& keep) {
  std::vector<std::byte>& content = file.durable_content;
  for (const FileChange& change : file.unsynced) {
    if (change.kept) {
      ApplyTo(content, change);
      continue;
    }
    const auto keeps = [&](UnsyncedChange::Kind kind, std::uint64_t offset_bytes) {
      return keep({.kind = kind, .path = path, .offset_bytes = offset_bytes});
    };
    if (!change.is_write) {
      if (keeps(UnsyncedChange::Kind::kSize, change.offset_bytes)) {
        ApplyTo(content, change);
      }
      continue;
    }
    const std::uint64_t end = change.offset_bytes + change.bytes.size();
    if (change.extends && keeps(UnsyncedChange::Kind::kSize, end)) {
      content.resize(std::max<std::size_t>(content.size(), end));
    }
    for (std::uint64_t at = change.offset_bytes; at < end;) {
      const std::uint64_t next = std::min(end, (at / kSectorBytes + 1) * kSectorBytes);
      if (keeps(UnsyncedChange::Kind::kSector, at)) {
        Overwrite(content, std::span(change.bytes).subspan(at - change.offset_bytes, next - at),
                  at);
      }
      at = next;
    }
  }
  file.unsynced.clear();
  file.content = content;
}

void MemoryDisk::Crash(const KeepFunction& keep) {
  for (const EntryChange& change : unsynced_) {
    if (keep({.kind = UnsyncedChange::Kind::kEntry, .path = change.path})) Apply(change);
  }
  unsynced_.clear();
  // In the order of the names, so that a seed means the same every time.
  std::set<const Node*> seen;
  const std::function<void(Node&, const std::filesystem::path&)> visit =
      [&](Node& node, const std::filesystem::path& path) {
        if (!seen.insert(&node).second) return;
        node.locked = false;
        node.watches.clear();
        if (!node.IsDirectory()) return CrashFile(node, path, keep);
        node.entries = node.durable_entries;
        for (const auto& [name, child] : node.entries) visit(*child, path / name);
      };
  visit(*root_, "/");
}

}  // namespace litestream
