#include "tests/simulation/engine_watch.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <variant>

#include <fmt/core.h>

#include "db/database.h"
#include "format/names.h"

namespace litestream::sim {
namespace {

std::string_view FieldOf(const LogFields& fields, std::string_view key) {
  for (const LogField& field : fields) {
    const auto* const text = std::get_if<std::string>(&field.value);
    if (field.key == key && text != nullptr) return *text;
  }
  return "";
}

bool IsReplicator(std::string_view who) {
  return who == "replicator" || who == "rival";
}

class WatchSink final : public LogSink {
 public:
  WatchSink(EngineWatch& watch, Process& process, LogLevel level)
      : watch_(watch), process_(process), level_(level) {}
  bool Enabled(LogLevel level) const override { return level >= LogLevel::kDebug; }
  void Write(LogLevel level, std::string_view message, const LogFields& /*bound*/,
             const LogFields& fields) override {
    if (process_.dead()) return;
    watch_.OnLine(process_, message, fields);
    if (level < level_) return;
    process_.world().Note("log", "", message);
    for (const std::string_view key : {"error", "reason"}) {
      const auto text = FieldOf(fields, key);
      if (!text.empty()) process_.world().Note("log", key, text);
    }
  }

 private:
  EngineWatch& watch_;
  Process& process_;
  const LogLevel level_;
};

}  // namespace

Logger EngineWatch::MakeLogger(Process& process, LogLevel level) {
  return Logger(std::make_shared<WatchSink>(*this, process, level));
}

EngineWatch::Causes EngineWatch::Now(const Process& process) {
  constexpr std::array<std::string_view, 6> kKinds = {"io error",   "write error", "no space",
                                                      "sync error", "open error",  "outage"};
  const auto& all = world_.faults();
  for (; faults_seen_ < all.size(); ++faults_seen_) {
    const Fault& fault = all[faults_seen_];
    const bool ours = IsReplicator(fault.who) && std::ranges::count(kKinds, fault.what) > 0;
    if (ours || fault.what == "disk full") ++faults_;
    if (fault.who.starts_with("app") && fault.what.starts_with("crash")) ++killed_;
  }
  // As long as they are at it, nobody knows what they have done already.
  if (people_at_work_) ++people_;
  return {.people = people_,
          .power = world_.boots(),
          .faults = faults_,
          .killed = killed_,
          .pid = process.pid()};
}

void EngineWatch::Unexplained(std::string_view message, std::string_view detail) {
  world_.Fail(fmt::format("the engine says \"{}{}{}\", and nothing explains it", message,
                          detail.empty() ? "" : ": ", detail));
}

void EngineWatch::OnComparison(const Causes& now, std::string_view reason) {
  if (now.people != attached_.people || now.power != attached_.power ||
      now.faults != attached_.faults) {
    return;
  }
  if (parked_) {
    // With the file as it was, everything since is in the WAL.
    const auto file = world_.disk().Stat(path_);
    const bool same = file.ok() && file.value().identity == parked_->identity &&
                      StampOf(file.value()) == StampOf(*parked_);
    if (same) Unexplained("comparing the parked database", reason);
    return;
  }
  // At the front of an empty WAL nothing can be proven.
  if (reason == "the WAL was empty at the last position") return;
  // It is noted behind the first capture.
  if (now.pid != attached_.pid && reason == "it is not known which files the position belongs to") {
    return;
  }
  // Killed in the middle of a new WAL header: what is left is an empty WAL.
  if (now.killed != attached_.killed && reason == "the WAL is shorter than before") return;
  // The WAL was begun anew while nobody held it: what stood in it may be gone.
  if (now.pid != attached_.pid && (!captured_wal_ || model_.PresentWal() != captured_wal_)) return;
  Unexplained("comparing the database", reason);
}

void EngineWatch::OnLine(Process& process, std::string_view message, const LogFields& fields) {
  const Causes now = Now(process);
  const bool people = now.people != attached_.people;
  const bool faults = now.faults != attached_.faults;
  if (message == "captured") {
    OnCaptured(FieldOf(fields, "txid"), now);
    // The first one is complete when it is noted to which files it belongs.
    if (now.pid != attached_.pid) first_wal_ = std::exchange(captured_wal_, std::nullopt);
  } else if (message == "attaching") {
    attaching_[now.pid] = now;
    // What the last process was asked for is forgotten with it, unless it has begun with that.
    if (now.pid != attached_.pid) rebase_wanted_ = rebase_wanted_ && !HasLocalFilesFrom(Txid{});
  } else if (message == "attached") {
    attached_ = attaching_[now.pid];
    parked_.reset();
    if (first_wal_) captured_wal_ = std::exchange(first_wal_, std::nullopt);
  } else if (message == "parked") {
    const auto file = world_.disk().Stat(path_);
    if (file.ok()) parked_ = file.value();
  } else if (message == "comparing the database with what was captured") {
    OnComparison(now, FieldOf(fields, "reason"));
  } else if (message == "validation error detected") {
    OnWrongCatalogue(now, FieldOf(fields, "type"));
  } else if (message.starts_with("another process wrote the lease of the replica")) {
    const Excuses excuses = excuses_();
    if (now.people == 0 && !excuses.other_replicator && !excuses.strangers &&
        !excuses.lease_of_the_dead()) {
      Unexplained(message, "");
    }
  } else if (message.starts_with("local files that a replica does not take")) {
    dropped_ = true;
  } else if (message.starts_with("the database or its WAL was replaced")) {
    if (!people) Unexplained(message, "");
  } else if (message.starts_with("capture does not fit")) {
    const auto error = FieldOf(fields, "error");
    const bool broken = error.find("the hold on the WAL was broken") != std::string_view::npos;
    if (!people && (broken || !faults)) Unexplained(message, error);
  } else if (message.starts_with("lost the read transaction") ||
             message.starts_with("checkpoint lost the read transaction") ||
             message.starts_with("page sums do not add up") ||
             message.starts_with("local LTX file is damaged")) {
    if (!people && !faults) Unexplained(message, FieldOf(fields, "error"));
  } else if (message.starts_with("the database holds pages that were never captured") ||
             FieldOf(fields, "error").find("what the database file holds is not") !=
                 std::string_view::npos) {
    // Whoever writes past SQLite has stopped us before: it shows when we open the database. But a
    // sync that failed has lost pages, and that shows when the power fails.
    if (now.power == 0 || !SyncFailed(/*of_replicators=*/false)) Unexplained(message, "");
  } else if (message.starts_with("a file of the replica is of no use") ||
             message.starts_with("transactions are missing on the replica")) {
    const bool cut = std::ranges::any_of(
        world_.faults(), [](const Fault& fault) { return fault.what == "half a body"; });
    if (now.people == 0 && !cut && !late_listings_) Unexplained(message, FieldOf(fields, "error"));
  } else if (message.starts_with("replica lacks transactions that are not kept locally") ||
             message.starts_with("detected database behind replica")) {
    // Of what happened at any time: the replica remembers. And while it was parked, another process
    // may have had it.
    // Those that were to be dropped for it are.
    const bool dropped = dropped_ && message.starts_with("replica lacks");
    if (now.pid == attached_.pid && now.people == 0 && now.faults == 0 && !late_listings_ &&
        !dropped) {
      Unexplained(message, "");
    }
    // Capture goes on elsewhere soon, and the old local files go.
    rebase_wanted_ = true;
  }
}

// What is known of a replica is what it holds.
void EngineWatch::OnWrongCatalogue(const Causes& now, std::string_view kind) {
  const Excuses excuses = excuses_();
  if (now.people > 0 || late_listings_ || excuses.other_replicator) return;
  const bool explained = (kind == "missing" && excuses.deletes_in_doubt) ||
                         (kind == "unknown" && excuses.lies) || kind == "gap" || kind == "overlap";
  if (!explained) Unexplained("validation error detected", kind);
}

void EngineWatch::OnCaptured(std::string_view text, const Causes& now) {
  const auto before = ParseTxid(captured_);
  const auto txid = ParseTxid(text);
  if (before.ok() && txid.ok() && txid.value() != before.value().Next()) rebase_wanted_ = false;
  captured_ = text;
  captured_causes_ = now;
  // The log may have been begun anew while the file was being made. (Of an empty one no frame
  // proves anything.)
  const auto present = model_.PresentWalFrames() > 0 ? model_.PresentWal() : std::nullopt;
  captured_wal_ = std::exchange(wal_at_capture_, present) == present ? present : std::nullopt;
}

// A sync was made to fail, and what it was to make durable never will be.
bool EngineWatch::SyncFailed(bool of_replicators) const {
  return std::ranges::any_of(world_.faults(), [&](const Fault& fault) {
    return fault.what == "sync error" && (!of_replicators || IsReplicator(fault.who));
  });
}

bool EngineWatch::HasLocalFilesFrom(Txid txid) const {
  const auto directory = DefaultMetaPath(path_) / "ltx" / "0";
  const auto files = world_.disk().List(directory);
  return files.ok() && std::ranges::any_of(files.value(), [&](const auto& file) {
           const auto id = ParseLtxFilename(file.name);
           if (!id || id->max < txid) return false;
           const auto stat = world_.disk().Stat(directory / file.name);
           return stat.ok() && stat.value().size_bytes > 0;
         });
}

void EngineWatch::OnPowerFailure() {
  if (captured_.empty() || rebase_wanted_ || captured_causes_.people != people_) return;
  const auto txid = ParseTxid(captured_);
  if (!txid.ok()) return;
  if (SyncFailed(/*of_replicators=*/true)) return;
  // Or one behind it, which nobody had the time to announce.
  if (HasLocalFilesFrom(txid.value())) return;
  world_.Fail("the power failed, and " + FormatTxid(txid.value()) +
              ", which was captured before, is gone");
}

}  // namespace litestream::sim
