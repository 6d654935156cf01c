#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "litestream/context.h"
#include "litestream/error.h"
#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "replica/catalogue.h"
#include "replica/compaction_choice.h"
#include "replica/merge.h"
#include "storage/guarded_source.h"

namespace litestream {

// A replica whose levels are to be brought up to date. One step at a time.
struct CompactionTarget {
  ReplicaClient& client;
  Catalogue& catalogue;
  // The local level-0 file of a transaction, if there is one: preferred to the replica's (R12), if
  // it is as large. Unset: there are none.
  std::function<std::optional<MergeInput>(Txid)> local = {};
  // Called before the replica is changed (CatalogueFile::Discard). After an error it is not.
  std::function<Result<void>(const Context&)> before_write = {};
  // While an object goes up.
  UploadGuard guard = {};
  CompactionBounds bounds = {};
  int threads = 1;  // That open sources at the same time.
  // See ChooseSources. Null: none.
  const std::vector<TxidRange>* damaged = nullptr;
};

enum class SourceFault : unsigned char {
  kMissing,
  kCut,            // Shorter than it was when it was written.
  kDamaged,        // Bytes are wrong, or it is another file than its name says.
  kContradiction,  // Each is right in itself, but they do not fit together (replica/merge.h).
};
// A file of which nothing can be made, and why.
struct BadSource {
  SourceFault fault = SourceFault::kDamaged;
  std::optional<FileInfo> file;  // Unset: kContradiction.
  bool local = false;            // The local file of it. The replica's may be right.
  Error error;
};

// What a step has done. Where it says to wait, doing it again before would only do the same.
struct CompactionStep {
  enum class Outcome : unsigned char {
    kNothing,       // Nothing to do. Wait for the level's next turn.
    kWritten,       // `written` is there. If there is `more`, go on at once.
    kGap,           // Wait until `hole` is healed: by its files, or by a snapshot behind it.
    kBadSource,     // Nothing was written. Wait until `bad` is healed, in the same way.
    kReadDatabase,  // Only of snapshots: read the database, that is cheaper.
  };
  Outcome outcome = Outcome::kNothing;
  std::optional<FileInfo> written;  // In the level, or (an image that was promoted) in level 9.
  bool more = false;
  std::optional<TxidRange> hole;  // See CompactionChoice; worth a line in the log in any case.
  std::optional<BadSource> bad;
};

// Invariants:
// 1. What is written is proven (replica/merge.h), and never replaces anything. An object of that
//    name with the same content is ours: an answer was lost. With other content it is an error.
// 2. A transaction at which a file of a level ends can be restored from this level, those above it
//    and level 9 alone, if it could be before.
// 3. The catalogue changes only when a file is there; a write that failed makes it doubtful.
// 4. A step writes one object, lists nothing, reads nothing that is there locally, and of the
//    replica nothing twice but the beginnings of files.
//
// Memory: what LtxMerge takes for its inputs and the result (replica/merge.h); the bounds keep the
// inputs within 32 MiB at any page size. Nothing is kept on disk.
//
// Errors: those of the client, and of before_write: try again later. kAlreadyExists names the
// object with other content: somebody else writes to the replica; list it, and think.
//
// Not safe for concurrent calls. Borrows what the target refers to.
class Compactor {
 public:
  explicit Compactor(CompactionTarget target) : target_(std::move(target)) {}

  // Writes the next file of level `to` (1 to 8), if the level below has anything for it: the merge
  // of what compaction_choice.h chooses, with the time of the last source (R14), or the snapshot
  // that an image is promoted to. An increment counts as an image from kImageBytes on: small
  // databases are changed as a whole all the time.
  Result<CompactionStep> CompactLevel(const Context& ctx, Level to);

  // The same for a snapshot of everything that the replica holds, from the last one and what
  // follows, if that is cheaper than reading the database of `database_bytes` (MergeIsCheaper), and
  // needs no more files than a step may read.
  Result<CompactionStep> CompactSnapshot(const Context& ctx, std::uint64_t database_bytes);

  // Writes the snapshot 1..n that `file` is in itself: it ends with n and holds every page.
  // kWritten also if it is there already.
  Result<CompactionStep> Promote(const Context& ctx, const FileInfo& file);

 private:
  Result<std::optional<std::uint32_t>> PageSizeBefore(const Context& ctx, Level to,
                                                      const TxidRange& next);

  CompactionTarget target_;
  // Of the file that a level was last found to go on from, so that it is not read in every step.
  struct KnownPageSize {
    FileId file;
    std::uint32_t page_size = 0;
  };
  std::array<KnownPageSize, kLevelCount> page_sizes_;
};

inline constexpr std::uint64_t kImageBytes = std::uint64_t{1} << 20;

}  // namespace litestream
