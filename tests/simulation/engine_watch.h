#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "litestream/types.h"
#include "tests/simulation/model.h"
#include "tests/simulation/process.h"
#include "tests/simulation/world.h"

namespace litestream::sim {

// Listens to what the engine says, and knows what may have made it say so. To compare the whole
// database, or to send it again, is always safe, and so it hides mistakes: here it needs a reason
// that lies in the world. And a capture that was announced must outlive any power failure.
class EngineWatch {
 public:
  // Of the database at this path. `late_listings`: a replica may seem to hold less than it does.
  EngineWatch(World& world, Model& model, std::filesystem::path path, bool late_listings)
      : world_(world), model_(model), path_(std::move(path)), late_listings_(late_listings) {}

  // What is known elsewhere, and may be to blame.
  struct Excuses {
    bool other_replicator = false;  // On the same state directory.
    bool deletes_in_doubt = false;  // Nobody knows whether they were done.
    bool lies = false;              // They were said to be done, and were not.
    bool strangers = false;         // Had a lease.
    std::function<bool()> lease_of_the_dead;
  };
  void SetExcuses(std::function<Excuses()> excuses) { excuses_ = std::move(excuses); }

  // Somebody changes the files of the database, of its replica, or of our state directory.
  void OnPeople() { ++people_; }
  void SetPeopleAtWork(bool at_work) {
    people_at_work_ = at_work;
    ++people_;
  }
  // The disk has lost what was not synced.
  void OnPowerFailure();
  void OnLine(Process& process, std::string_view message, const LogFields& fields);
  // For the engine's loggers. Lines from `level` on go into the trace, too.
  Logger MakeLogger(Process& process, LogLevel level);

 private:
  // What may be to blame. Each is counted from the beginning.
  struct Causes {
    std::uint64_t people = 0;
    std::uint64_t power = 0;
    std::uint64_t faults = 0;  // Calls of a replicator that were made to fail.
    std::uint64_t killed = 0;  // Applications.
    std::uint32_t pid = 0;     // Of the replicator.
  };
  Causes Now(const Process& process);
  void OnCaptured(std::string_view text, const Causes& now);
  void OnComparison(const Causes& now, std::string_view reason);
  bool SyncFailed(bool of_replicators) const;
  bool HasLocalFilesFrom(Txid txid) const;
  void OnWrongCatalogue(const Causes& now, std::string_view kind);
  void Unexplained(std::string_view message, std::string_view detail);

  World& world_;
  Model& model_;
  const std::filesystem::path path_;
  const bool late_listings_;
  std::function<Excuses()> excuses_;
  bool dropped_ = false;  // Local files, for a replica that was away.
  std::uint64_t people_ = 0;
  std::uint64_t faults_ = 0;
  std::uint64_t killed_ = 0;
  std::size_t faults_seen_ = 0;
  bool people_at_work_ = false;
  std::map<std::uint32_t, Causes> attaching_;  // As of the time when a replicator tried to open.
  Causes attached_;                            // The same of the last one that did.
  // The newest capture that was announced, and the WAL that it was made from.
  std::string captured_;
  Causes captured_causes_;
  bool rebase_wanted_ = false;                // Until capture has gone on elsewhere.
  std::optional<Model::WalId> captured_wal_;  // What the last capture was read from, if known.
  std::optional<Model::WalId> wal_at_capture_;
  std::optional<Model::WalId> first_wal_;
  std::optional<FileStat> parked_;  // The database file, when it was last parked.
};

}  // namespace litestream::sim
