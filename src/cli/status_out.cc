#include "cli/status_out.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

#include <fmt/core.h>

#include "base/duration.h"
#include "cli/points_out.h"
#include "cli/table.h"
#include "format/names.h"

namespace litestream::cli {
namespace {

using std::chrono::milliseconds;

std::string_view ReplicatorKey(ReplicatorState state) {
  switch (state) {
    case ReplicatorState::kRunning:
      return "running";
    case ReplicatorState::kAtRest:
      return "at rest";
    case ReplicatorState::kNone:
      return "none";
    case ReplicatorState::kUnknown:
      break;
  }
  return "unknown";
}

std::string_view ReplicatorText(ReplicatorState state) {
  switch (state) {
    case ReplicatorState::kRunning:
      return "a process replicates it";
    case ReplicatorState::kAtRest:
      return "everything is captured; it is parked, or replication was stopped";
    case ReplicatorState::kNone:
      return "no process replicates it: commits since the last capture are nowhere else";
    case ReplicatorState::kUnknown:
      break;
  }
  return "not known";
}

std::string_view ProofKey(StateProof proof) {
  switch (proof) {
    case StateProof::kCarried:
      return "carried";
    case StateProof::kNone:
      return "none";
    case StateProof::kUnreadable:
      return "unreadable";
    case StateProof::kProven:
      return "proven";
    case StateProof::kUnproven:
      return "unproven";
    case StateProof::kBroken:
      break;
  }
  return "broken";
}

std::string_view ProofText(StateProof proof) {
  switch (proof) {
    case StateProof::kCarried:
      return "its checksum is on record, a restore will prove the result; -verify proves it now";
    case StateProof::kNone:
      return "none: no checksum of the whole database was recorded";
    case StateProof::kUnreadable:
      return "its last file is damaged or gone";
    case StateProof::kProven:
      return "proven: all files were read, and the checksum of the whole database is right";
    case StateProof::kUnproven:
      return "unproven: all files are whole, no checksum of the whole database was recorded";
    case StateProof::kBroken:
      break;
  }
  return "broken: something is damaged or missing";
}

// Behind the local files; negative: ahead of them. Unset: there is nothing to compare.
std::optional<std::int64_t> TxidsBehind(const LocalStatus& local, const ReplicaOutlook& replica) {
  if (local.txid == Txid{} || !replica.error.empty()) return std::nullopt;
  const Txid there = replica.newest ? replica.newest->txid : Txid{};
  return static_cast<std::int64_t>(local.txid.value - there.value);
}

std::optional<milliseconds> TimeBehind(const LocalStatus& local, const ReplicaOutlook& replica) {
  const auto txids = TxidsBehind(local, replica);
  if (!txids || !replica.newest || !local.time) return std::nullopt;
  if (*txids <= 0) return milliseconds(0);
  return std::max(milliseconds(0), *local.time - replica.newest->time);
}

std::string BehindText(const LocalStatus& local, const ReplicaOutlook& replica) {
  const auto txids = TxidsBehind(local, replica);
  if (!txids) return "-";
  if (*txids < 0) return fmt::format("ahead by {}", -*txids);
  const auto time = TimeBehind(local, replica);
  if (*txids == 0 || !time) return fmt::format("{}", *txids);
  return fmt::format("{} ({})", *txids, FormatGoDuration(*time));
}

// The levels of its points, from the oldest to the newest.
std::string GrainText(const ReplicaOutlook& replica) {
  std::string text;
  for (const RestoreStretch& stretch : replica.found.stretches) {
    const std::string level = fmt::format("{}", stretch.level().value);
    if (text.ends_with(level)) continue;
    text += (text.empty() ? "" : ",") + level;
  }
  return text.empty() ? "-" : text;
}

std::string_view StateKey(const ReplicaOutlook& replica) {
  if (!replica.error.empty()) return "unreachable";
  if (!replica.newest) return replica.found.holes.empty() ? "empty" : "useless";
  if (replica.newest_is_damaged) return "damaged";
  return replica.stops_at_hole ? "hole" : "ok";
}

std::string Answer(const DatabaseOutlook& outlook) {
  const ReplicaOutlook* const best = outlook.best();
  if (best == nullptr) return "cannot be restored now";
  std::string text = fmt::format("can be restored now to {}{}, transaction {}, from replica {}",
                                 FormatTimestampMillis(best->newest->time),
                                 best->stops_at_hole ? " (with -txid only: a hole follows)" : "",
                                 FormatTxid(best->newest->txid), best->name);
  const auto behind = TxidsBehind(outlook.local, *best);
  if (!behind) return text;
  if (*behind > 0) return text + fmt::format("; {} captured since then are not there", *behind);
  if (*behind < 0) return text + fmt::format("; {} of them are not of these local files", -*behind);
  return text + ": everything that was captured";
}

Table ReplicaTable(const DatabaseOutlook& outlook) {
  Table table({"replica", "state", "oldest", "newest", "newest_txid", "points", "levels", "proof",
               "behind"});
  for (const ReplicaOutlook& replica : outlook.replicas) {
    const auto time = [](const std::optional<RestorePoint>& point) {
      return point ? FormatTimestampMillis(point->time) : std::string("-");
    };
    table.Add({replica.name, std::string(StateKey(replica)), time(replica.oldest),
               time(replica.newest), replica.newest ? FormatTxid(replica.newest->txid) : "-",
               fmt::format("{}", replica.point_count), GrainText(replica),
               replica.proof ? std::string(ProofKey(*replica.proof)) : "-",
               BehindText(outlook.local, replica)});
  }
  return table;
}

void AddReplica(JsonWriter& out, const LocalStatus& local, const ReplicaOutlook& replica) {
  out.BeginObject()
      .Field("replica", replica.name)
      .Field("type", replica.type)
      .Field("location", replica.location)
      .Field("state", StateKey(replica))
      .Field("error", replica.error);
  if (replica.newest) {
    out.Field("oldest_txid", FormatTxid(replica.oldest->txid))
        .Field("oldest_time", FormatTimestampMillis(replica.oldest->time))
        .Field("newest_txid", FormatTxid(replica.newest->txid))
        .Field("newest_time", FormatTimestampMillis(replica.newest->time));
  }
  if (replica.proof) out.Field("proof", ProofKey(*replica.proof));
  if (const auto txids = TxidsBehind(local, replica)) out.Field("behind_txids", *txids);
  if (const auto time = TimeBehind(local, replica)) out.Field("behind_ms", time->count());
  if (replica.error.empty()) {
    AddStretches(out, replica.found, replica.point_count, {});
  }
  out.Key("problems").BeginArray();
  for (const std::string& problem : replica.problems) out.Value(problem);
  out.EndArray().EndObject();
}

}  // namespace

std::string LocalTxidText(const LocalStatus& local) {
  return local.txid == Txid{} ? "-" : FormatTxid(local.txid);
}

std::string WalSizeText(const LocalStatus& local) {
  return local.wal_bytes ? FormatBytes(*local.wal_bytes) : "-";
}

std::string FormatOutlook(const DatabaseOutlook& outlook) {
  const ReplicaOutlook* const best = outlook.best();
  std::string text = fmt::format("{}: {}\n", outlook.database.path, Answer(outlook));
  if (best != nullptr && best->proof) text += fmt::format("  proof: {}\n", ProofText(*best->proof));
  if (outlook.local.status != "no database") {
    text += fmt::format("  replication: {}\n", ReplicatorText(outlook.local.replicator));
  }
  if (!outlook.local.error.empty()) text += fmt::format("  error: {}\n", outlook.local.error);
  text += Indented(ReplicaTable(outlook), "  ");
  for (const ReplicaOutlook& replica : outlook.replicas) {
    if (!replica.error.empty()) text += fmt::format("  {}: {}\n", replica.name, replica.error);
    for (const std::string& problem : replica.problems) {
      text += fmt::format("  {}: {}\n", replica.name, problem);
    }
    if (replica.stops_at_hole) text += FormatHoles(replica.found, "  " + replica.name + ": ");
  }
  return text;
}

void AddOutlook(JsonWriter& out, const DatabaseOutlook& outlook, bool asked) {
  const LocalStatus& local = outlook.local;
  out.BeginObject()
      .Field("database", outlook.database.path)
      .Field("status", local.status)
      .Field("local_txid", LocalTxidText(local))
      .Field("wal_size", WalSizeText(local))
      .Field("local_time", local.time ? FormatTimestampMillis(*local.time) : "")
      .Field("replicator", ReplicatorKey(local.replicator))
      .Field("error", local.error);
  if (asked) {
    const ReplicaOutlook* const best = outlook.best();
    out.Field("restorable", best != nullptr);
    if (best != nullptr) {
      out.Field("restorable_from", best->name)
          .Field("restorable_txid", FormatTxid(best->newest->txid))
          .Field("restorable_until", FormatTimestampMillis(best->newest->time));
      if (best->proof) out.Field("proof", ProofKey(*best->proof));
    }
    out.Field("summary", Answer(outlook)).Key("replicas").BeginArray();
    for (const ReplicaOutlook& replica : outlook.replicas) AddReplica(out, local, replica);
    out.EndArray();
  }
  out.EndObject();
}

}  // namespace litestream::cli
