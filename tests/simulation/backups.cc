// Copies of a database's files, and how people put them back.

#include <fmt/core.h>

#include "tests/simulation/application.h"
#include "tests/simulation/town.h"

namespace litestream::sim {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kLargestFile = std::size_t{1} << 30U;

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// As `cp` does it: the file stays the same one.
bool WriteOver(Env& env, const std::string& path, const std::string& content) {
  const auto file = env.Open(path, {.write = true, .create = true, .truncate = true});
  return file.ok() && file.value()->WriteAt(BytesOf(content), 0).ok() && file.value()->Sync().ok();
}

bool Write(Env& env, const std::string& path, const std::string& content, bool in_place) {
  return in_place ? WriteOver(env, path, content)
                  : WriteFileAtomically(env, path, BytesOf(content), {.mode = 0644}).ok();
}

}  // namespace

bool Town::TakeCopy(Process& process) {
  Env& env = process.env();
  // Half of what belongs to it is in the journal.
  if (env.Stat(std::string(kDatabase) + "-journal").ok()) return false;
  auto database = ReadSmallFile(env, kDatabase, kLargestFile);
  if (!database.ok() || database.value().empty()) return false;
  Copy copy{.database = std::move(database).value(), .wal = std::nullopt};
  const std::string wal_path = std::string(kDatabase) + "-wal";
  if (env.Stat(wal_path).ok()) {
    auto wal = ReadSmallFile(env, wal_path, kLargestFile);
    if (!wal.ok()) return false;
    copy.wal = std::move(wal).value();
  }
  if (process.dead()) return false;
  copy_ = std::move(copy);
  return true;
}

bool Town::PutBack(Process& process, bool in_place) {
  Env& env = process.env();
  if (!in_place) RemoveFiles(process);
  for (const char* const suffix : {"-journal", "-shm"}) {
    (void)env.Remove(std::string(kDatabase) + suffix).ok();
  }
  const std::string wal_path = std::string(kDatabase) + "-wal";
  if (!copy_->wal) (void)env.Remove(wal_path).ok();
  if (copy_->wal && !Write(env, wal_path, *copy_->wal, in_place)) return false;
  return Write(env, kDatabase, copy_->database, in_place) && env.SyncDirectory(kDirectory).ok();
}

// The files are copied, or what was copied is put in their place, while all is stopped. Put back
// with its WAL, the database has the salts and the frames that it had, and goes on differently.
void Town::UseBackups() {
  auto applications = Pause(true, false);
  auto replicators = Pause(false, true);
  if (!copy_ || dice_.OneIn(2)) {
    RunAdmin("backup", [this](Process& process) { (void)TakeCopy(process); });
    Resume(applications);
    Resume(replicators);
    if (dice_.OneIn(2)) return;
    mayor_->Sleep(milliseconds(dice_.Below(10'000)));
    applications = Pause(true, false);
    replicators = Pause(false, true);
  }
  if (copy_ && !world_.disk_full()) {
    watch_.SetPeopleAtWork(true);
    const bool in_place = dice_.OneIn(2);
    RunAdmin("put back", [this, in_place](Process& process) {
      if (PutBack(process, in_place)) (void)Publish(process);
    });
    watch_.SetPeopleAtWork(false);
  }
  Resume(applications);
  if (dice_.OneIn(2)) mayor_->Sleep(milliseconds(dice_.Below(10'000)));
  Resume(replicators);
}

// Another content for a row, in the same pages.
bool Town::Try(Process& process, AppConnection& app, const char* row) {
  return !process.dead() &&
         app.Exec(fmt::format(
             "UPDATE t SET x = randomblob(length(x)) WHERE id = (SELECT {}(id) FROM t)", row));
}

// Somebody keeps a copy of the database, tries something, does not like it, and puts the copy back.
// Then he does the same again, and the WAL becomes as long as it was with other frames; or he has
// forgotten the WAL: what was in the database is gone with the file, what is in the WAL stays.
void Town::TrySomething() {
  const auto applications = Pause(true, false);
  auto replicators = Pause(false, true);
  const bool again = dice_.OneIn(2);
  RunAdmin("try", [this, again](Process& process) {
    copy_.reset();
    if (!process.env().Stat(kDatabase).ok() || world_.disk_full()) return;
    AppConnection app(process, plan_, kDatabase);
    if (!app.Open() || !app.KeepWal() || app.Text("PRAGMA journal_mode") != "wal") return;
    if (app.Number("SELECT count(*) FROM sqlite_schema WHERE name = 't'") != 1) return;
    if (again) {
      (void)(Try(process, app, "min") && TakeCopy(process) && Try(process, app, "max"));
    } else {
      (void)(app.Number("PRAGMA wal_checkpoint(TRUNCATE)") == 0 && TakeCopy(process) &&
             Try(process, app, "min") && app.Exec("PRAGMA wal_checkpoint(PASSIVE)") &&
             Try(process, app, "max"));
    }
  });
  Resume(replicators);
  mayor_->Sleep(milliseconds(dice_.Below(8'000)));
  replicators = Pause(false, true);
  if (copy_ && !world_.disk_full()) {
    watch_.SetPeopleAtWork(true);
    RunAdmin("put back", [this, again](Process& process) {
      if (again ? !PutBack(process, true)
                : !Write(process.env(), kDatabase, copy_->database, false)) {
        return;
      }
      AppConnection app(process, plan_, kDatabase);
      if (again && app.Open() && app.KeepWal()) (void)Try(process, app, "max");
      app.Close();
      (void)Publish(process);
    });
    watch_.SetPeopleAtWork(false);
  }
  copy_.reset();
  Resume(applications);
  Resume(replicators);
}

}  // namespace litestream::sim
