#include "replica/restore_points.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "base/try.h"
#include "format/ltx.h"
#include "replica/parallel.h"
#include "replica/planned_file.h"
#include "storage/resumable_source.h"

namespace litestream {
namespace {

bool MayBeUsed(const FileInfo& file) {
  const TxidRange& txids = file.id.txids;
  if (txids.min < Txid{1} || txids.min > txids.max) return false;
  return file.id.level != kSnapshotLevel || txids.min == Txid{1};
}

// The files that a plan may use, by their last transaction.
std::vector<const FileInfo*> UsableFiles(const ReplicaListing& listing) {
  std::vector<const FileInfo*> files;
  for (const auto& level : listing.levels) {
    for (const FileInfo& file : level) {
      if (MayBeUsed(file)) files.push_back(&file);
    }
  }
  std::ranges::sort(files, {}, [](const FileInfo* file) { return file->id.txids.max; });
  return files;
}

// Of two files that end at the same point, the one that a plan to this point ends with.
bool EndsPlan(const FileInfo& a, const FileInfo& b) {
  const bool snapshot = a.id.level == kSnapshotLevel;
  if (snapshot != (b.id.level == kSnapshotLevel)) return snapshot;
  if (a.id.txids.min != b.id.txids.min) return a.id.txids.min < b.id.txids.min;
  if (a.id.level != b.id.level) return a.id.level > b.id.level;
  return a.created_at < b.created_at;
}

// The earliest time among the points from one on to the last that was added.
class EarliestOfLast {
 public:
  void Add(Txid txid, WallTime time) {
    while (!steps_.empty() && steps_.back().time >= time) steps_.pop_back();
    steps_.push_back({.txid = txid, .time = time});
  }
  WallTime From(Txid txid) const {
    return std::ranges::lower_bound(steps_, txid, {}, &Step::txid)->time;
  }

 private:
  struct Step {
    Txid txid;
    WallTime time;
  };
  std::vector<Step> steps_;  // Both ascending.
};

// Walks the files by their last transaction, and so finds every point before what builds on it.
class PointFinder {
 public:
  PointFinder() { earliest_.Add(Txid{}, WallTime::min()); }

  // `ends`: all files that end at one transaction.
  void Take(std::span<const FileInfo* const> ends) {
    std::optional<RestorePoint> point;
    for (const FileInfo* const file : ends) {
      const Txid before{file->id.txids.min.value - 1};
      if (reached_ < before) {
        useless_.push_back(file);
        continue;
      }
      const WallTime time = std::max(file->created_at, earliest_.From(before));
      if (!point) {
        point = RestorePoint{.txid = file->id.txids.max,
                             .time = time,
                             .by_time = false,
                             .level = file->id.level,
                             .last = *file};
        continue;
      }
      point->time = std::min(point->time, time);
      point->level = std::min(point->level, file->id.level);
      if (EndsPlan(*file, point->last)) point->last = *file;
    }
    if (!point) return;
    reached_ = point->txid;
    earliest_.Add(point->txid, point->time);
    points_.push_back(*point);
  }

  std::vector<RestorePoint> TakePoints() { return std::move(points_); }
  std::vector<const FileInfo*> TakeUseless() { return std::move(useless_); }

