// One process's view of the machine's files: everything that the process does to them is a call
// that others may come before, that may fail, and that the process may die in.

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "tests/simulation/process.h"

namespace litestream::sim {
namespace {

using Path = std::filesystem::path;

constexpr std::uint64_t kEveryEvent = 1'000'000;

Error Failed(const EnvFault& fault, std::string_view call, const Path& path) {
  return {fault.code,
          fmt::format("{} {}: {} (injected)", call, path.native(), ToString(fault.code))};
}

class OpenFile final : public File {
 public:
  OpenFile(Process& process, std::unique_ptr<File> inner, Path path, std::uint64_t inode)
      : process_(process), inner_(std::move(inner)), path_(std::move(path)), inode_(inode) {}

  // The kernel drops the record locks of the process on the file, whoever took them.
  ~OpenFile() override {
    if (process_.dead()) return;
    if (process_.world().locks().CloseAny(process_.pid(), inode_)) {
      process_.world().Note(process_.name(), "locks lost", path_.native(), inode_);
    }
  }

  Result<std::size_t> ReadAt(std::span<std::byte> out, std::uint64_t offset_bytes) override {
    LS_TRY(Enter("read", Cost::kRead, offset_bytes, out.size()));
    // A short read goes on where it ended, as the real Env does, and others may run in between.
    const std::size_t part = process_.ReadLength(out.size());
    const std::size_t got = LS_TRY(inner_->ReadAt(out.first(part), offset_bytes));
    if (got < part || part == out.size()) return got;
    LS_TRY(Enter("read", Cost::kRead, offset_bytes + part, out.size() - part));
    return part + LS_TRY(inner_->ReadAt(out.subspan(part), offset_bytes + part));
  }
  Result<void> WriteAt(std::span<const std::byte> bytes, std::uint64_t offset_bytes) override {
    if (!process_.dead() && process_.DiesInNextCall() && !bytes.empty()) {
      // Killed in the middle: what the kernel has copied by then stays.
      const std::size_t part = process_.dice().Below(bytes.size() + 1);
      LS_TRY(inner_->WriteAt(bytes.first(part), offset_bytes));
    }
    if (const auto fault =
            process_.Enter("write", path_.native(), Cost::kWrite, offset_bytes, bytes.size())) {
      if (process_.dead()) return Failed(*fault, "write", path_);
      process_.world().FailNextDiskCall(*fault);
    }
    return inner_->WriteAt(bytes, offset_bytes);
  }
  Result<void> Truncate(std::uint64_t size_bytes) override {
    LS_TRY(Enter("truncate", Cost::kOther, size_bytes));
    return inner_->Truncate(size_bytes);
  }
  Result<void> Allocate(std::uint64_t size_bytes) override {
    LS_TRY(Enter("allocate", Cost::kWrite, 0, 0));
    return inner_->Allocate(size_bytes);
  }
  Result<void> Sync() override { return SyncAs("fsync"); }
  Result<void> SyncData() override { return SyncAs("fdatasync"); }
  void StartWriteback(std::uint64_t offset_bytes, std::uint64_t length_bytes) override {
    inner_->StartWriteback(offset_bytes, length_bytes);
  }
  Result<FileStat> Stat() override {
    LS_TRY(Enter("fstat", Cost::kInstant));
    return inner_->Stat();
  }
  Result<void> SetModified(NanoTime at) override {
    LS_TRY(Enter("futimens", Cost::kOther));
    return inner_->SetModified(at);
  }

 private:
  Result<void> Enter(std::string_view call, Cost cost, std::uint64_t a = 0, std::uint64_t b = 0) {
    if (const auto fault = process_.Enter(call, path_.native(), cost, a, b)) {
      return Failed(*fault, call, path_);
    }
    return {};
  }

  Result<void> SyncAs(std::string_view call) {
    if (const auto fault = process_.Enter(call, path_.native(), Cost::kSync)) {
      if (process_.dead()) return Failed(*fault, call, path_);
      process_.world().FailNextDiskCall(*fault);
    }
    return inner_->Sync();
  }

  Process& process_;
  const std::unique_ptr<File> inner_;
  const Path path_;
  const std::uint64_t inode_;
};

class HeldLock final : public FileLock, public Resource {
 public:
  HeldLock(Process& process, std::unique_ptr<FileLock> inner)
      : process_(process), inner_(std::move(inner)) {
    process_.Add(*this);
  }
  ~HeldLock() override { process_.Drop(*this); }
  void OwnerDied() override { inner_.reset(); }

 private:
  Process& process_;
  std::unique_ptr<FileLock> inner_;
};

class Watch final : public FileWatch, public Resource {
 public:
  Watch(Process& process, std::unique_ptr<FileWatch> inner, Path path)
      : process_(process), inner_(std::move(inner)), path_(std::move(path)) {
    process_.Add(*this);
  }
  ~Watch() override { process_.Drop(*this); }
  void OwnerDied() override { inner_.reset(); }
  Result<void> Rearm() override {
    if (const auto fault = process_.Enter("watch", path_.native(), Cost::kOther)) {
      return Failed(*fault, "watch", path_);
    }
    return inner_->Rearm();
  }

