#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "db/database.h"
#include "replica/plan.h"
#include "tests/simulation/catalogue_watch.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/engine_watch.h"
#include "tests/simulation/model.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/store.h"
#include "tests/simulation/world.h"

namespace litestream::sim {

inline constexpr const char* kDirectory = "/data";
inline constexpr const char* kDatabase = "/data/db";

class AppConnection;

// Everybody in it: keeps the processes running, brings them to trouble, and ends them.
class Town {
 public:
  Town(World& world, const Plan& plan, bool log);

  // Begins to run everything.
  void Open();
  // No more trouble; what is down comes up again.
  void Calm();
  // The applications end.
  void Close();

  Model& model() { return model_; }
  // Each replica has its own store, and is judged on its own.
  struct Site {
    Site(World& world, Model& model, const Plan& plan, std::string name)
        : store(world, plan.store_faults, std::move(name)),
          checker(world, model, store, plan.upkeep),
          catalogue(world, store, DefaultMetaPath(kDatabase), plan.rival || plan.meta_lost) {
      store.SetOnChange([this](const Process& process) { catalogue.OnChange(process); });
    }
    Store store;
    Checker checker;
    CatalogueWatch catalogue;
  };
  const std::vector<std::unique_ptr<Site>>& sites() { return sites_; }
  std::uint64_t restores_attempted() const { return restores_; }

 private:
  // Keeps one process running, until told otherwise.
  struct Role {
    std::string name;
    FaultRates rates;
    std::function<void(Process&)> main;
    std::uint32_t pid = 0;  // 0: down.
    bool paused = false;
    bool is_application = false;
    Thread* keeper = nullptr;
  };

  void Add(std::string name, const FaultRates& rates, bool is_application,
           std::function<void(Process&)> main);
  void Keep(Role& role);
  Process* ProcessOf(Role& role);
  void StopRole(Role& role, bool crash);

  void Chaos();
  void Strike();
  using Trouble = void (Town::*)();
  std::vector<std::pair<std::string, Trouble>> Troubles() const;
  void CrashReplicator();
  void StopReplicator();
  void CrashApplication();
  void PowerFailure();
  void FillDisk();
  void LoseDisk();
  void JumpClock();
  void BreakStore();
  void WipeStore();
  void ExpireStore();
  void LoseMeta();
  void ChangeJournalMode();
  void ChangePageSize();
  void ReplaceDatabase();
  void DeleteDatabase();
  void DeleteWal();
  void RestoreOver();
  void TakeTurns();
  void GrowByHand();
  void UseBackups();
  void TrySomething();
  // They end, and stay away until Resume.
  std::vector<Role*> Pause(bool applications, bool replicators);
  void Resume(const std::vector<Role*>& paused);
  void RunAdmin(const std::string& what, std::function<void(Process&)> work);
  // SQLite takes note of what was written past it, and finds nothing wrong with it.
  bool Publish(Process& process);
  // The database's files, taken while nobody has it open.
  struct Copy {
    std::string database;
    std::optional<std::string> wal;
  };
  bool TakeCopy(Process& process);
  bool PutBack(Process& process, bool in_place);
  bool Try(Process& process, AppConnection& app, const char* row);
  // Runs `work` while no application runs, and in half of the cases no replicator.
  void Maintain(const std::string& what, std::function<void(Process&)> work);

  Site& AnySite(Random& dice) { return *sites_[dice.Below(sites_.size())]; }
  void RunReplicator(Process& process);
  void CloseReplicator(Process& process, Database& database);
  void CheckLeaseIsFree(Site& site, const Process& process);
  void RunStranger(Process& process);
  void Visit(Process& process, Site& site);
  void RunRestorer(Process& process);
  void RestoreOnce(Process& process, Site& site);
  bool FilesAreGone(Site& site, const RestorePlan& plan, std::int64_t listed_at_ns);
  void RemoveFiles(Process& process);

  World& world_;
  const Plan& plan_;
  Model model_;
  Turns turns_;
  std::vector<std::unique_ptr<Site>> sites_;
  EngineWatch watch_;
  const LogLevel log_level_;
  Random dice_;
  bool calm_ = false;
  bool closed_ = false;
  std::uint64_t strikes_ = 0;
  std::uint64_t visits_ = 0;
  std::uint64_t restores_ = 0;
  std::vector<std::unique_ptr<Role>> roles_;
  Process* mayor_ = nullptr;
  std::optional<Copy> copy_;
};

}  // namespace litestream::sim
