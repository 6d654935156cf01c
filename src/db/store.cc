#include "db/store.h"

#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "db/close.h"

namespace litestream {

Store::Store(Env& env, Scheduler& scheduler, const StoreOptions& options, const Logger& log)
    : env_(env),
      scheduler_(scheduler),
      options_(options),
      log_(log),
      open_databases_(options.max_open_databases) {}

Store::~Store() = default;

Result<void> Store::Add(const DatabaseOptions& options) {
  DatabaseOptions with_limit = options;
  with_limit.open_databases = &open_databases_;
  auto database = std::make_shared<Database>(env_, scheduler_, with_limit, log_);
  MutexLock lock(mu_);
  for (const auto& other : databases_) {
    if (other->path() == database->path()) {
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("{}: listed twice", database->path().string()));
    }
    if (other->meta_path() == database->meta_path()) {
      return Error(ErrorCode::kAlreadyExists,
                   fmt::format("meta-path collision: databases {} and {} would share meta-path {}",
                               other->path().string(), database->path().string(),
                               database->meta_path().string()));
    }
  }
  databases_.push_back(database);
  if (started_) database->Start();
  return {};
}

void Store::Start() {
  MutexLock lock(mu_);
  started_ = true;
  for (const auto& database : databases_) database->Start();
}

Result<void> Store::SyncOnce(const Context& ctx, const OnceOptions& options) {
  std::vector<std::shared_ptr<Database>> databases;
  {
    MutexLock lock(mu_);
    databases = databases_;
  }
  for (const auto& database : databases) {
    options.before_sync(*database);
    LS_TRY(database->SyncOnce(ctx), "sync database {}", database->path().string());
    if (!options.force_snapshot) continue;
    options.before_snapshot(*database);
    LS_TRY(database->SnapshotOnce(ctx), "snapshot {}", database->path().string());
  }
  return {};
}

Result<void> Store::Close(const std::stop_token& hurry) {
  std::vector<std::shared_ptr<Database>> databases;
  {
    MutexLock lock(mu_);
    databases.swap(databases_);
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
    log_.Error("failed to close database",
               {{"db", databases[i]->path().string()}, {"error", results[i].error().message()}});
    if (first.ok()) first = results[i];
  }
  return first;
}

std::vector<DatabaseStatus> Store::Status() const {
  std::vector<std::shared_ptr<Database>> databases;
  {
    MutexLock lock(mu_);
    databases = databases_;
  }
  std::vector<DatabaseStatus> status;
  status.reserve(databases.size());
  for (const auto& database : databases) status.push_back(database->Status());
  return status;
}

}  // namespace litestream
