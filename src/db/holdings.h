#pragma once

#include <cstdint>
#include <optional>

#include "base/sync.h"
#include "litestream/replica_client.h"
#include "replica/catalogue.h"

namespace litestream {

// What one replica holds, as its uploader and its keeper know it together: the one adds level-0
// files, the other merges and deletes. Unknown until the uploader has listed the replica and found
// that it continues the local files; unknown again after a surprise.
//
// Safe for concurrent calls.
class Holdings {
 public:
  // A copy; unset: unknown.
  std::optional<Catalogue> Look() const;

  // Asked before a listing is begun.
  std::uint64_t changes() const;
  // What a listing says. False: the replica was changed, or forgotten, since `changes`, and the
  // listing may have been begun before or after that. List again.
  bool Learn(Catalogue listed, std::uint64_t changes);
  void Forget();

  // Of a write that is done, of one that failed so that it may be done all the same, and of a
  // delete.
  void Add(const FileInfo& file);
  void Doubt(const FileId& id);
  void Remove(const FileId& id);

 private:
  mutable Mutex mu_;
  std::optional<Catalogue> catalogue_ LS_GUARDED_BY(mu_);
  std::uint64_t changes_ LS_GUARDED_BY(mu_) = 0;
};

}  // namespace litestream