 private:
  Process& process_;
  std::unique_ptr<FileWatch> inner_;
  const Path path_;
};

class ProcessEnv final : public Env {
 public:
  explicit ProcessEnv(Process& process) : process_(process) {}

  Result<std::unique_ptr<File>> Open(const Path& path, const OpenOptions& options) override {
    LS_TRY(Enter("open", path, Cost::kOpen));
    auto file = LS_TRY(disk().Open(path, options));
    const FileStat stat = LS_TRY(file->Stat());
    return std::make_unique<OpenFile>(process_, std::move(file), path, stat.identity.inode);
  }
  Result<FileStat> Stat(const Path& path) override {
    LS_TRY(Enter("stat", path, Cost::kInstant));
    return disk().Stat(path);
  }
  Result<void> Rename(const Path& from, const Path& to) override {
    LS_TRY(Enter("rename", to, Cost::kOther));
    return disk().Rename(from, to);
  }
  Result<void> RenameNoReplace(const Path& from, const Path& to) override {
    LS_TRY(Enter("rename", to, Cost::kOther));
    return disk().RenameNoReplace(from, to);
  }
  Result<void> Remove(const Path& path) override {
    LS_TRY(Enter("remove", path, Cost::kOther));
    return disk().Remove(path);
  }
  Result<void> RemoveTree(const Path& path) override {
    LS_TRY(Enter("remove tree", path, Cost::kOther));
    return disk().RemoveTree(path);
  }
  Result<void> CreateDirectory(const Path& path, const FileOwner& owner) override {
    LS_TRY(Enter("mkdir", path, Cost::kOther));
    return disk().CreateDirectory(path, owner);
  }
  Result<std::vector<DirectoryEntry>> List(const Path& path) override {
    LS_TRY(Enter("list", path, Cost::kOther));
    return disk().List(path);
  }
  Result<void> SyncDirectory(const Path& path) override {
    LS_TRY(Enter("sync dir", path, Cost::kSync));
    return disk().SyncDirectory(path);
  }
  Result<std::unique_ptr<FileLock>> Lock(const Path& path, const FileOwner& owner) override {
    LS_TRY(Enter("flock", path, Cost::kOpen));
    auto lock = LS_TRY(disk().Lock(path, owner));
    return std::make_unique<HeldLock>(process_, std::move(lock));
  }
  Result<std::unique_ptr<FileWatch>> WatchFile(const Path& path,
                                               FileEventCallback callback) override {
    LS_TRY(Enter("watch", path, Cost::kOther));
    auto watch = LS_TRY(disk().WatchFile(path, Sieve(std::move(callback))));
    return std::make_unique<Watch>(process_, std::move(watch), path);
  }
  Result<std::unique_ptr<FileWatch>> WatchDirectory(const Path& path,
                                                    FileEventCallback callback) override {
    LS_TRY(Enter("watch dir", path, Cost::kOther));
    auto watch = LS_TRY(disk().WatchDirectory(path, Sieve(std::move(callback))));
    return std::make_unique<Watch>(process_, std::move(watch), path);
  }
  void Random(std::span<std::byte> out) override {
    for (std::byte& b : out) b = static_cast<std::byte>(process_.dice().Next() >> 56U);
  }
  std::string BootId() override { return disk().BootId(); }
  const Clock& clock() const override { return process_.clock(); }

 private:
  MemoryEnv& disk() { return process_.world().disk(); }

  Result<void> Enter(std::string_view call, const Path& path, Cost cost) {
    if (const auto fault = process_.Enter(call, path.native(), cost)) {
      return Failed(*fault, call, path);
    }
    return {};
  }

  // Events get lost (a full queue, a network file system), or arrive as "some were lost".
  FileEventCallback Sieve(FileEventCallback callback) {
    return [this, callback = std::move(callback)](FileEvent event, const std::string& name) {
      const std::uint64_t rate = process_.rates().lost_event;
      // Where no event ever arrives, that is no trouble that ends, but how the file system is.
      if (rate == kEveryEvent) return;
      if (rate > 0 && process_.world().faults_enabled()) {
        sim::Random dice(Mix(process_.pid(), ++events_));
        if (dice.PerMillion(rate) && process_.Happens(Mix(events_, 55), "event lost")) return;
      }
      callback(event, name);
    };
  }

  Process& process_;
  std::uint64_t events_ = 0;
};

}  // namespace

std::unique_ptr<Env> MakeProcessEnv(Process& process) {
  return std::make_unique<ProcessEnv>(process);
}

}  // namespace litestream::sim
