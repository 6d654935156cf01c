#include "tests/simulation/local_watch.h"

#include <algorithm>

#include <fmt/core.h>

#include "format/names.h"
#include "tests/simulation/town.h"

namespace litestream::sim {
namespace {

// Local files are looked at every 30 s, and a step may be late by as much.
constexpr Nanos kTwoLooks{std::chrono::seconds(65)};

}  // namespace

std::vector<LocalWatch::File> LocalWatch::List() const {
  MemoryEnv& disk = process_.world().disk();
  const auto directory = DefaultMetaPath(kDatabase) / "ltx" / "0";
  std::vector<File> files;
  const auto entries = disk.List(directory);
  if (!entries.ok()) return files;
  for (const auto& entry : entries.value()) {
    const auto range = ParseLtxFilename(entry.name);
    const auto stat = disk.Stat(directory / entry.name);
    if (!range || !stat.ok()) continue;
    files.push_back({.txid = range->max,
                     .size_bytes = stat.value().size_bytes,
                     .modified_at = stat.value().modified_at});
  }
  std::ranges::sort(files, {}, &File::txid);
  return files;
}

void LocalWatch::Look(const DatabaseStatus& status) {
  // Two replicators take turns at them, and people remove them.
  if (plan_.local_retention_bytes == 0 || plan_.rival || plan_.meta_lost) return;
  const auto files = List();
  CheckBytes(status, files);
  CheckTheWell(status, files);
  replicas_.clear();
  for (const ReplicaStatus& replica : status.replicas) {
    replicas_.push_back({.state = replica.state, .txid = replica.txid});
  }
  range_.reset();
  if (!files.empty()) range_ = {files.front().txid, files.back().txid};
}

void LocalWatch::CheckBytes(const DatabaseStatus& status, const std::vector<File>& files) {
  const World& world = process_.world();
  const bool nobody = std::ranges::all_of(status.replicas, [](const ReplicaStatus& replica) {
    return replica.state == ReplicaState::kFailing;
  });
  const bool quiet = faults_ == process_.injected_faults() && !world.disk_full();
  faults_ = process_.injected_faults();
  if (!nobody || !quiet || status.state != DatabaseState::kReplicating || plan_.Stalls()) {
    nobody_since_ns_.reset();
    return;
  }
  if (!nobody_since_ns_) nobody_since_ns_ = world.now_ns();
  if (world.now_ns() - *nobody_since_ns_ < kTwoLooks.count() || plan_.clock_jumps) return;
  std::uint64_t old_bytes = 0;
  for (const File& file : files) {
    if (file.modified_at < NanoTime(world.wall()) - kTwoLooks) old_bytes += file.size_bytes;
  }
  if (files.size() < 2 || old_bytes <= plan_.local_retention_bytes) return;
  process_.world().Fail(
      fmt::format("{} bytes of local files stay, with a bound of {} and no replica that takes them",
                  old_bytes, plan_.local_retention_bytes));
}

void LocalWatch::CheckTheWell(const DatabaseStatus& status, const std::vector<File>& files) {
  // Without the newest of before, all were given up: capture goes on elsewhere.
  const bool same = range_ && std::ranges::binary_search(files, range_->max, {}, &File::txid);
  if (!same || replicas_.size() != status.replicas.size()) return;
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    const ReplicaStatus& now = status.replicas[i];
    const Txid next = now.txid.Next();
    const bool well = replicas_[i].state == ReplicaState::kInSync &&
                      (now.state == ReplicaState::kInSync || now.state == ReplicaState::kSyncing);
    if (!well || next < range_->min || next > range_->max || files.front().txid <= next) continue;
    process_.world().Fail(fmt::format("local file {} is gone, and replica {} is about to take it",
                                      FormatTxid(next), i + 1));
  }
}

}  // namespace litestream::sim
