#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/env.h"
#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "replica/plan.h"
#include "storage/lease.h"

namespace litestream {

// How a listing differs from what was expected.
struct CatalogueDifference {
  enum class Kind : unsigned char {
    kMissing,    // We know it, and it is not listed.
    kUnknown,    // It is listed, and we do not know it.
    kOtherSize,  // Of a file that both have.
    kUnsorted,   // The file is listed behind one that it belongs before.
    kGap,        // Transactions between this file and the one before it are in neither, and no
                 // snapshot leads on to this file (Catalogue::LeadsTo).
    kOverlap,    // The file begins before the one before it ends.
  };
  Kind kind = Kind::kMissing;
  FileInfo file;
};
std::string_view ToString(
    CatalogueDifference::Kind kind);  // "missing", "unknown", "other size", ...

// What a replica holds: known from one listing, and after that from our own writes and deletes, so
// that nobody has to list it again. 32 bytes a file. Not safe for concurrent calls.
//
// Invariant: while nobody else writes to the replica (that is what the lease is for), it holds
// every file in the catalogue, and of others only those that are doubtful: a write of theirs has
// failed, and the answer may have been lost. Those who write keep to this order: CatalogueFile::
// Discard, the write, then Add; or Doubt if it failed in a way that leaves that open. Those who
// delete: Discard, the delete, then Remove. A delete that failed changes nothing: whoever reads the
// file then has to expect that it is gone.
//
// Who writes tries a doubtful file again (replica/compaction_choice.h), which settles it. Where
// that is not possible any more, a listing does.
class Catalogue {
 public:
  Catalogue() = default;
  static Catalogue FromListing(const ReplicaListing& listing);

  void Add(const FileInfo& file);  // One of the same name is replaced. It is not doubtful any more.
  void Remove(const FileId& id);   // Nothing if it is not there. It is not doubtful any more.
  void Doubt(const FileId& id);
  const std::vector<FileId>& doubtful() const { return doubtful_; }

  // Of a level, ascending by (min, max).
  std::size_t count(Level level) const { return LevelOf(level).size(); }
  FileInfo at(Level level, std::size_t index) const;
  std::optional<FileInfo> Find(const FileId& id) const;
  // Index of the first file of a level that begins behind `txid`; the count if none does.
  std::size_t FirstBehind(Level level, Txid txid) const;
  std::size_t file_count() const;

  Txid newest(Level level) const;  // Greatest max TXID; 0 if the level is empty.
  Txid newest() const;             // The same over all levels.
  // End of the run 1..n that all levels together cover without a hole.
  Txid ContiguousEnd() const;
  // Whether some snapshot ends so that `file` continues it: not before the transaction before its
  // first one, and not behind its last. What such a file lacks before it was lost, or never meant
  // to be in its level (replica/compaction_choice.h); the file can be restored all the same.
  bool LeadsTo(const TxidRange& file) const;

  ReplicaListing Listing() const;

  // How `listing` differs. Names of files come ascending within a level; what is wrong with the
  // listing in itself is said of it as it is given. Level 9 has neither gaps nor overlaps. Doubtful
  // files are no difference.
  std::vector<CatalogueDifference> Compare(const ReplicaListing& listing) const;

  friend bool operator==(const Catalogue&, const Catalogue&) = default;

 private:
  friend class CatalogueFile;
  // Without the level, which would take another 8 bytes.
  struct Entry {
    TxidRange txids;
    std::uint64_t size_bytes = 0;
    WallTime created_at;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  static_assert(sizeof(Entry) == 32);
  using Entries = std::vector<Entry>;  // Ascending by (min, max).

  const Entries& LevelOf(Level level) const { return levels_[level.value]; }

  std::array<Entries, kLevelCount> levels_;
  std::vector<FileId> doubtful_;
};

// Whose catalogue it is. With another chain or place than the file was saved for, it is unknown.
struct CatalogueOwner {
  // Names the history that the replica continues: the database checksum at its end.
  std::uint64_t chain = 0;
  std::string place;  // ReplicaClient::Describe
};

// What a catalogue file says. As long as the lease of the replica bears the mark, nobody else has
// changed the replica since.
struct SavedCatalogue {
  Catalogue catalogue;
  LeaseMark lease;  // Unknown: none was held.
};

// A catalogue on local disk, for the time in which nothing changes: docs/formats/catalogue.md.
//
// The file is there only while it is exact. It is written when the replica has become quiet, and
// removed, durably, before the replica is changed again. So a busy database costs two small
// operations for each busy time, however long that lasts and however many files there are, and a
// crash in it costs one listing. (A log of every change would have to be made durable before every
// upload, or it would not be exact after a crash: an fsync each, and a second format to recover.)
//
// Invariant: if Load gives a catalogue, then nobody who keeps to the order above has changed the
// replica since it was saved.
//
// Not safe for concurrent calls. Borrows the Env.
class CatalogueFile {
 public:
  // `gone`: there is no file, and no removal of one that might not be durable; so in a directory
  // that was just made.
  CatalogueFile(Env& env, const std::filesystem::path& path, const FileOwner& owner,
                bool gone = false)
      : env_(env), path_(path.native()), owner_(owner), gone_(gone) {}

  // Unset: unknown, list the replica. A file that is missing, damaged, unreadable or of another
  // owner is no error.
  std::optional<SavedCatalogue> Load(const CatalogueOwner& whose);
  // The same, of the very file that was saved or loaded here last: another process on the state
  // directory may have put its own in the place.
  std::optional<SavedCatalogue> LoadAgain(const CatalogueOwner& whose);
  // Does nothing with a catalogue that has doubtful files: it is not exact. After an error there is
  // this file or none.
  Result<void> Save(const Catalogue& catalogue, const CatalogueOwner& whose,
                    const LeaseMark& lease);
  // Before every change of the replica; free when the file is known to be gone. After an error the
  // replica must not be changed.
  Result<void> Discard();

 private:
  std::optional<SavedCatalogue> Read(const CatalogueOwner& whose, std::optional<std::uint64_t> crc);

  Env& env_;
  const std::string path_;
  const FileOwner owner_;
  bool gone_;
  std::uint64_t crc_ = 0;  // Of what was saved or loaded last.
};

}  // namespace litestream
