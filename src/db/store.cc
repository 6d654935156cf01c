#include "db/store.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "db/close.h"

namespace litestream {
namespace {

constexpr std::string_view kStateClaim = "state ";
constexpr std::string_view kReplicaClaim = "replica ";

std::string StateClaim(const Database& database) {
  return std::string(kStateClaim) + database.meta_path().native();
}

}  // namespace

Store::Store(Env& env, Scheduler& scheduler, const StoreOptions& options, const Logger& log)
    : env_(env),
      scheduler_(scheduler),
      options_(options),
      log_(log),
      open_databases_(options.max_open_databases) {}

Store::~Store() {
  std::vector<std::unique_ptr<Task>> closers;
  {
    MutexLock lock(mu_);
    closers.swap(closers_);
  }
  closers.clear();  // They use the rest, and its lock.
}

std::vector<std::string> Store::ClaimsOf(const DatabaseOptions& options, const Database& database) {
  std::vector<std::string> claims = {StateClaim(database)};
  for (const ReplicaOptions& replica : options.replicas) {
    if (!replica.place.empty()) claims.push_back(fmt::format("{}{}", kReplicaClaim, replica.place));
  }
  return claims;
}

Result<void> Store::CheckClaims(const Database& database,
                                const std::vector<std::string>& claims) const {
  const std::string& path = database.path().native();
  if (by_path_.contains(path)) {
    return Error(ErrorCode::kAlreadyExists, fmt::format("{}: listed twice", path));
  }
  for (const std::string& claim : claims) {
    const auto taken = claims_.find(claim);
    if (taken == claims_.end()) continue;
    const std::string& other = entries_.at(taken->second).database->path().native();
    if (claim.starts_with(kStateClaim)) {
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("meta-path collision: databases {} and {} would share meta-path {}",
                               other, path, database.meta_path().native()));
    }
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("{} and {} have the same replica ({}); each database needs its own "
                             "path",
                             other, path, claim.substr(kReplicaClaim.size())));
  }
  return {};
}

Result<void> Store::Add(const DatabaseOptions& options) {
  Entry entry;
  DatabaseOptions with_limit = options;
  with_limit.open_databases = &open_databases_;
  entry.database = std::make_shared<Database>(env_, scheduler_, with_limit, log_);
  entry.claims = ClaimsOf(options, *entry.database);
  ClosingPtr before;
  {
    MutexLock lock(mu_);
    LS_TRY(CheckClaims(*entry.database, entry.claims));
    const std::uint64_t number = ++last_number_;
    by_path_.emplace(entry.database->path().native(), number);
    for (const std::string& claim : entry.claims) claims_.emplace(claim, number);
    before = FindClosing(*entry.database);
    Entry& added = entries_.emplace(number, std::move(entry)).first->second;
    if (!before && started_) StartEntry(added);
  }
  if (!before) return {};
  before->hurry.request_stop();
  MutexLock lock(mu_);
  before->due = {};
  WakeClosers();
  return {};
}

Result<void> Store::Remove(const std::filesystem::path& path) {
  Entry entry;  // Outlives the lock.
  MutexLock lock(mu_);
  const auto at = by_path_.find(path.native());
  if (at == by_path_.end()) {
    return Error(ErrorCode::kNotFound, fmt::format("{}: not replicated", path.native()));
  }
  const auto found = entries_.find(at->second);
  entry = std::move(found->second);
  entries_.erase(found);
  by_path_.erase(at);
  for (const std::string& claim : entry.claims) claims_.erase(claim);
  if (!entry.running) return {};  // It has touched nothing.
  auto closing = std::make_shared<Closing>();
  closing->database = std::move(entry.database);
  closing_.push_back(std::move(closing));
  while (closers_.size() < kClosers) {
    closers_.push_back(scheduler_.Start(Pool::kIo, "close",
                                        [this](const Context& ctx) { return RunCloser(ctx); }));
  }
  WakeClosers();
  return {};
}

Store::ClosingPtr Store::FindClosing(const Database& database) const {
  for (const ClosingPtr& closing : closing_) {
    if (closing->database->meta_path().native() == database.meta_path().native()) return closing;
  }
  return nullptr;
}

void Store::StartEntry(Entry& entry) {
  entry.running = true;
  entry.database->Start();
}

void Store::WakeClosers() {
  for (const auto& closer : closers_) closer->Wake();
}

// --- Closing what was removed. ---

NextRun Store::RunCloser(const Context& ctx) {
  ClosingPtr mine;
  {
    MutexLock lock(mu_);
    const MonoTime now = scheduler_.clock().Monotonic();
    // First attempts are due since ever: they go before second ones.
    for (const ClosingPtr& closing : closing_) {
      if (!closing->busy && (!mine || closing->due < mine->due)) mine = closing;
    }
    if (!mine) return NextRun::WhenWoken();
    if (mine->due > now) return NextRun::At(mine->due);
    mine->busy = true;
  }
  const bool closed = TryClose(ctx, *mine);
  Finish(mine, closed);
  if (ctx.stop().stop_requested()) return NextRun::WhenWoken();
  return NextRun::At(scheduler_.clock().Monotonic());
}

