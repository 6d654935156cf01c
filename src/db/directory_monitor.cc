#include "db/directory_monitor.h"

#include <array>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "db/attachment.h"

namespace litestream {
namespace {

constexpr std::string_view kStateSuffix = "-litestream";
constexpr std::array<std::string_view, 3> kCompanions = {"-wal", "-shm", "-journal"};
// Shorter is no database.
constexpr std::uint64_t kMinDatabaseBytes = 16;
// Paths of which is remembered what was said.
constexpr std::size_t kMaxComplaints = 1'024;

std::string NameOf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

bool IsCompanion(std::string_view name) {
  for (const std::string_view suffix : kCompanions) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

bool SameContent(const FileStat& a, const FileStat& b) {
  return a.identity == b.identity && a.size_bytes == b.size_bytes &&
         a.modified_at == b.modified_at && a.changed_at == b.changed_at;
}

enum class Kind : unsigned char { kNothing, kDirectory, kFile, kOther };
struct Found {
  Kind kind = Kind::kNothing;
  FileStat stat;
};

// A link to a file is that file; one to a directory is not followed, unless it is the `root`.
Result<Found> Look(Env& env, const std::string& path, bool root) {
  auto stat = env.Stat(path);
  if (!stat.ok()) {
    if (stat.error().Is(ErrorCode::kNotFound)) return Found{};
    return std::move(stat).error();
  }
  Found found{.kind = Kind::kOther, .stat = stat.value()};
  if (found.stat.type == FileType::kRegular) found.kind = Kind::kFile;
  if (found.stat.type == FileType::kDirectory) {
    if (root || LS_TRY(env.ResolveLink(path)) == path) found.kind = Kind::kDirectory;
  }
  return found;
}

// Calls `use` for the entries of a map that lie below the directory.
template <typename Map, typename Use>
void ForEachBelow(const Map& map, const std::string& directory, Use use) {
  const std::string begin = directory + "/";
  for (auto at = map.lower_bound(begin); at != map.end() && at->first.starts_with(begin); ++at) {
    use(at->first);
  }
}
template <typename Map>
void EraseBelow(Map& map, const std::string& directory) {
  const std::string begin = directory + "/";
  auto at = map.lower_bound(begin);
  while (at != map.end() && at->first.starts_with(begin)) at = map.erase(at);
}

}  // namespace

DirectoryMonitor::DirectoryMonitor(Env& env, Scheduler& scheduler, DirectoryMonitorOptions options,
                                   const Logger& log)
    : env_(env),
      scheduler_(scheduler),
      options_(std::move(options)),
      log_(log.With({{"dir", options_.directory}})) {}

DirectoryMonitor::~DirectoryMonitor() {
  Stop();
}

Result<void> DirectoryMonitor::Start(const std::vector<std::string>& added) {
  for (const std::string& path : added) {
    const auto stat = env_.Stat(path);
    tracked_.emplace(path, stat.ok() ? stat.value().identity : FileIdentity{});
  }
  starting_ = true;
  work_.push_back({.kind = Work::Kind::kExamine, .path = options_.directory});
  while (!work_.empty() && !start_error_) {
    const Work work = std::move(work_.front());
    work_.pop_front();
    Do(work);
  }
  starting_ = false;
  if (!start_error_ && look_for_directory_) {
    start_error_ = Error(ErrorCode::kNotFound, "no such directory");
  }
  if (start_error_) {
    directories_.clear();
    candidates_.clear();
    return Error(*start_error_).Wrap("start directory monitor for " + options_.directory);
  }
  next_rescan_ = Now() + options_.rescan_interval;
  task_ = scheduler_.Start(Pool::kDirectory, "directory",
                           [this](const Context& ctx) { return Run(ctx); });
  MutexLock lock(mu_);
  waker_ = task_.get();
  waker_->Wake();  // For an event that came before anybody could be woken.
  return {};
}

void DirectoryMonitor::Stop() {
  if (task_) task_->Stop();
  directories_.clear();
  candidates_.clear();
}

std::vector<std::string> DirectoryMonitor::tracked() const {
  std::vector<std::string> paths;
  paths.reserve(tracked_.size());
  for (const auto& [path, identity] : tracked_) paths.push_back(path);
  return paths;
}

std::size_t DirectoryMonitor::watch_count() const {
  std::size_t count = 0;
  for (const auto& [path, directory] : directories_) count += directory.watch ? 1 : 0;
  for (const auto& [path, candidate] : candidates_) count += candidate.watch ? 1 : 0;
  return count;
}

// --- The task. ---

NextRun DirectoryMonitor::Run(const Context& ctx) {
  TakeEvents();
  const MonoTime now = Now();
  if (!settling_.empty() && now >= settled_at_) {
    for (const std::string& path : settling_) {
      work_.push_back({.kind = Work::Kind::kCheck, .path = path});
    }
    settling_.clear();
  }
  if (look_for_directory_ && now >= *look_for_directory_) {
    work_.push_back({.kind = Work::Kind::kExamine, .path = options_.directory});
  }
  if (now >= next_rescan_ && !rescanning_) BeginRescan();
  for (std::size_t done = 0; done < kSlice && !work_.empty(); ++done) {
    if (ctx.stop().stop_requested()) return NextRun::WhenWoken();
    const Work work = std::move(work_.front());
    work_.pop_front();
    Do(work);
    if (work.kind == Work::Kind::kList) break;
  }
  return Next();
}

NextRun DirectoryMonitor::Next() {
  if (!work_.empty()) return NextRun::At(Now());
  {
    MutexLock lock(mu_);
    if (events_lost_) return NextRun::At(Now());  // During the rescan that has just ended.
  }
  MonoTime at = next_rescan_;
  if (!settling_.empty()) at = std::min(at, settled_at_);
  if (look_for_directory_) at = std::min(at, *look_for_directory_);
  return NextRun::At(at);
}

void DirectoryMonitor::TakeEvents() {
  std::map<std::string, bool> events;
  bool lost = false;
  {
    MutexLock lock(mu_);
    events.swap(events_);
    // While one rescan is under way the next one waits for its end.
    if (!rescanning_) lost = std::exchange(events_lost_, false);
  }
  for (const auto& [path, watch_spent] : events) {
    if (watch_spent) {
      if (const auto file = candidates_.find(path); file != candidates_.end()) {
        file->second.retry = true;
      }
      // Watched anew, if it is still there.
      if (const auto it = directories_.find(path); it != directories_.end())
        it->second.watch.reset();
    }
    work_.push_back({.kind = Work::Kind::kExamine, .path = path});
  }
  if (!lost) return;
  for (auto& [path, candidate] : candidates_) candidate.retry = true;
  log_.Info("file events were lost, looking at the whole directory");
  BeginRescan();
}

void DirectoryMonitor::Do(const Work& work) {
  switch (work.kind) {
    case Work::Kind::kExamine:
      return Examine(work.path);
    case Work::Kind::kList:
      return List(work.path);
    case Work::Kind::kCheck:
      return Check(work.path);
    case Work::Kind::kRescanEnd:
      rescanning_ = false;
      next_rescan_ = Now() + options_.rescan_interval;
      return;
  }
}

void DirectoryMonitor::BeginRescan() {
  rescanning_ = true;
  work_.push_back({.kind = Work::Kind::kExamine, .path = options_.directory});
  QueueKnownBelow(options_.directory);
  for (const auto& [path, directory] : directories_) {
    work_.push_back({.kind = Work::Kind::kList, .path = path});
  }
  work_.push_back({.kind = Work::Kind::kRescanEnd, .path = {}});
}

void DirectoryMonitor::QueueKnownBelow(const std::string& directory) {
  const auto queue = [this](const std::string& path) {
    work_.push_back({.kind = Work::Kind::kExamine, .path = path});
  };
  ForEachBelow(directories_, directory, queue);
  ForEachBelow(tracked_, directory, queue);
  ForEachBelow(candidates_, directory, queue);
}

// --- What is at a path. ---

bool DirectoryMonitor::MayEnter(const std::string& path) const {
  if (IsRoot(path)) return true;
  return options_.recursive && !path.ends_with(kStateSuffix) &&
         !(options_.skips && options_.skips(path));
}

bool DirectoryMonitor::MayBeDatabase(const std::string& path) const {
  const std::string name = NameOf(path);
  return !IsCompanion(name) && options_.matches(name);
}

void DirectoryMonitor::Examine(const std::string& path) {
  // Most events are of other files.
  if (!MayEnter(path) && !MayBeDatabase(path)) return;
  const auto looked = Look(env_, path, IsRoot(path));
  if (!looked.ok()) {
    return IsRoot(path) ? Fail(path, looked.error()) : Complain(path, looked.error());
  }
  const Found& found = looked.value();
  if (found.kind != Kind::kDirectory) DropDirectory(path);
  if (found.kind != Kind::kFile) {
    candidates_.erase(path);
    settling_.erase(path);
    if (tracked_.contains(path)) Untrack(path);
  }
  if (IsRoot(path)) {
    look_for_directory_.reset();
    if (found.kind != Kind::kDirectory) look_for_directory_ = Now() + kLookForDirectory;
  }
  if (found.kind == Kind::kDirectory && MayEnter(path)) ExamineDirectory(path, found.stat);
  if (found.kind == Kind::kFile && MayBeDatabase(path)) ExamineFile(path, found.stat);
  if (found.kind == Kind::kNothing) complaints_.erase(path);
}

void DirectoryMonitor::ExamineDirectory(const std::string& path, const FileStat& stat) {
  const auto known = directories_.find(path);
  if (known != directories_.end() && known->second.identity == stat.identity &&
      known->second.watch) {
    return;
  }
  const bool unwatched = known != directories_.end() && known->second.identity == stat.identity;
  auto watch = env_.WatchDirectory(path, OnDirectory(path));
  if (!watch.ok() && watch.error().Is(ErrorCode::kNotFound)) {
    // Gone since: whoever watches its parent is told. Nobody does of the root.
    DropDirectory(path);
    if (IsRoot(path)) look_for_directory_ = Now() + kLookForDirectory;
    return;
  }
  if (!watch.ok()) Fail(path, watch.error());
  Directory directory;
  directory.identity = stat.identity;
  if (watch.ok()) {
    directory.watch = std::move(watch).value();
    complaints_.erase(path);
  } else if (unwatched) {
    return;  // As before: rescans list it.
  }
  // Another directory than before may be here: everything in it is looked at anew.
  directories_.insert_or_assign(path, std::move(directory));
  QueueKnownBelow(path);
  work_.push_back({.kind = Work::Kind::kList, .path = path});
}

void DirectoryMonitor::ExamineFile(const std::string& path, const FileStat& stat) {
  const auto tracked = tracked_.find(path);
  if (tracked != tracked_.end()) {
    if (tracked->second != stat.identity) Settle(path);
    return;
  }
  const auto candidate = candidates_.find(path);
  if (candidate == candidates_.end() || candidate->second.retry ||
      !SameContent(candidate->second.seen, stat)) {
    Settle(path);
  }
}

void DirectoryMonitor::List(const std::string& directory) {
  if (!directories_.contains(directory)) return;
  const auto listed = env_.List(directory);
  if (!listed.ok()) {
    if (listed.error().Is(ErrorCode::kNotFound)) return Examine(directory);
    return Fail(directory, listed.error());
  }
  for (const DirectoryEntry& entry : listed.value()) {
    std::string path = directory + "/" + entry.name;
    if (entry.type == FileType::kDirectory) {
      if (!MayEnter(path) || directories_.contains(path)) continue;
    } else {
      if (!MayBeDatabase(path) || tracked_.contains(path) || candidates_.contains(path)) continue;
    }
    work_.push_back({.kind = Work::Kind::kExamine, .path = std::move(path)});
  }
}

// --- Files. ---

void DirectoryMonitor::Settle(const std::string& path) {
  if (starting_) {
    work_.push_back({.kind = Work::Kind::kCheck, .path = path});
    return;
  }
  if (settling_.empty()) settled_at_ = Now() + options_.settle_time;
  settling_.insert(path);
}

void DirectoryMonitor::Check(const std::string& path) {
  const auto looked = Look(env_, path, IsRoot(path));
  if (!looked.ok()) return Complain(path, looked.error());
  const FileStat& stat = looked.value().stat;
  if (looked.value().kind != Kind::kFile) return Examine(path);
  const auto tracked = tracked_.find(path);
  if (tracked != tracked_.end() && tracked->second == stat.identity) return;
  const auto is_database =
      stat.size_bytes < kMinDatabaseBytes
          ? Result<void>(Error(ErrorCode::kUnsupported, "too short to be a database"))
          : CheckIsDatabase(env_, path);
  if (tracked == tracked_.end()) {
    return is_database.ok() ? Track(path, stat) : NotYet(path, stat, is_database.error());
  }
  // The new file was tracked under another name, and that database still lets go of it. The one of
  // this name attaches to it then.
  if (!is_database.ok() && is_database.error().Is(ErrorCode::kAlreadyExists)) return;
  tracked->second = stat.identity;
  if (is_database.ok()) return;
  Untrack(path);
  NotYet(path, stat, is_database.error());
}

void DirectoryMonitor::NotYet(const std::string& path, const FileStat& stat, const Error& why) {
  Candidate& candidate = candidates_[path];
  const bool watched = candidate.watch != nullptr && !candidate.retry;
  candidate.seen = stat;
  candidate.retry = false;
  // It was renamed, and the database of the old name still lets go of it.
  if (why.Is(ErrorCode::kAlreadyExists)) {
    candidate.retry = true;
    if (++candidate.busy_tries < kMaxBusyTries) return Settle(path);
    return Complain(path, why);
  }
  candidate.busy_tries = 0;
  if (!why.Is(ErrorCode::kUnsupported) && !why.Is(ErrorCode::kDenied)) candidate.retry = true;
  if (watched) return;
  const auto armed = WatchCandidate(path, candidate);
  if (!armed.ok()) {
    if (armed.error().Is(ErrorCode::kNotFound)) return Examine(path);
    return Complain(path, armed.error());
  }
  // Armed first, read after: what was written in between is seen now.
  const auto now = Look(env_, path, false);
  if (now.ok() && now.value().kind == Kind::kFile && SameContent(now.value().stat, stat) &&
      (stat.size_bytes < kMinDatabaseBytes || !CheckIsDatabase(env_, path).ok())) {
    return;
  }
  candidate.retry = true;
  Settle(path);
}

Result<void> DirectoryMonitor::WatchCandidate(const std::string& path, Candidate& candidate) {
  if (candidate.watch) {
    auto armed = candidate.watch->Rearm();
    if (armed.ok()) return {};
    candidate.watch.reset();
  }
  if (candidates_.size() > kMaxWatchedFiles) return {};
  candidate.watch = LS_TRY(env_.WatchFile(path, OnFile(path)));
  return {};
}

void DirectoryMonitor::Track(const std::string& path, const FileStat& stat) {
  auto added = options_.add(path);
  if (!added.ok()) {
    Candidate& candidate = candidates_[path];
    candidate.seen = stat;
    candidate.retry = true;
    return Complain(path, added.error());
  }
  candidates_.erase(path);
  complaints_.erase(path);
  tracked_.emplace(path, stat.identity);
  log_.Info("added database to replication", {{"path", path}});
}

void DirectoryMonitor::Untrack(const std::string& path) {
  tracked_.erase(path);
  options_.remove(path);
  log_.Info("removed database from replication", {{"path", path}});
}

void DirectoryMonitor::DropDirectory(const std::string& path) {
  if (directories_.erase(path) == 0) return;
  EraseBelow(directories_, path);
  EraseBelow(candidates_, path);
  EraseBelow(complaints_, path);
  std::vector<std::string> gone;
  ForEachBelow(tracked_, path, [&gone](const std::string& file) { gone.push_back(file); });
  for (const std::string& file : gone) Untrack(file);
}

// --- Events and errors. ---

FileEventCallback DirectoryMonitor::OnDirectory(const std::string& path) {
  return [this, path](FileEvent event, const std::string& name) {
    if (event == FileEvent::kEntry) {
      if (!IsCompanion(name)) Note(path + "/" + name, /*watch_spent=*/false);
    } else if (event == FileEvent::kGone) {
      Note(path, /*watch_spent=*/true);
    } else {
      MutexLock lock(mu_);
      events_lost_ = true;
      if (waker_ != nullptr) waker_->Wake();
    }
  };
}

FileEventCallback DirectoryMonitor::OnFile(const std::string& path) {
  return [this, path](FileEvent event, const std::string&) {
    // Lost events of this file were those of others too; their directories tell.
    if (event != FileEvent::kOverflow) Note(path, /*watch_spent=*/true);
  };
}

void DirectoryMonitor::Note(const std::string& path, bool watch_spent) {
  MutexLock lock(mu_);
  if (events_.size() < kMaxEvents || events_.contains(path)) {
    events_[path] |= watch_spent;
  } else {
    events_lost_ = true;
  }
  if (waker_ != nullptr) waker_->Wake();
}

// Of the directories themselves: at the start this is fatal.
void DirectoryMonitor::Fail(const std::string& path, const Error& error) {
  if (starting_) {
    start_error_ = error;
  } else {
    Complain(path, error);
  }
}

void DirectoryMonitor::Complain(const std::string& path, const Error& error) {
  if (complaints_.size() >= kMaxComplaints) complaints_.clear();
  std::string& said = complaints_[path];
  if (said == error.message()) return;
  said = error.message();
  log_.Warn("directory watcher error", {{"path", path}, {"error", said}});
}

}  // namespace litestream
