#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "litestream/replica_client.h"
#include "litestream/types.h"
#include "replica/catalogue.h"

namespace litestream {

// What the levels of a replica hold, and what the next file of one is made of. Pure.
//
// A level holds the files of the one below, merged: ascending, each beginning where the one before
// it ends. Level 0 is what was captured. Two things interrupt that:
//
// - An image is a file that holds every page: the first transaction; a full file that builds on
//   nothing; the first file of another page size; a large increment that changed everything. It
//   does not go up the levels, where it would be written again at each of them. It is promoted:
//   level 9 gets it as the snapshot 1..n, n being its last transaction, and the level goes on
//   behind n.
// - A hole is what was lost. A snapshot 1..n that ends in the hole's last transaction, or behind
// it,
//   heals it, and the level goes on behind n.
//
// So in both cases what a level lacks is recognised in the same way, from names alone: between two
// neighbours of a level there may be transactions in neither of them only if a snapshot leads to
// the second one (Catalogue::LeadsTo). Nothing else marks the place, and the level above, which
// reads this one, finds the same. A restore by the rules of plan.h then finds, for every
// transaction that ends a file of a level, that level's files back to such a place, and there the
// snapshot.
//
// For whoever deletes, that means: a snapshot that leads to a file of some level stays as long as
// that file, and those that continue it up to the next snapshot, are to be restorable. Retention
// that deletes the files below a deleted snapshot, as Litestream's, does no harm but to what it
// deletes.

// A step reads no more than this, so that it ends in some seconds. What is left comes in the next.
struct CompactionBounds {
  std::size_t max_files = 256;
  std::uint64_t max_bytes = std::uint64_t{512} << 20;  // But always at least one file.
};

struct CompactionChoice {
  enum class Action : unsigned char {
    kNothing,  // There is nothing that the level lacks.
    kMerge,    // `sources` into one file.
    kPromote,  // The only one of `sources` is an image and has no snapshot yet.
    kGap,      // `hole` is missing, and no snapshot leads to what lies behind it.
  };
  Action action = Action::kNothing;
  std::vector<FileInfo> sources;  // Ascending, each continues the ones before it.
  // Of kGap: what is missing. Else: what was passed over before `sources`, or at the end, because a
  // snapshot stands for it and the source level does not have it.
  std::optional<TxidRange> hole;
  bool more = false;  // Files that follow `sources` wait.
};

// The sources of the next file of level `to` (1 to 8), from the level below: those above the newest
// that `to` holds; for level 1 first those that it has passed by, because otherwise level 0 would
// never be removed. `images` are files known to be images.
//
// If an earlier write to the level is doubtful, the same sources are chosen again as long as they
// are there, so that the same file is tried and not another one beside it. A single file that a
// snapshot ends with waits for others behind it: it may be an image, and nobody needs to find out.
//
// `damaged`: files of level 1 that are of no use and not in the catalogue. Their names are taken,
// so nothing is made of what level 0 has there.
CompactionChoice ChooseSources(const Catalogue& catalogue, Level to, const CompactionBounds& bounds,
                               const std::set<FileId>& images,
                               std::span<const TxidRange> damaged = {});

// The files that make up a snapshot of everything that the replica holds without a hole, as a
// restore would choose them; or again that of an earlier write that is doubtful. kMerge, kNothing
// (there is such a snapshot, or nothing at all) or kGap (files lie behind `hole`).
CompactionChoice ChooseForSnapshot(const Catalogue& catalogue);

// Whether a snapshot is to be merged from files of `merge_bytes` together rather than read from the
// database. What is written and sent is the same, so what counts is what is read. A byte of a file
// is some two bytes of pages, and only expanded, where those of a database are compressed; and a
// merge does not keep the log from being restarted while it reads. On the other side it may come
// over the network. Taken together: bytes against bytes.
bool MergeIsCheaper(std::uint64_t merge_bytes, std::uint64_t database_bytes);

}  // namespace litestream
