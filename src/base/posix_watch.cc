#include "base/posix_watch.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/errno_error.h"
#include "base/try.h"

namespace litestream {
namespace {

constexpr std::uint32_t kSelfEvents = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT;
// A file that is unlinked while others have it open tells only of its link count: IN_ATTRIB.
constexpr std::uint32_t kFileMask =
    IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONESHOT;
constexpr std::uint32_t kDirectoryMask = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                         IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::size_t kReadBufferBytes = std::size_t{64} * 1024;

Result<FileIdentity> Identify(const std::string& path, bool want_directory) {
  struct stat st = {};
  if (::stat(path.c_str(), &st) != 0) return ErrnoError(errno, "watch", path);
  if (S_ISDIR(st.st_mode) != want_directory) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("watch {}: {} a directory", path, want_directory ? "not" : "is"));
  }
  return FileIdentity{.device = st.st_dev, .inode = st.st_ino};
}

Error AddWatchError(int error_number, const std::string& path) {
  Error error = ErrnoError(error_number, "watch", path);
  if (error_number != ENOSPC) return error;
  return {error.code(), fmt::format("watch {}: no inotify watch left (raise the limit, sysctl "
                                    "fs.inotify.max_user_watches)",
                                    path)};
}

Error InitError(int error_number) {
  Error error = ErrnoError(error_number, "inotify_init1");
  if (error_number != EMFILE) return error;
  return {error.code(),
          "inotify_init1: too many open files or inotify instances (raise the limit, see `ulimit "
          "-n` and sysctl fs.inotify.max_user_instances)"};
}

}  // namespace

class PosixWatcher::Handle final : public FileWatch {
 public:
  Handle(PosixWatcher& watcher, WatchPtr watch) : watcher_(watcher), watch_(std::move(watch)) {}
  ~Handle() override { watcher_.Remove(*watch_); }
  Result<void> Rearm() override {
    if (watch_->directory) return {};
    return watcher_.Arm(watch_);
  }

 private:
  PosixWatcher& watcher_;
  WatchPtr watch_;
};

Result<std::unique_ptr<FileWatch>> PosixWatcher::WatchFile(const std::filesystem::path& path,
                                                           FileEventCallback callback) {
  return Add(std::make_shared<Watch>(path.native(), false, std::vector<std::string>(),
                                     std::move(callback)));
}

Result<std::unique_ptr<FileWatch>> PosixWatcher::WatchDirectory(const std::filesystem::path& path,
                                                                FileEventCallback callback) {
  return WatchEntries(path, {}, std::move(callback));
}

Result<std::unique_ptr<FileWatch>> PosixWatcher::WatchEntries(const std::filesystem::path& path,
                                                              std::vector<std::string> names,
                                                              FileEventCallback callback) {
  return Add(std::make_shared<Watch>(path.native(), true, std::move(names), std::move(callback)));
}

Result<std::unique_ptr<FileWatch>> PosixWatcher::Add(const WatchPtr& watch) {
  {
    MutexLock lock(mu_);
    LS_TRY(Start());
    all_.emplace(watch.get(), watch);
  }
  auto handle = std::make_unique<Handle>(*this, watch);
  LS_TRY(Arm(watch));
  return handle;
}

Result<void> PosixWatcher::Start() {
  if (thread_.joinable()) return {};
  Fd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify.valid()) return InitError(errno);
  Fd wake(::eventfd(0, EFD_CLOEXEC));
  if (!wake.valid()) return ErrnoError(errno, "eventfd");
  inotify_ = std::move(inotify);
  wake_ = std::move(wake);
  try {
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  } catch (const std::system_error& e) {
    return ErrnoError(e.code().value(), "start the thread that reads file events");
  }
  ::pthread_setname_np(thread_.native_handle(), "ls-watch");
  return {};
}

Result<void> PosixWatcher::Arm(const WatchPtr& watch) {
  // First: it takes the slow part of the path lookup, if there is one, out of the lock.
  const FileIdentity identity = LS_TRY(Identify(watch->path, watch->directory));
  // Held across the call, because an event may come before we have noted its number.
  MutexLock lock(mu_);
  if (!all_.contains(watch.get())) return {};
  const int wd = ::inotify_add_watch(inotify_.get(), watch->path.c_str(),
                                     watch->directory ? kDirectoryMask : kFileMask);
  if (wd < 0) return AddWatchError(errno, watch->path);
  watch->identity = identity;
  if (watch->wd == wd) return {};
  Disarm(*watch);
  watch->wd = wd;
  Mark& mark = by_wd_[wd];
  if (watch->names.empty()) mark.watches.push_back(watch);
  for (const std::string& name : watch->names) mark.named[name].push_back(watch);
  return {};
}