 private:
  std::vector<RestorePoint> points_;
  std::vector<const FileInfo*> useless_;
  EarliestOfLast earliest_;
  Txid reached_;
};

void MarkByTime(std::vector<RestorePoint>& points, std::vector<const FileInfo*> files) {
  std::erase_if(files, [](const FileInfo* file) { return file->id.level == kSnapshotLevel; });
  std::ranges::sort(files, std::greater(), [](const FileInfo* file) { return file->id.txids.min; });
  std::size_t next = 0;
  WallTime later = WallTime::max();  // The earliest of what begins behind the point and a hole.
  WallTime later_point = WallTime::max();
  for (std::size_t i = points.size(); i-- > 0;) {
    RestorePoint& point = points[i];
    for (; next < files.size() && files[next]->id.txids.min > point.txid.Next(); ++next) {
      later = std::min(later, files[next]->created_at);
    }
    point.by_time = point.time < later && point.time < later_point;
    later_point = std::min(later_point, point.time);
  }
}

std::vector<RestoreStretch> FindStretches(const std::vector<RestorePoint>& points) {
  std::vector<RestoreStretch> stretches;
  for (const RestorePoint& point : points) {
    if (stretches.empty() || stretches.back().level() != point.level) {
      stretches.push_back({.oldest = point, .newest = point, .point_count = 0});
    }
    stretches.back().newest = point;
    ++stretches.back().point_count;
  }
  return stretches;
}

std::vector<RestoreHole> FindHoles(const std::vector<RestorePoint>& points,
                                   std::vector<const FileInfo*> useless) {
  std::ranges::sort(useless, {}, [](const FileInfo* file) { return file->id.txids; });
  std::vector<RestoreHole> holes;
  for (const FileInfo* const file : useless) {
    const TxidRange& txids = file->id.txids;
    const auto next = std::ranges::lower_bound(points, txids.min, {}, &RestorePoint::txid);
    // A merged file goes on from there, and holds what is missing in front of this one.
    if (next != points.end() && next->level != kSnapshotLevel) continue;
    const Txid reached = next == points.begin() ? Txid{} : std::prev(next)->txid;
    const bool same = !holes.empty() && holes.back().behind.max >= reached &&
                      txids.min <= holes.back().behind.max.Next();
    if (!same) {
      const Txid before = holes.empty() ? reached : std::max(reached, holes.back().behind.max);
      RestoreHole hole{.missing = {before.Next(), Txid{txids.min.value - 1}},
                       .behind = txids,
                       .file_count = 0,
                       .bridged_by = std::nullopt};
      if (next != points.end()) hole.bridged_by = next->txid;
      holes.push_back(hole);
    }
    holes.back().behind.max = std::max(holes.back().behind.max, txids.max);
    ++holes.back().file_count;
  }
  return holes;
}

}  // namespace

RestorePoints FindRestorePoints(const ReplicaListing& listing) {
  const std::vector<const FileInfo*> files = UsableFiles(listing);
  PointFinder finder;
  for (std::size_t begin = 0; begin < files.size();) {
    std::size_t end = begin;
    while (end < files.size() && files[end]->id.txids.max == files[begin]->id.txids.max) ++end;
    finder.Take(std::span(files).subspan(begin, end - begin));
    begin = end;
  }
  RestorePoints out;
  out.points = finder.TakePoints();
  MarkByTime(out.points, files);
  out.stretches = FindStretches(out.points);
  out.holes = FindHoles(out.points, finder.TakeUseless());
  return out;
}

Result<std::vector<PointProof>> ReadPointProofs(const Context& ctx, ReplicaClient& client,
                                                std::span<const RestorePoint> points, int threads) {
  std::vector<PointProof> proofs(points.size(), PointProof::kUnreadable);
  const auto read_header = [&](const Context& inner, const FileInfo& file) -> Result<LtxHeader> {
    LS_TRY(CheckFileSize(file));
    const auto source = MakeResumableSource(client, file.id, 0, kLtxHeaderSize);
    std::array<std::byte, kLtxHeaderSize> bytes = {};
    const std::size_t n = LS_TRY(ReadFull(inner, *source, bytes));
    const LtxHeader header = LS_TRY(ParseLtxHeader(std::span(bytes).first(n)));
    LS_TRY(CheckHeaderFitsName(header, file.id));
    return header;
  };
  LS_TRY(ForEachParallel(
      ctx, threads, points.size(), [&](const Context& inner, std::size_t i) -> Result<void> {
        const auto header = read_header(inner, points[i].last);
        if (header.ok()) {
          proofs[i] = header.value().Proof() ? PointProof::kCarried : PointProof::kNone;
          return {};
        }
        const ErrorCode code = header.error().code();
        if (code == ErrorCode::kCorruption || code == ErrorCode::kNotFound) return {};
        return Error(header.error()).Wrap(fmt::format("read {}", FileLabel(points[i].last.id)));
      }));
  return proofs;
}

}  // namespace litestream
