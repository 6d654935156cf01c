#include "tests/simulation/town.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>

#include "db/close.h"
#include "db/database.h"
#include "format/names.h"
#include "replica/restore.h"
#include "storage/lease.h"
#include "storage/limited_client.h"
#include "tests/simulation/application.h"
#include "tests/simulation/local_watch.h"
#include "tests/simulation/vfs.h"

namespace litestream::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const char* const kRestoreOutput = "/restore/out";
constexpr seconds kShutdownTimeout{30};
constexpr milliseconds kShutdownRetry{500};

}  // namespace

Town::Town(World& world, const Plan& plan, bool log)
    : world_(world),
      plan_(plan),
      model_(world, kDatabase),
      watch_(world, model_, kDatabase, plan.store_faults.late_list),
      log_level_(log ? LogLevel::kDebug : LogLevel::kWarn),
      dice_(Mix(world.seed(), 7)) {
  world.SetOnPowerFailure([this] {
    model_.OnPowerFailure();
    watch_.OnPowerFailure();
    for (const auto& site : sites_) site->catalogue.Check("after a power failure");
  });
  watch_.SetExcuses([this] {
    EngineWatch::Excuses excuses{.other_replicator = plan_.rival};
    for (const auto& site : sites_) {
      excuses.deletes_in_doubt |= !site->store.maybe_gone().empty();
      excuses.lies |= site->store.lied();
      excuses.strangers |= site->store.strangers() > 0;
    }
    excuses.lease_of_the_dead = [this] {
      return std::ranges::any_of(sites_,
                                 [](const auto& site) { return site->store.TakeLeaseOfTheDead(); });
    };
    return excuses;
  });
  for (int i = 0; i < (plan.second_replica ? 2 : 1); ++i) {
    sites_.push_back(
        std::make_unique<Site>(world, model_, plan, fmt::format("store {}", sites_.size() + 1)));
    if (plan.limits) sites_.back()->store.SetTurns(turns_, plan.limits->uploads);
  }
}

void Town::Open() {
  for (const char* const directory : {kDirectory, "/restore", "/checker"}) {
    (void)world_.disk().CreateDirectory(directory, {.mode = 0755}).ok();
  }
  (void)world_.disk().SyncDirectory("/").ok();
  mayor_ = &world_.Start("mayor", {}, [this](Process&) { Chaos(); });
  mayor_->SetOutsideMachine();
  for (int i = 0; i < plan_.applications; ++i) {
    Add(fmt::format("app{}", i + 1), plan_.application_faults, true,
        [this](Process& p) { RunApplication(p, plan_, kDatabase); });
  }
  Add("replicator", plan_.replicator_faults, false, [this](Process& p) { RunReplicator(p); });
  if (plan_.rival) {
    Add("rival", plan_.replicator_faults, false, [this](Process& p) { RunReplicator(p); });
  }
  if (plan_.stranger) {
    world_.Start("stranger", {}, [this](Process& p) { RunStranger(p); }).SetOutsideMachine();
  }
  Add("restorer", {}, false, [this](Process& p) { RunRestorer(p); });
}

void Town::Add(std::string name, const FaultRates& rates, bool is_application,
               std::function<void(Process&)> main) {
  auto role = std::make_unique<Role>();
  role->name = std::move(name);
  role->rates = rates;
  role->main = std::move(main);
  role->is_application = is_application;
  roles_.push_back(std::move(role));
  Role& r = *roles_.back();
  r.keeper = &world_.Spawn(*mayor_, "keep " + r.name, [this, &r] { Keep(r); });
}

void Town::Keep(Role& role) {
  Random dice(Mix(world_.seed(), HashOf(role.name)));
  while (!mayor_->dead() && !(closed_ && role.is_application)) {
    if (role.paused) {
      world_.Park();
      continue;
    }
    role.pid = world_.Start(role.name, role.rates, role.main).pid();
    world_.WaitForExit(role.pid);
    role.pid = 0;
    // It may be down for long, so that others do much meanwhile.
    const std::uint64_t most = calm_ ? 1'000 : dice.OneIn(3) ? 30'000 : 1'000;
    mayor_->Sleep(milliseconds(dice.Below(most)));
  }
  role.keeper = nullptr;
}

Process* Town::ProcessOf(Role& role) {
  return role.pid == 0 ? nullptr : world_.Find(role.pid);
}

void Town::StopRole(Role& role, bool crash) {
  Process* const process = ProcessOf(role);
  if (process == nullptr) return;
  if (crash) {
    // Somewhere in what it is going to do.
    if (dice_.OneIn(3)) process->CrashInSync();
    process->CrashInCall(1 + dice_.Below(dice_.OneIn(2) ? 20 : 500));
  } else {
    process->RequestStop();
  }
}