void PosixWatcher::Disarm(Watch& watch) {
  const auto it = by_wd_.find(std::exchange(watch.wd, -1));
  if (it == by_wd_.end()) return;
  Mark& mark = it->second;
  const auto is_it = [&watch](const WatchPtr& w) { return w.get() == &watch; };
  if (watch.names.empty()) std::erase_if(mark.watches, is_it);
  for (const std::string& name : watch.names) {
    const auto named = mark.named.find(name);
    if (named == mark.named.end()) continue;
    std::erase_if(named->second, is_it);
    if (named->second.empty()) mark.named.erase(named);
  }
  if (!mark.empty()) return;
  ::inotify_rm_watch(inotify_.get(), it->first);  // EINVAL if it has just fired: as good.
  by_wd_.erase(it);
}

void PosixWatcher::Remove(Watch& watch) {
  {
    MutexLock lock(mu_);
    Disarm(watch);
    all_.erase(&watch);
  }
  watch.gate.Close();
}

void PosixWatcher::Run(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] { ::eventfd_write(wake_.get(), 1); });
  const std::unique_ptr<std::byte[]> buffer(new std::byte[kReadBufferBytes]);
  while (!stop.stop_requested()) {
    std::array<pollfd, 2> fds = {
        {{.fd = inotify_.get(), .events = POLLIN}, {.fd = wake_.get(), .events = POLLIN}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    const ssize_t n = ::read(inotify_.get(), buffer.get(), kReadBufferBytes);
    for (ssize_t at = 0; at < n && !stop.stop_requested();) {
      inotify_event header = {};
      std::memcpy(&header, buffer.get() + at, sizeof header);
      Event event{.wd = header.wd, .mask = header.mask};
      // The name is padded with zeros to `len`.
      if (header.len > 0) {
        event.name = reinterpret_cast<const char*>(buffer.get() + at + sizeof header);
      }
      Dispatch(event);
      at += static_cast<ssize_t>(sizeof header + header.len);
    }
  }
}

// Whom an event concerns. `entry`: it is about an entry of a directory; else the kernel's watch has
// ended, and so have those on it.
std::vector<PosixWatcher::WatchPtr> PosixWatcher::WatchesOf(const Event& event, bool& entry) {
  const auto it = by_wd_.find(event.wd);
  if (it == by_wd_.end()) return {};  // What we removed ourselves, or what came after a one-shot.
  Mark& mark = it->second;
  const bool directory = mark.watches.empty() || mark.watches.front()->directory;
  entry = directory && (event.mask & kSelfEvents) == 0;
  if (entry) {
    std::vector<WatchPtr> watches = mark.watches;
    const auto named = mark.named.find(event.name);
    if (named != mark.named.end()) {
      watches.insert(watches.end(), named->second.begin(), named->second.end());
    }
    return watches;
  }
  std::vector<WatchPtr> watches = std::move(mark.watches);
  for (auto& [name, named] : mark.named) {
    for (WatchPtr& watch : named) {
      // Each once.
      if (watch->names.front() == name) watches.push_back(std::move(watch));
    }
  }
  by_wd_.erase(it);
  for (const WatchPtr& watch : watches) watch->wd = -1;
  // Only a directory that was moved still has its kernel watch.
  if ((event.mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify_.get(), event.wd);
  return watches;
}

void PosixWatcher::Dispatch(const Event& event) {
  if ((event.mask & IN_Q_OVERFLOW) != 0) return DispatchOverflow();
  std::vector<WatchPtr> watches;
  bool entry = false;
  {
    MutexLock lock(mu_);
    watches = WatchesOf(event, entry);
  }
  for (const WatchPtr& watch : watches) {
    if (entry) {
      watch->gate.Call(FileEvent::kEntry, event.name);
    } else {
      DispatchSelf(event, watch);
    }
  }
}

// Something happened to the watched inode itself, which ended the kernel's watch. Whether it is
// gone depends on the path that the watch came through.
//
// IN_IGNORED comes alone when Rearm met the kernel's mark in the moment between its one event and
// its removal; what was written since then is lost, so the file counts as modified.
void PosixWatcher::DispatchSelf(const Event& event, const WatchPtr& watch) {
  if ((event.mask & IN_MODIFY) == 0) {
    FileIdentity armed;
    {
      MutexLock lock(mu_);
      armed = watch->identity;
    }
    const auto now = Identify(watch->path, watch->directory);
    const bool here = now.ok() && now.value() == armed;
    if (!here || (watch->directory && !Arm(watch).ok())) {
      return watch->gate.Call(FileEvent::kGone, {});
    }
  }
  watch->gate.Call(watch->directory ? FileEvent::kOverflow : FileEvent::kModified, {});
}

// The lost events may be those that disarmed a watch, so the armed ones are armed anew.
void PosixWatcher::DispatchOverflow() {
  std::vector<WatchPtr> watches;
  std::vector<WatchPtr> armed;
  {
    MutexLock lock(mu_);
    for (const auto& [key, watch] : all_) {
      watches.push_back(watch);
      if (watch->wd >= 0) armed.push_back(watch);
    }
  }
  for (const WatchPtr& watch : armed) {
    // A file that is gone is found by the test that the event causes.
    [[maybe_unused]] const auto again = Arm(watch);
  }
  for (const WatchPtr& watch : watches) watch->gate.Call(FileEvent::kOverflow, {});
}

}  // namespace litestream
