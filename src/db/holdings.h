#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/sync.h"
#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "replica/catalogue.h"

namespace litestream {

// What one replica holds, as its uploader and its keeper know it together: the one adds level-0
// files, the other merges and deletes. Unknown until the uploader has listed the replica and found
// that it continues the local files, or recalled what was saved; unknown again after a surprise.
//
// While nothing changes it lies in a file (CatalogueFile), so that an idle database costs no
// memory, and a start no listing.
//
// Invariants:
// 1. The file is removed, durably, before the replica is changed (Begin), and written when no
//    change is under way and nothing is doubtful (Save). So if it is there, it is exact, as far as
//    nobody else has changed the replica.
// 2. It is recalled only for local files that lead to the very database state that the replica's
//    end did when it was saved.
//
// Safe for concurrent calls. None holds a lock across the disk; who comes while the file is being
// read or written waits for moments.
class Holdings {
 public:
  // Where to keep it from now on: the place tells replicas of one database apart. None: nowhere.
  // `is_new`: there is no file, nor was there one.
  void KeepIn(std::shared_ptr<CatalogueFile> file, std::string place, bool is_new = false);

  bool known() const;
  // There may be something to recall.
  bool may_recall() const;
  // It is known, could be kept in the file, and is not.
  bool unsaved() const;
  // The file, if there is one, says what is known, but for the lease: its mark is another now.
  bool has_old_mark(const LeaseMark& lease) const;
  // A copy; unset: unknown.
  Result<std::optional<Catalogue>> Look(const Context& ctx);

  // Asked before a listing is begun.
  std::uint64_t changes() const;
  // What a listing says. False: the replica was changed, or forgotten, since `changes`, and the
  // listing may have been begun before or after that. List again.
  bool Learn(Catalogue listed, std::uint64_t changes);
  void Forget();
  // The same, and what is saved counts no more: somebody else had the replica.
  void Void();

  // Saves it if nothing has changed since the last call, and the replica ends with transaction
  // `end`, which led to the database state `checksum`. `lease`: its mark, asked for before.
  Result<void> SaveIfQuiet(const Context& ctx, Txid end, std::uint64_t checksum,
                           const LeaseMark& lease);
  // The same, and nothing will change any more. Also if only the lease has changed since.
  Result<void> Save(const Context& ctx, Txid end, std::uint64_t checksum, const LeaseMark& lease);
  // What was saved for a replica that ends so; known from then on. Unset: list the replica.
  Result<std::optional<SavedCatalogue>> Recall(const Context& ctx, Txid end,
                                               std::uint64_t checksum);

  // A change of the replica that is under way.
  class Change {
   public:
    explicit Change(Holdings& holdings) : holdings_(&holdings) {}
    Change(Change&& other) noexcept : holdings_(std::exchange(other.holdings_, nullptr)) {}
    ~Change() {
      if (holdings_ != nullptr) holdings_->End();
    }

   private:
    Holdings* holdings_;
  };
  // Before every change. After an error the replica must not be changed.
  Result<Change> Begin(const Context& ctx);
  // Before its end: of a write that is done, of one that failed so that it may be done all the
  // same, and of a delete.
  void Add(const FileInfo& file);
  void Doubt(const FileId& id);
  void Remove(const FileId& id);

 private:
  // Nobody uses the file but the caller, until EndFile.
  Result<void> BeginFile(const Context& ctx);
  void EndFile();
  Result<void> Discard();
  std::optional<SavedCatalogue> Load();
  void End();

  mutable Mutex mu_;
  // Shared: it may be replaced while somebody uses it.
  std::shared_ptr<CatalogueFile> file_ LS_GUARDED_BY(mu_);
  std::string place_ LS_GUARDED_BY(mu_);
  bool file_busy_ LS_GUARDED_BY(mu_) = false;
  bool saved_ LS_GUARDED_BY(mu_) = false;    // The file says what is known.
  bool removed_ LS_GUARDED_BY(mu_) = false;  // There is no file.
  bool stale_ LS_GUARDED_BY(mu_) = false;    // There may be one that says something else.
  std::uint64_t saved_checksum_ LS_GUARDED_BY(mu_) = 0;
  std::uint64_t saved_mark_ LS_GUARDED_BY(mu_) = 0;  // Of the lease: its hash.
  // Unset: unknown, or (saved_) in the file only.
  std::optional<Catalogue> catalogue_ LS_GUARDED_BY(mu_);
  std::uint64_t changes_ LS_GUARDED_BY(mu_) = 0;
  std::uint64_t changes_when_asked_ LS_GUARDED_BY(mu_) = 0;
  int under_way_ LS_GUARDED_BY(mu_) = 0;
};

}  // namespace litestream