void Town::Calm() {
  calm_ = true;
  world_.SetFaultsEnabled(false);
  // It looks at the replica only when it starts.
  const bool whole = std::ranges::all_of(
      sites_, [](const auto& site) { return site->checker.history_is_whole(); });
  for (auto& role : roles_) {
    if (!whole && !role->is_application) StopRole(*role, false);
  }
}

void Town::Close() {
  closed_ = true;
  for (auto& role : roles_) {
    if (role->is_application) StopRole(*role, false);
  }
}

// --- Trouble. ---

std::vector<std::pair<std::string, Town::Trouble>> Town::Troubles() const {
  std::vector<std::pair<std::string, Trouble>> all;
  const auto add = [&all](bool on, const char* name, Trouble trouble, int weight = 1) {
    for (int i = 0; on && i < weight; ++i) all.emplace_back(name, trouble);
  };
  add(plan_.crash_replicator, "crash replicator", &Town::CrashReplicator, 6);
  add(plan_.stop_replicator, "stop replicator", &Town::StopReplicator, 3);
  add(plan_.crash_application, "crash application", &Town::CrashApplication, 6);
  add(plan_.power_failure, "power failure", &Town::PowerFailure, 5);
  add(plan_.disk_full, "disk full", &Town::FillDisk);
  add(plan_.clock_jumps, "clock jumps", &Town::JumpClock);
  add(plan_.store_breaks, "store breaks", &Town::BreakStore, 2);
  add(plan_.store_wiped, "store wiped", &Town::WipeStore);
  add(plan_.store_expires, "store expires", &Town::ExpireStore);
  add(plan_.meta_lost, "meta lost", &Town::LoseMeta);
  add(plan_.change_journal_mode, "journal mode", &Town::ChangeJournalMode);
  add(plan_.change_page_size, "page size", &Town::ChangePageSize);
  add(plan_.replace_database, "replace", &Town::ReplaceDatabase);
  add(plan_.delete_database, "delete", &Town::DeleteDatabase);
  add(plan_.delete_wal, "delete wal", &Town::DeleteWal);
  add(plan_.restore_over, "restore over", &Town::RestoreOver);
  add(plan_.take_turns, "take turns", &Town::TakeTurns, 3);
  add(plan_.grow_by_hand, "grow by hand", &Town::GrowByHand);
  add(plan_.outages, "lose disk", &Town::LoseDisk, 6);
  add(plan_.backups, "backups", &Town::UseBackups, 2);
  add(plan_.backups, "try something", &Town::TrySomething);
  return all;
}

void Town::Chaos() {
  const auto troubles = Troubles();
  while (!mayor_->dead() && !calm_) {
    mayor_->Sleep(Nanos(static_cast<std::int64_t>(
        dice_.Below(2 * static_cast<std::uint64_t>(plan_.chaos.count())))));
    if (calm_ || mayor_->dead() || troubles.empty()) continue;
    const auto& [name, trouble] = troubles[dice_.Below(troubles.size())];
    if (mayor_->Happens(++strikes_, name)) (this->*trouble)();
  }
  // The keepers are its threads too.
  while (!mayor_->dead()) world_.Park();
}

void Town::CrashReplicator() {
  for (auto& role : roles_) {
    if (!role->is_application && role->name != "restorer") StopRole(*role, true);
  }
}

void Town::StopReplicator() {
  for (auto& role : roles_) {
    if (role->name == "replicator") StopRole(*role, false);
  }
}

void Town::CrashApplication() {
  Role& role = *roles_[dice_.Below(static_cast<std::uint64_t>(plan_.applications))];
  StopRole(role, true);
}

void Town::PowerFailure() {
  // Mostly while something is being made durable.
  constexpr std::array kOfApplications = {"db", "-wal"};
  constexpr std::array kOfReplicators = {".ltx.tmp", "/ltx/0", "pages.sum", "position.tmp"};
  const bool application = dice_.OneIn(3);
  for (auto& role : roles_) {
    Process* const process = ProcessOf(*role);
    if (process == nullptr || role->is_application != application || dice_.OneIn(2)) continue;
    process->FailPowerInSync(
        application ? kOfApplications[dice_.Below(2)] : kOfReplicators[dice_.Below(4)],
        dice_.Next());
    return;
  }
  world_.PowerFailure(dice_.Next());
  mayor_->Sleep(milliseconds(1));
}