// One attempt. False: another one follows, or (the store closes) somebody else goes on with it.
bool Store::TryClose(const Context& ctx, Closing& closing) {
  const std::stop_callback on_stop(ctx.stop(), [&closing] { closing.hurry.request_stop(); });
  const bool once = options_.shutdown_sync_timeout.count() <= 0;
  if (!once && !closing.deadline) {
    closing.deadline = scheduler_.clock().Monotonic() + options_.shutdown_sync_timeout;
  }
  const std::stop_token hurry = closing.hurry.get_token();
  const Context patience(hurry, closing.deadline, scheduler_.clock());
  Database& database = *closing.database;
  database.StopAttaching();
  Result<void> drained;
  bool gone = IsGone(database);
  if (!gone) {
    drained = database.Drain(patience, ++closing.attempts);
    if (ctx.stop().stop_requested()) return false;
    gone = !drained.ok() && (IsGone(database) || LacksFiles(database, drained.error()));
  }
  if (!drained.ok() && !gone && !once && !hurry.stop_requested()) {
    const MonoTime again = scheduler_.clock().Monotonic() + options_.shutdown_sync_interval;
    if (again < *closing.deadline) {
      MutexLock lock(mu_);
      if (!hurry.stop_requested()) closing.due = again;
      return false;
    }
  }
  auto released = database.Release();
  if (released.ok()) released = std::move(drained);
  if (released.ok()) return true;
  // Its successor goes on with what it leaves.
  if (hurry.stop_requested() && released.error().Is(ErrorCode::kCancelled)) return true;
  if (gone) {
    log_.Info("removed together with its local state, what was not uploaded is not kept",
              {{"db", database.path().native()}});
  } else {
    LogFailure(database, released.error());
  }
  return true;
}

// What was captured is in the state directory. If both are gone, no attempt can succeed.
bool Store::IsGone(const Database& database) const {
  for (const std::filesystem::path* path : {&database.path(), &database.meta_path()}) {
    const auto stat = env_.Stat(*path);
    if (stat.ok() || !stat.error().Is(ErrorCode::kNotFound)) return false;
  }
  return true;
}

// Only part of it may be gone yet, or somebody has just made the directory anew.
bool Store::LacksFiles(const Database& database, const Error& error) const {
  if (!error.Is(ErrorCode::kNotFound)) return false;
  const auto stat = env_.Stat(database.path());
  return !stat.ok() && stat.error().Is(ErrorCode::kNotFound);
}

void Store::Finish(const ClosingPtr& closing, bool closed) {
  MutexLock lock(mu_);
  closing->busy = false;
  if (!closed) {
    if (closing->hurry.stop_requested()) closing->due = {};
    return;
  }
  closing_.remove(closing);
  const auto successor = claims_.find(StateClaim(*closing->database));
  if (!started_ || successor == claims_.end()) return;
  Entry& entry = entries_.at(successor->second);
  if (!entry.running) StartEntry(entry);
}

void Store::LogFailure(const Database& database, const Error& error) const {
  log_.Error("failed to close database",
             {{"db", database.path().native()}, {"error", error.message()}});
}

// --- All together. ---

void Store::Start() {
  MutexLock lock(mu_);
  started_ = true;
  for (auto& [number, entry] : entries_) {
    if (!entry.running) StartEntry(entry);
  }
}

std::vector<std::shared_ptr<Database>> Store::Databases() const {
  MutexLock lock(mu_);
  std::vector<std::shared_ptr<Database>> databases;
  databases.reserve(entries_.size());
  for (const auto& [number, entry] : entries_) databases.push_back(entry.database);
  return databases;
}

Result<void> Store::SyncOnce(const Context& ctx, const OnceOptions& options) {
  for (const auto& database : Databases()) {
    options.before_sync(*database);
    LS_TRY(database->SyncOnce(ctx), "sync database {}", database->path().string());
    if (options.force_snapshot) {
      options.before_snapshot(*database);
      LS_TRY(database->SnapshotOnce(ctx), "snapshot {}", database->path().string());
    }
    if (options.enforce_retention) {
      options.before_retention(*database);
      LS_TRY(database->RetainOnce(ctx), "enforce retention for {}", database->path().string());
    }
  }
  return {};
}

Result<void> Store::Close(const std::stop_token& hurry) {
  std::vector<std::unique_ptr<Task>> closers;
  {
    MutexLock lock(mu_);
    started_ = false;
    closers.swap(closers_);
  }
  closers.clear();  // Each leaves what it is at.
  std::vector<std::shared_ptr<Database>> databases;
  {
    MutexLock lock(mu_);
    for (const ClosingPtr& closing : closing_) databases.push_back(closing->database);
    for (auto& [number, entry] : entries_) {
      // A successor that waits has captured nothing; the next start does.
      const bool waits = FindClosing(*entry.database) != nullptr;
      if (!waits) databases.push_back(std::move(entry.database));
    }
    closing_.clear();
    entries_.clear();
    by_path_.clear();
    claims_.clear();
  }
  const bool once = options_.shutdown_sync_timeout.count() <= 0;
  std::optional<MonoTime> deadline;
  if (!once) deadline = scheduler_.clock().Monotonic() + options_.shutdown_sync_timeout;
  const Context ctx(hurry, deadline, scheduler_.clock());
  const auto interval = once ? std::chrono::nanoseconds(0) : options_.shutdown_sync_interval;

  std::vector<Database*> all;
  all.reserve(databases.size());
  for (const auto& database : databases) all.push_back(database.get());
  const auto results = CloseDatabases(ctx, all, interval);
  Result<void> first;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i].ok()) continue;
    LogFailure(*databases[i], results[i].error());
    if (first.ok()) first = results[i];
  }
  return first;
}

std::vector<DatabaseStatus> Store::Status() const {
  const auto databases = Databases();
  std::vector<DatabaseStatus> status;
  status.reserve(databases.size());
  for (const auto& database : databases) status.push_back(database->Status());
  return status;
}

std::size_t Store::closing_count() const {
  MutexLock lock(mu_);
  return closing_.size();
}

}  // namespace litestream
