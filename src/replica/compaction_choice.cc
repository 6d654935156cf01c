#include "replica/compaction_choice.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "replica/plan.h"

namespace litestream {
namespace {

using Action = CompactionChoice::Action;

constexpr Level kLevel1{1};

// Walks the files of a level while what is reached goes up.
class Walk {
 public:
  Walk(const Catalogue& catalogue, Level level) : catalogue_(catalogue), level_(level) {}

  // Of the files that begin no later than behind `reached`, the one that goes furthest beyond it.
  std::optional<FileInfo> Next(Txid reached) {
    if (best_ && best_->id.txids.max <= reached) best_.reset();
    for (; next_ < catalogue_.count(level_); ++next_) {
      const FileInfo file = catalogue_.at(level_, next_);
      if (file.id.txids.min > reached.Next()) break;
      if (file.id.txids.max <= reached) continue;
      if (!best_ || file.id.txids.max > best_->id.txids.max) best_ = file;
    }
    return best_;
  }
  // After a Next that found nothing: where the next file begins.
  std::optional<Txid> Behind() const {
    if (next_ == catalogue_.count(level_)) return std::nullopt;
    return catalogue_.at(level_, next_).id.txids.min;
  }

 private:
  const Catalogue& catalogue_;
  const Level level_;
  std::size_t next_ = 0;
  std::optional<FileInfo> best_;
};

// The end of the first snapshot behind `reached` that a file of the level continues, or that all of
// them lie before.
std::optional<Txid> SnapshotOver(const Catalogue& catalogue, Level level, Txid reached) {
  const Txid newest = catalogue.newest(level);
  for (std::size_t i = 0; i < catalogue.count(kSnapshotLevel); ++i) {
    const Txid end = catalogue.at(kSnapshotLevel, i).id.txids.max;
    if (end <= reached) continue;
    if (end >= newest || Walk(catalogue, level).Next(end)) return end;
  }
  return std::nullopt;
}

bool HasSnapshot(const Catalogue& catalogue, Txid txid) {
  return catalogue.Find({kSnapshotLevel, {Txid{1}, txid}}).has_value();
}

class Chooser {
 public:
  Chooser(const Catalogue& catalogue, Level to, const CompactionBounds& bounds,
          const std::set<FileId>& images)
      : catalogue_(catalogue),
        from_{static_cast<std::uint8_t>(to.value - 1)},
        bounds_(bounds),
        images_(images),
        walk_(catalogue, from_),
        reached_(catalogue.newest(to)) {}

  // Only sources up to `last`.
  CompactionChoice Choose(std::optional<Txid> last) {
    for (;;) {
      const auto first = walk_.Next(reached_);
      if (!first) {
        if (PassHole()) continue;
        return std::move(choice_);
      }
      if (!images_.contains(first->id)) return TakeRun(last);
      if (!HasSnapshot(catalogue_, first->id.txids.max)) {
        choice_.action = Action::kPromote;
        choice_.sources.push_back(*first);
        choice_.more = true;
        return std::move(choice_);
      }
      reached_ = first->id.txids.max;
    }
  }

 private:
  // Nothing continues what is reached. True: a snapshot leads on.
  bool PassHole() {
    const auto behind = walk_.Behind();
    if (!behind) return false;
    choice_.hole = TxidRange{reached_.Next(), Txid{behind->value - 1}};
    const auto snapshot = SnapshotOver(catalogue_, from_, reached_);
    if (!snapshot) {
      choice_.action = Action::kGap;
      return false;
    }
    reached_ = *snapshot;
    return true;
  }

  CompactionChoice TakeRun(std::optional<Txid> last) {
    std::uint64_t bytes = 0;
    while (const auto next = walk_.Next(reached_)) {
      const FileInfo& file = *next;
      bytes += file.size_bytes;
      const bool full = choice_.sources.size() == bounds_.max_files || bytes > bounds_.max_bytes;
      const bool beyond = last && file.id.txids.max > *last;
      if ((full && !choice_.sources.empty()) || beyond || images_.contains(file.id)) {
        choice_.more = true;
        break;
      }
      choice_.sources.push_back(file);
      reached_ = file.id.txids.max;
    }
    choice_.more |= walk_.Behind().has_value();
    const bool waits = choice_.sources.size() == 1 && !choice_.more &&
                       HasSnapshot(catalogue_, choice_.sources.front().id.txids.max);
    if (choice_.sources.empty() || waits) return {.hole = choice_.hole};
    choice_.action = Action::kMerge;
    return std::move(choice_);
  }

  const Catalogue& catalogue_;
  const Level from_;
  const CompactionBounds bounds_;
  const std::set<FileId>& images_;
  Walk walk_;
  Txid reached_;
  CompactionChoice choice_;
};

// Files of level 0 that level 1 has passed by: they came to be known (again) when it had gone on
// behind a snapshot. A run that continues a file of level 1, or a snapshot, and ends before the
// next.
class PassedBy {
 public:
  PassedBy(const Catalogue& catalogue, const CompactionBounds& bounds,
           const std::set<FileId>& images, std::span<const TxidRange> damaged)
      : catalogue_(catalogue), bounds_(bounds), images_(images), damaged_(damaged) {}