void Town::FillDisk() {
  world_.FillDiskUntil(world_.now_ns() +
                       static_cast<std::int64_t>(dice_.Below(60)) * 1'000'000'000);
}

void Town::LoseDisk() {
  for (auto& role : roles_) {
    Process* const process = ProcessOf(*role);
    if (process == nullptr || role->is_application || role->name == "restorer") continue;
    process->LoseDiskInCall(1 + dice_.Below(500), milliseconds(dice_.Below(5'000)));
  }
}

void Town::JumpClock() {
  const auto far = static_cast<std::int64_t>(dice_.Below(dice_.OneIn(2) ? 5'000 : 86'400'000));
  world_.JumpWall(milliseconds(dice_.OneIn(2) ? far : -far));
}

void Town::BreakStore() {
  AnySite(dice_).store.BreakUntil(world_.now_ns() +
                                  static_cast<std::int64_t>(dice_.Below(120)) * 1'000'000'000);
}

void Town::WipeStore() {
  Site& site = AnySite(dice_);
  site.checker.OnHistoryCut();
  watch_.OnPeople();
  const Context ctx = Context::Background();
  const auto client = site.store.Look();
  const auto listing = ListReplica(ctx, *client, false);
  for (const auto& level : listing.value().levels) {
    for (const FileInfo& file : level) site.store.OnRemovedByPeople({&file.id, 1});
  }
  (void)client->DeleteAll(ctx).ok();
  site.store.OnWiped();
}

void Town::ExpireStore() {
  const Context ctx = Context::Background();
  Site& site = AnySite(dice_);
  const auto client = site.store.Look();
  const auto files = client->List(ctx, kLevel0, {});
  if (!files.ok() || files.value().empty()) return;
  site.checker.OnHistoryCut();
  watch_.OnPeople();
  std::vector<FileId> old;
  const std::uint64_t count = 1 + dice_.Below(files.value().size());
  for (std::uint64_t i = 0; i < count; ++i) old.push_back(files.value()[i].id);
  site.store.OnRemovedByPeople(old);
  (void)client->Delete(ctx, old).ok();
}

// --- Those who work. ---

void Town::RunReplicator(Process& process) {
  DatabaseOptions options;
  options.path = kDatabase;
  options.monitor_interval = plan_.monitor_interval;
  options.checkpoint = plan_.checkpoint;
  options.max_sync_wal_bytes = plan_.max_sync_wal_bytes;
  options.scrub_interval = plan_.scrub_interval;
  options.local_retention = plan_.local_retention;
  options.upkeep = plan_.upkeep;
  options.stream_above_bytes = plan_.stream_above_bytes;
  options.local_retention_bytes = plan_.local_retention_bytes;
  options.stream_slice_bytes = 2'000;
  options.sqlite_vfs = process.vfs().name();
  const auto limiter = plan_.limits ? std::make_shared<Limiter>(*plan_.limits) : nullptr;
  for (const auto& site : sites_) {
    ReplicaOptions replica;
    replica.client = site->store.Connect(process);
    if (limiter) replica.client = MakeLimitedClient(site->store.Connect(process), limiter);
    replica.limiter = limiter;
    replica.sync_interval = plan_.sync_interval;
    options.replicas.push_back(replica);
    site->checker.OnStart();
    site->catalogue.Check("at a start");
  }
  OpenDatabases none(0);
  if (plan_.park) options.open_databases = &none;
  options.stay_open = seconds(3);
  Database database(process.env(), process.scheduler(), options,
                    watch_.MakeLogger(process, log_level_));
  database.Start();
  // What it says again it may have learnt before the replica was emptied.
  std::vector<Txid> said(sites_.size());
  LocalWatch local(process, plan_);
  while (!process.stopping().stop_requested()) {
    process.Sleep(seconds(1), process.stopping());
    if (process.dead()) return;
    const DatabaseStatus status = database.Status();
    local.Look(status);
    for (std::size_t i = 0; i < sites_.size(); ++i) {
      sites_[i]->catalogue.Check("while it runs");
      const Txid txid = status.replicas[i].txid;
      if (std::exchange(said[i], txid) != txid) sites_[i]->checker.OnReported(txid);
    }
  }
  CloseReplicator(process, database);
}

void Town::CloseReplicator(Process& process, Database& database) {
  const Context ctx(std::stop_token(), process.clock().Monotonic() + kShutdownTimeout,
                    process.clock());
  const Model::Number before = model_.newest();
  const bool there = before > 0 && model_.IsOfPresentFile(before);
  const std::uint64_t faults = process.injected_faults();
  Database* const only = &database;
  const auto closed = std::move(CloseDatabases(ctx, {&only, 1}, kShutdownRetry).front());
  if (process.dead() || !closed.ok() || faults != process.injected_faults()) return;
  for (const auto& site : sites_) CheckLeaseIsFree(*site, process);
  if (!there) return;
  for (const auto& site : sites_) {
    const auto newest = site->checker.NewestState();
    if (!site->checker.history_is_whole() || !newest) continue;
    if (model_.LastLike(*newest) >= before) continue;
    world_.Fail("a clean stop left commits behind that were made before it");
  }
}

// Whoever comes next need not wait, unless it is for one who died before.
void Town::CheckLeaseIsFree(Site& site, const Process& process) {
  if (plan_.rival || plan_.clock_jumps || site.store.broken()) return;
  if (site.store.lease_writer() != process.pid()) return;
  const auto object = site.store.Look()->GetObject(Context::Background(), kLeaseName);
  if (!object.ok()) return;
  const auto record = ParseLease(object.value().content);
  if (!record.ok() || record.value().owner.starts_with("stranger")) return;
  if (record.value().expires_at > world_.wall()) {
    world_.Fail("a clean stop has not given up its lease");
  }
}

void Town::RunRestorer(Process& process) {
  while (!process.stopping().stop_requested()) {
    process.Sleep(milliseconds(process.dice().Below(60'000)), process.stopping());
    if (process.dead()) return;
    // In the silence at the end it is silent, too.
    if (!closed_) RestoreOnce(process, AnySite(process.dice()));
  }
}

// Some of these files are not there any more. What retention removes so soon are those of level 0:
// all others stay for an hour after they could go.
bool Town::FilesAreGone(Site& site, const RestorePlan& plan, std::int64_t listed_at_ns) {
  const auto client = site.store.Look();
  bool gone = false;
  for (const FileInfo& file : plan.files) {
    if (client->Open(Context::Background(), file.id, {}).ok()) continue;
    gone = true;
    if (file.id.level == kLevel0 || plan_.clock_jumps || plan_.HistoryIsCut()) continue;
    world_.Fail(fmt::format("{} of level {} was removed {} ms after a restore was planned with it",
                            FormatLtxFilename(file.id.txids), file.id.level.value,
                            (world_.now_ns() - listed_at_ns) / 1'000'000));
  }
  return gone;
}

void Town::RestoreOnce(Process& process, Site& site) {
  const auto client = site.store.Connect(process);
  const Context ctx(process.stopping(), std::nullopt, process.clock());
  const std::uint64_t faults = process.injected_faults();
  const bool whole = site.checker.history_is_whole() && !plan_.HistoryIsCut();
  RestoreOptions options;
  options.output = kRestoreOutput;
  options.parallelism = 1;
  options.replace = true;
  RestoreTarget target;
  Result<RestorePlan> plan = RestorePlan{};
  Result<RestoreReport> restored = RestoreReport{};
  for (bool again = false;; again = true) {
    const std::uint64_t removals = site.store.removals();
    const auto listing = ListReplica(ctx, *client, false);
    if (!listing.ok() || listing.value().empty()) return;
    if (!again && process.dice().OneIn(2)) {
      target.txid = Txid{1 + process.dice().Below(listing.value().newest().value)};
    }
    const std::int64_t listed_at = world_.now_ns();
    plan = PlanRestore(listing.value(), target);
    restored = plan.ok() ? Restore(ctx, process.env(), *client, plan.value(), options)
                         : Result<RestoreReport>(plan.error());
    if (process.dead() || process.stopping().stop_requested()) return;
    if (restored.ok()) break;
    // Files may have been merged, and removed, since they were listed: then one plans again.
    const bool removed =
        plan.ok() ? FilesAreGone(site, plan.value(), listed_at) : site.store.removals() != removals;
    if (!removed || world_.failed()) break;
  }
  if (restored.ok()) {
    const auto file = world_.disk().Open(kRestoreOutput, {});
    if (!file.ok()) return;
    std::vector<std::byte> content(file.value()->Stat().value().size_bytes);
    if (file.value()->ReadAt(content, 0).ok()) {
      site.checker.CheckRestored(plan.value().max_txid(), content);
    }
    return;
  }
  // After a rebase, what lies before it cannot be reached by its number any more.
  const bool by_number = target.txid && !plan.ok() && plan.error().Is(ErrorCode::kNotFound);
  const bool excused = faults != process.injected_faults() || site.store.broken() ||
                       world_.disk_full() || !whole || !site.checker.history_is_whole() ||
                       by_number;
  if (!excused) {
    world_.Fail("a restore failed, and nothing explains it: " + restored.error().message());
  }
}

}  // namespace litestream::sim
