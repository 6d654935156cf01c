#include "replica/catalogue.h"

#include <algorithm>
#include <iterator>

namespace litestream {
namespace {

using Kind = CatalogueDifference::Kind;

template <typename Entry>
FileInfo InfoOf(Level level, const Entry& entry) {
  return {.id = {.level = level, .txids = entry.txids},
          .size_bytes = entry.size_bytes,
          .created_at = entry.created_at};
}

bool Leads(Txid snapshot, const TxidRange& file) {
  return snapshot.Next() >= file.min && snapshot <= file.max;
}

// What is wrong with a level's files in themselves. `leads` says whether a snapshot leads to one.
template <typename Leads>
void CheckOrder(const std::vector<FileInfo>& files, const Leads& leads,
                std::vector<CatalogueDifference>& out) {
  Txid reached;
  for (std::size_t i = 1; i < files.size(); ++i) {
    const TxidRange& txids = files[i].id.txids;
    reached = std::max(reached, files[i - 1].id.txids.max);
    if (txids < files[i - 1].id.txids) {
      out.push_back({Kind::kUnsorted, files[i]});
    } else if (txids.min <= reached) {
      out.push_back({Kind::kOverlap, files[i]});
    } else if (txids.min > reached.Next() && !leads(txids)) {
      out.push_back({Kind::kGap, files[i]});
    }
  }
}

}  // namespace

std::string_view ToString(Kind kind) {
  switch (kind) {
    case Kind::kMissing:
      return "missing";
    case Kind::kUnknown:
      return "unknown";
    case Kind::kOtherSize:
      return "other size";
    case Kind::kUnsorted:
      return "unsorted";
    case Kind::kGap:
      return "gap";
    case Kind::kOverlap:
      return "overlap";
  }
  return "";
}

Catalogue Catalogue::FromListing(const ReplicaListing& listing) {
  Catalogue catalogue;
  for (std::size_t level = 0; level < kLevelCount; ++level) {
    Entries& entries = catalogue.levels_[level];
    entries.reserve(listing.levels[level].size());
    for (const FileInfo& file : listing.levels[level]) {
      entries.push_back({file.id.txids, file.size_bytes, file.created_at});
    }
    std::ranges::sort(entries, {}, &Entry::txids);
  }
  return catalogue;
}

void Catalogue::Add(const FileInfo& file) {
  std::erase(doubtful_, file.id);
  Entries& entries = levels_[file.id.level.value];
  const Entry entry{file.id.txids, file.size_bytes, file.created_at};
  const auto at = std::ranges::lower_bound(entries, entry.txids, {}, &Entry::txids);
  if (at != entries.end() && at->txids == entry.txids) {
    *at = entry;
  } else {
    entries.insert(at, entry);
  }
}

void Catalogue::Remove(const FileId& id) {
  std::erase(doubtful_, id);
  Entries& entries = levels_[id.level.value];
  const auto at = std::ranges::lower_bound(entries, id.txids, {}, &Entry::txids);
  if (at != entries.end() && at->txids == id.txids) entries.erase(at);
}

void Catalogue::Doubt(const FileId& id) {
  if (!Find(id) && std::ranges::find(doubtful_, id) == doubtful_.end()) doubtful_.push_back(id);
}

FileInfo Catalogue::at(Level level, std::size_t index) const {
  return InfoOf(level, LevelOf(level)[index]);
}

std::optional<FileInfo> Catalogue::Find(const FileId& id) const {
  const Entries& entries = LevelOf(id.level);
  const auto at = std::ranges::lower_bound(entries, id.txids, {}, &Entry::txids);
  if (at == entries.end() || at->txids != id.txids) return std::nullopt;
  return InfoOf(id.level, *at);
}

std::size_t Catalogue::FirstBehind(Level level, Txid txid) const {
  const auto& entries = LevelOf(level);
  const auto at = std::ranges::upper_bound(entries, txid, {},
                                           [](const Entry& entry) { return entry.txids.min; });
  return static_cast<std::size_t>(at - entries.begin());
}

std::size_t Catalogue::file_count() const {
  std::size_t count = 0;
  for (const Entries& entries : levels_) count += entries.size();
  return count;
}

Txid Catalogue::newest(Level level) const {
  Txid newest;
  for (const Entry& entry : LevelOf(level)) newest = std::max(newest, entry.txids.max);
  return newest;
}

Txid Catalogue::newest() const {
  Txid newest;
  for (std::uint8_t level = 0; level < kLevelCount; ++level) {
    newest = std::max(newest, this->newest(Level{level}));
  }
  return newest;
}

Txid Catalogue::ContiguousEnd() const {
  Txid end;
  // All levels are sorted: what continues the run is the next file of one of them.
  std::array<std::size_t, kLevelCount> next = {};
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t level = 0; level < kLevelCount; ++level) {
      const Entries& entries = levels_[level];
      for (; next[level] < entries.size(); ++next[level]) {
        const TxidRange& txids = entries[next[level]].txids;
        if (txids.min > end.Next()) break;
        if (txids.max <= end) continue;
        end = txids.max;
        moved = true;
      }
    }
  }
  return end;
}

bool Catalogue::LeadsTo(const TxidRange& file) const {
  return std::ranges::any_of(LevelOf(kSnapshotLevel), [&file](const Entry& snapshot) {
    return Leads(snapshot.txids.max, file);
  });
}

ReplicaListing Catalogue::Listing() const {
  ReplicaListing listing;
  for (std::uint8_t level = 0; level < kLevelCount; ++level) {
    auto& files = listing.levels[level];
    files.reserve(levels_[level].size());
    for (const Entry& entry : levels_[level]) files.push_back(InfoOf(Level{level}, entry));
  }
  return listing;
}

std::vector<CatalogueDifference> Catalogue::Compare(const ReplicaListing& listing) const {
  std::vector<CatalogueDifference> differences;
  const Catalogue listed = FromListing(listing);
  for (std::uint8_t n = 0; n < kLevelCount; ++n) {
    const Level level{n};
    const Entries& theirs = listed.LevelOf(level);
    auto other = theirs.begin();
    const auto note_unknown = [&]() {
      const FileInfo file = InfoOf(level, *other);
      ++other;
      if (std::ranges::find(doubtful_, file.id) != doubtful_.end()) return;
      differences.push_back({Kind::kUnknown, file});
    };
    for (const Entry& ours : LevelOf(level)) {
      while (other != theirs.end() && other->txids < ours.txids) note_unknown();
      if (other == theirs.end() || other->txids != ours.txids) {
        differences.push_back({Kind::kMissing, InfoOf(level, ours)});
        continue;
      }
      if (other->size_bytes != ours.size_bytes) {
        differences.push_back({Kind::kOtherSize, InfoOf(level, *other)});
      }
      ++other;
    }
    while (other != theirs.end()) note_unknown();
    if (level == kSnapshotLevel) continue;
    CheckOrder(
        listing.levels[n], [&](const TxidRange& txids) { return listed.LeadsTo(txids); },
        differences);
  }
  return differences;
}

}  // namespace litestream
