#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>

#include "db/keeper.h"
#include "litestream/replica_client.h"
#include "replica/plan.h"
#include "tests/simulation/model.h"
#include "tests/simulation/store.h"

namespace litestream::sim {

// Holds the replica against the model. Every file is judged when it is stored: laid over the state
// that it builds on, it must give a state that the database was in, and not an older one than the
// transaction before. Restores are judged against the same states.
class Checker {
 public:
  Checker(World& world, Model& model, Store& store, const UpkeepOptions& upkeep);

  // The engine has said that everything up to `txid` is on the replica.
  void OnReported(Txid txid);
  // Somebody else emptied or thinned out the replica: what was reported may be gone.
  void OnHistoryCut();

  // What is restorable right now, without network and faults; nothing if it is not.
  std::optional<RestorePlan> NewestPlan();
  // The newest state that the replica holds, as the model's number.
  std::optional<Model::Number> NewestState();
  // What was reported is restorable.
  void CheckDurable();
  // A restore has given this database for `txid`.
  void CheckRestored(Txid txid, std::span<const std::byte> database);
  // Restores `count` transactions, the newest among them, and compares.
  void CheckRestores(Random& dice, int count);

  std::uint64_t files_checked() const { return files_checked_; }
  std::uint64_t stored_bytes() const { return stored_bytes_; }
  std::uint64_t restores_compared() const { return restores_compared_; }
  bool history_is_whole() const { return whole_; }
  // A replicator starts, and looks at the replica before it uploads something.
  void OnStart() {
    if (!whole_) newest_when_cut_ = model_.newest();
  }
  // Since the history was cut, or the next start, there was nothing to upload, and so no reason to
  // look.
  bool has_rested_since_cut() const { return newest_when_cut_ == model_.newest(); }

 private:
  void OnStored(const FileId& id, std::span<const std::byte> content);
  void BeforeDelete();
  void AfterDelete(std::span<const FileId> ids);
  std::optional<Image> Decode(const FileId& id, std::span<const std::byte> content);
  void Judge(const FileId& id, const Image& image);
  std::optional<Image> Read(Txid txid, std::uint32_t page_size);
  Result<std::vector<std::byte>> RestoreTo(const RestorePlan& plan);

  World& world_;
  Model& model_;
  Store& store_;
  const UpkeepOptions upkeep_;
  ReplicaListing before_delete_;
  struct Known {
    Model::Number number = 0;
    std::uint64_t cut = 0;  // History cuts before it was stored.
    Image image;            // Of the newest ones.
  };
  std::map<Txid, Known> known_;
  struct Stored {
    std::uint64_t hash = 0;
    std::uint64_t cut = 0;
  };
  std::map<FileId, Stored> objects_;
  Txid reported_;
  Txid stored_;  // The newest since the history was last cut.
  Model::Number newest_when_cut_ = 0;
  bool looked_ = false;  // A replicator has, since the history was cut.
  bool whole_ = true;    // There is a way through all that is stored.
  std::uint64_t cuts_ = 0;
  std::uint64_t stored_bytes_ = 0;
  std::uint64_t files_checked_ = 0;
  std::uint64_t restores_compared_ = 0;
};

}  // namespace litestream::sim
