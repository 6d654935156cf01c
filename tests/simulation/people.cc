// What people do to their databases, by the town's dice.

#include <fmt/core.h>

#include "db/database.h"
#include "replica/restore.h"
#include "tests/simulation/application.h"
#include "tests/simulation/by_hand.h"
#include "tests/simulation/town.h"

namespace litestream::sim {
namespace {

using std::chrono::milliseconds;

}  // namespace

std::vector<Town::Role*> Town::Pause(bool applications, bool replicators) {
  std::vector<Role*> paused;
  for (auto& role : roles_) {
    if (role->is_application ? !applications : !replicators || role->name == "restorer") continue;
    role->paused = true;
    paused.push_back(role.get());
    StopRole(*role, dice_.OneIn(4));
  }
  for (Role* const role : paused) {
    // A crash comes in one of the next calls; there may be none.
    for (int i = 0; role->pid != 0 && world_.Alive(role->pid) && !mayor_->dead(); ++i) {
      mayor_->Sleep(milliseconds(100));
      if (i == 50) StopRole(*role, false);
    }
  }
  return paused;
}

void Town::Resume(const std::vector<Role*>& paused) {
  for (Role* const role : paused) {
    role->paused = false;
    if (role->keeper != nullptr) world_.Wake(*role->keeper);
  }
}

void Town::RunAdmin(const std::string& what, std::function<void(Process&)> work) {
  if (mayor_->dead()) return;
  const std::uint32_t pid = world_.Start("admin " + what, {}, std::move(work)).pid();
  world_.WaitForExit(pid);
}

void Town::Maintain(const std::string& what, std::function<void(Process&)> work) {
  const auto paused = Pause(true, dice_.OneIn(2));
  watch_.SetPeopleAtWork(true);
  RunAdmin(what, std::move(work));
  watch_.SetPeopleAtWork(false);
  Resume(paused);
}

// The replicator is never there when the applications are.
void Town::TakeTurns() {
  auto applications = Pause(true, false);
  auto replicators = Pause(false, true);
  for (std::uint64_t round = 1 + dice_.Below(4); round > 0 && !mayor_->dead() && !calm_; --round) {
    Resume(replicators);
    mayor_->Sleep(milliseconds(dice_.Below(4'000)));
    replicators = Pause(false, true);
    Resume(applications);
    mayor_->Sleep(milliseconds(dice_.Below(4'000)));
    applications = Pause(true, false);
  }
  Resume(replicators);
  Resume(applications);
}

bool Town::Publish(Process& process) {
  if (!process.env().Stat(kDatabase).ok()) return false;
  AppConnection app(process, plan_, kDatabase);
  if (!app.Open() || !app.KeepWal()) return false;
  const std::string wrong = app.WhatIsWrong();
  if (!wrong.empty() && !world_.LostSyncedData()) {
    world_.Fail("what was written past SQLite is wrong: " + wrong);
  }
  return wrong.empty() && !process.dead();
}

// Nobody has the database open, so all that anybody needs to know is in the WAL. For us it is a
// commit like any other: not even a comparison of the whole database is needed.
void Town::GrowByHand() {
  const auto applications = Pause(true, false);
  auto replicators = Pause(false, true);
  const auto leaves = static_cast<std::uint32_t>(1 + dice_.Below(6));
  // Of an application that was killed, a commit may be there that nobody has seen yet.
  RunAdmin("by hand", [this](Process& process) { (void)Publish(process); });
  if (!dice_.OneIn(3)) {
    // The pages that it grows by stand in the WAL from an earlier time.
    RunAdmin("by hand", [this, leaves](Process& process) {
      WalByHand wal(process, kDatabase);
      (void)(wal.Open(dice_) && wal.Grow(leaves, true, dice_) && Publish(process) && wal.Cut() &&
             Publish(process));
    });
    if (!dice_.OneIn(4)) {
      Resume(replicators);
      mayor_->Sleep(milliseconds(dice_.Below(8'000)));
      replicators = Pause(false, true);
    }
  }
  RunAdmin("by hand", [this, leaves](Process& process) {
    WalByHand wal(process, kDatabase);
    (void)(wal.Open(dice_) && wal.Grow(leaves, false, dice_) && Publish(process));
  });
  Resume(replicators);
  Resume(applications);
}

void Town::RemoveFiles(Process& process) {
  for (const char* const suffix : {"-journal", "-wal", "-shm", ""}) {
    (void)process.env().Remove(std::string(kDatabase) + suffix).ok();
  }
  (void)process.env().SyncDirectory(kDirectory).ok();
}

void Town::LoseMeta() {
  Maintain("meta", [](Process& process) {
    (void)process.env().RemoveTree(DefaultMetaPath(kDatabase)).ok();
  });
}

void Town::ChangeJournalMode() {
  Maintain("journal", [this](Process& process) {
    AppConnection app(process, plan_, kDatabase);
    if (!app.Open()) return;
    using Tolerate = AppConnection::Tolerate;
    // As long as somebody else has it open, it stays as it is.
    (void)app.Exec("PRAGMA journal_mode = delete", Tolerate::kBusy);
    (void)app.Exec("CREATE TABLE IF NOT EXISTS other (x); INSERT INTO other VALUES (1)");
    if (dice_.OneIn(2)) (void)app.Exec("PRAGMA journal_mode = wal", Tolerate::kBusy);
  });
}

void Town::ChangePageSize() {
  Maintain("page size", [this](Process& process) {
    AppConnection app(process, plan_, kDatabase);
    if (!app.Open()) return;
    using Tolerate = AppConnection::Tolerate;
    (void)app.Exec("PRAGMA journal_mode = delete", Tolerate::kBusy);
    (void)app.Exec(fmt::format("PRAGMA page_size = {}; VACUUM", 512U << dice_.Below(4)),
                   Tolerate::kBusy);
    (void)app.Exec("PRAGMA journal_mode = wal", Tolerate::kBusy);
  });
}

void Town::ReplaceDatabase() {
  Maintain("replace", [this](Process& process) {
    // Another database, made beside it.
    const std::string other = std::string(kDatabase) + ".new";
    for (const char* const suffix : {"", "-wal", "-shm", "-journal"}) {
      (void)process.env().Remove(other + suffix).ok();
    }
    {
      AppConnection app(process, plan_, other);
      if (!app.Open() || !app.Exec(fmt::format("PRAGMA page_size = {}; CREATE TABLE mark (x); "
                                               "INSERT INTO mark VALUES (randomblob({}))",
                                               plan_.page_size, dice_.Below(5000)))) {
        return;
      }
    }
    RemoveFiles(process);
    (void)process.env().Rename(other, kDatabase).ok();
    (void)process.env().SyncDirectory(kDirectory).ok();
  });
}

void Town::DeleteDatabase() {
  Maintain("delete", [this](Process& process) { RemoveFiles(process); });
}

void Town::DeleteWal() {
  Maintain("delete wal", [this](Process& process) {
    // Somebody who knows that it is empty, or believes so.
    AppConnection app(process, plan_, kDatabase);
    if (!app.Open()) return;
    // (With us attached it cannot be emptied, and says so after its patience.)
    const auto left = app.Number("PRAGMA wal_checkpoint(TRUNCATE)", AppConnection::Tolerate::kBusy);
    app.Close();
    if (left != 0) return;
    for (const char* const suffix : {"-wal", "-shm"}) {
      (void)process.env().Remove(std::string(kDatabase) + suffix).ok();
    }
  });
}

void Town::RestoreOver() {
  Maintain("restore over", [this](Process& process) {
    const auto client = AnySite(dice_).store.Connect(process);
    const Context ctx(process.stopping(), std::nullopt, process.clock());
    const auto listing = ListReplica(ctx, *client, false);
    if (!listing.ok()) return;
    RestoreTarget target;
    if (dice_.OneIn(2)) target.txid = Txid{1 + dice_.Below(listing.value().newest().value + 1)};
    const auto plan = PlanRestore(listing.value(), target);
    if (!plan.ok()) return;
    RestoreOptions options;
    options.output = kDatabase;
    options.parallelism = 1;
    options.replace = true;
    (void)Restore(ctx, process.env(), *client, plan.value(), options).ok();
  });
}

}  // namespace litestream::sim