  std::vector<FileInfo> Find() const {
    Txid reached;
    for (std::size_t i = 0; i < catalogue_.count(kLevel1); ++i) {
      const TxidRange next = catalogue_.at(kLevel1, i).id.txids;
      if (auto run = In(reached, next.min); !run.empty()) return run;
      reached = std::max(reached, next.max);
    }
    return {};
  }

 private:
  // Of what lies behind `from` and before `to`.
  std::vector<FileInfo> In(Txid from, Txid to) const {
    std::vector<FileInfo> run;
    const bool taken = std::ranges::any_of(
        damaged_, [&](const TxidRange& range) { return range.max > from && range.min < to; });
    if (to == from.Next() || taken) return run;
    Txid end = from;
    std::uint64_t bytes = 0;
    for (std::size_t i = catalogue_.FirstBehind(kLevel0, from); i < catalogue_.count(kLevel0);
         ++i) {
      const FileInfo file = catalogue_.at(kLevel0, i);
      bytes += file.size_bytes;
      const bool full = run.size() >= bounds_.max_files || bytes > bounds_.max_bytes;
      if (file.id.txids.max >= to || images_.contains(file.id) || (full && !run.empty())) break;
      const Txid before{file.id.txids.min.value - 1};
      if (before != end) {
        if (!run.empty()) break;
        if (!HasSnapshot(catalogue_, before)) continue;
      }
      run.push_back(file);
      end = file.id.txids.max;
    }
    // Perhaps an image: nobody needs to find out.
    if (run.size() == 1 && HasSnapshot(catalogue_, run.front().id.txids.max)) return {};
    return run;
  }

  const Catalogue& catalogue_;
  const CompactionBounds bounds_;
  const std::set<FileId>& images_;
  const std::span<const TxidRange> damaged_;
};

}  // namespace

CompactionChoice ChooseSources(const Catalogue& catalogue, Level to, const CompactionBounds& bounds,
                               const std::set<FileId>& images, std::span<const TxidRange> damaged) {
  assert(to >= Level{1} && to <= kMaxMergeLevel);
  for (const FileId& id : catalogue.doubtful()) {
    if (id.level != to) continue;
    CompactionChoice same = Chooser(catalogue, to, bounds, images).Choose(id.txids.max);
    if (same.action != Action::kMerge) continue;
    if (TxidRange{same.sources.front().id.txids.min, same.sources.back().id.txids.max} ==
        id.txids) {
      return same;
    }
  }
  if (to == kLevel1) {
    auto run = PassedBy(catalogue, bounds, images, damaged).Find();
    if (!run.empty()) {
      return {.action = Action::kMerge, .sources = std::move(run), .hole = {}, .more = true};
    }
  }
  return Chooser(catalogue, to, bounds, images).Choose(std::nullopt);
}

CompactionChoice ChooseForSnapshot(const Catalogue& catalogue) {
  const Txid end = catalogue.ContiguousEnd();
  CompactionChoice choice;
  if (end < catalogue.newest()) {
    choice.action = Action::kGap;
    choice.hole = TxidRange{end.Next(), catalogue.newest()};
    for (std::uint8_t n = 0; n < kLevelCount; ++n) {
      Walk walk(catalogue, Level{n});
      if (walk.Next(end)) continue;
      if (const auto behind = walk.Behind()) {
        choice.hole->max = std::min(choice.hole->max, Txid{behind->value - 1});
      }
    }
    return choice;
  }
  if (catalogue.newest(kSnapshotLevel) >= end) return choice;
  // The same again, if the answer to an earlier write was lost.
  for (const FileId& id : catalogue.doubtful()) {
    if (id.level != kSnapshotLevel || id.txids.max <= catalogue.newest(kSnapshotLevel)) continue;
    auto plan = PlanRestore(catalogue.Listing(), {.txid = id.txids.max, .before = {}});
    if (!plan.ok()) continue;
    return {.action = Action::kMerge,
            .sources = std::move(plan.value().files),
            .hole = {},
            .more = id.txids.max < end};
  }
  auto plan = PlanRestore(catalogue.Listing(), {.txid = end, .before = {}});
  if (!plan.ok()) {  // Only names that no writer gives are in the way, such as 5-9 at level 9.
    choice.action = Action::kGap;
    choice.hole = TxidRange{Txid{1}, end};
    return choice;
  }
  choice.action = Action::kMerge;
  choice.sources = std::move(plan.value().files);
  return choice;
}

bool MergeIsCheaper(std::uint64_t merge_bytes, std::uint64_t database_bytes) {
  return merge_bytes <= database_bytes;
}

}  // namespace litestream
