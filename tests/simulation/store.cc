#include "tests/simulation/store.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"
#include "replica/plan.h"
#include "storage/lease.h"

namespace litestream::sim {
namespace {

constexpr std::size_t kSlowPieceBytes = 2'000;
constexpr std::size_t kPieceBytes = std::size_t{64} << 10U;
constexpr std::chrono::milliseconds kShortestTrip{2};
constexpr std::chrono::milliseconds kLateListing{5'000};
// A process may be kept from running between its last look at the clock and a request.
constexpr std::int64_t kUnderWayNs = 10'000'000'000;
// Whoever finds that a lease was lost looks who has it, and then whether it can be had.
constexpr int kLooksAtOnce = 2;
constexpr std::chrono::nanoseconds kLongestLook = kLeaseTimeToLive;
// What a change may cost: the lease is looked at and written; a file is made of others, each read
// from its end, its beginning, and through, and once more for what was there before.
constexpr std::uint64_t kLeaseRequests = 2;
// In an outage of two minutes: of an uploader that waits twice as long each time, from a tenth of a
// second on, a keeper, and whoever looks after the lease. A database that is opened again begins
// anew.
constexpr int kMostVainRequests = 60;
constexpr std::uint64_t kSourceRequests = 4;

class BytesSource final : public ByteSource {
 public:
  explicit BytesSource(std::span<const std::byte> bytes) : rest_(bytes) {}
  Result<std::size_t> Read(const Context& /*ctx*/, std::span<std::byte> out) override {
    const std::size_t n = std::min(out.size(), rest_.size());
    std::ranges::copy(rest_.first(n), out.begin());
    rest_ = rest_.subspan(n);
    return n;
  }

 private:
  std::span<const std::byte> rest_;
};

Error Away(std::string_view what) {
  return {ErrorCode::kUnavailable, fmt::format("{}: the store does not answer (injected)", what)};
}

}  // namespace

// One of the objects that a process writes.
class TurnHeld {
 public:
  TurnHeld(Turns* turns, std::uint32_t pid) : turns_(turns), pid_(pid) {
    if (turns_ != nullptr) ++turns_->now[pid_];
  }
  ~TurnHeld() {
    if (turns_ != nullptr) --turns_->now[pid_];
  }
  TurnHeld(const TurnHeld&) = delete;
  TurnHeld& operator=(const TurnHeld&) = delete;
  int now() const { return turns_ == nullptr ? 0 : turns_->now[pid_]; }

 private:
  Turns* const turns_;
  const std::uint32_t pid_;
};

class StoreClient final : public ReplicaClient {
 public:
  StoreClient(Store& store, Process& process)
      : store_(store), process_(process), inner_(MakeMemoryClient(store.store_)) {}

  std::string_view type() const override { return "simulated"; }
  std::string Describe() const override { return store_.name(); }

  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override {
    const Fate fate = LS_TRY(Travel(ctx, "list", fmt::format("level {}", level.value)));
    if (level == kLevel0 && options.limit == 0 && process_.name() != "restorer") {
      store_.OnListed(process_);
    }
    auto files = LS_TRY(inner_->List(ctx, level, options));
    if (fate.lose_answer) return Away("list");
    if (store_.world_.faults_enabled()) Confuse(files);
    return files;
  }

  Result<std::unique_ptr<ByteSource>> Open(const Context& ctx, const FileId& id,
                                           const ByteRange& range) override;

  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override;

  Result<void> Delete(const Context& ctx, std::span<const FileId> ids) override {
    store_.CheckFence(process_, "delete");
    // Now: on a slow journey the next one who has the lease may come first.
    store_.CheckRemoval(process_, ids);
    const Fate fate = LS_TRY(Travel(ctx, "delete", ""));
    if (store_.faults_.lies_about_delete && store_.world_.faults_enabled()) {
      store_.lied_ = true;
      return {};
    }
    store_.on_change_(process_);
    store_.before_delete_(ids);
    LS_TRY(inner_->Delete(Context::Background(), ids));
    ++store_.removals_;
    store_.cost_of_changes_ += 1 + kLeaseRequests;
    store_.after_delete_(ids);
    if (!fate.lose_answer) return {};
    store_.maybe_gone_.insert(ids.begin(), ids.end());
    return Away("delete");
  }
  Result<void> DeleteAll(const Context& ctx) override {
    LS_TRY(Travel(ctx, "delete all", ""));
    return inner_->DeleteAll(ctx);
  }
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override {
    LS_TRY(Travel(ctx, "get object", name));
    store_.CheckPatience(process_);
    auto got = LS_TRY(inner_->GetObject(ctx, name));
    store_.OnLease(process_, got.content);
    return got;
  }
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override {
    store_.lease_writer_ = 0;
    store_.lease_writers_.insert(process_.pid());
    const Fate fate = LS_TRY(Travel(ctx, "put object", name));
    auto put = inner_->PutObject(ctx, name, content, tag);
    if (fate.lose_answer) {
      store_.lease_in_doubt_ = true;
      return Away("put object");
    }
    if (put.ok()) store_.lease_writer_ = process_.pid();
    return put;
  }
  Result<void> DeleteObject(const Context& ctx, std::string_view name,
                            std::string_view tag) override {
    LS_TRY(Travel(ctx, "delete object", name));
    return inner_->DeleteObject(ctx, name, tag);
  }

 private:
  friend class Download;
  struct Fate {
    bool lose_answer = false;
    bool half = false;
    std::uint64_t dice = 0;
  };

  // The way to the store. An error: the request never got there.
  Result<Fate> Travel(const Context& ctx, std::string_view call, std::string_view what) {
    LS_TRY(ctx.Check());
    ++store_.requests_;
    if (process_.Enter(call, what, Cost::kInstant)) return Away(call);
    Random dice(Mix(process_.dice().Next(), 5));
    const StoreFaults& f = store_.faults_;
    const bool faults = store_.world_.faults_enabled();
    const auto happens = [&](std::uint64_t rate, std::string_view kind) {
      return faults && rate > 0 && dice.PerMillion(rate) &&
             process_.Happens(Mix(process_.calls(), HashOf(kind)), kind);
    };
    Nanos trip = kShortestTrip + std::chrono::milliseconds(dice.Below(8));
    if (happens(f.slow, "store slow")) trip += std::chrono::milliseconds(dice.Below(60'000));
    process_.Sleep(trip, ctx.stop());
    LS_TRY(ctx.Check());
    // Of a dead process: the request is on its way, or it is not.
    if (process_.dead() && dice.OneIn(2)) return Away(call);
    if (store_.broken()) store_.CheckBackoff(process_);
    if (store_.broken() || happens(f.fail_before, "store fails")) return Away(call);
    Fate fate;
    fate.lose_answer = happens(f.fail_after, "answer lost") || process_.dead();
    fate.half = happens(f.half_body, "half a body");
    fate.dice = dice.Next();
    return fate;
  }

  void Confuse(std::vector<FileInfo>& files) {
    if (store_.faults_.late_list) {
      const WallTime since = store_.world_.wall() - kLateListing;
      std::erase_if(files, [&](const FileInfo& f) { return f.created_at > since; });
    }
    if (store_.faults_.unsorted_list) {
      for (std::size_t i = 0; i + 1 < files.size(); i += 2) std::swap(files[i], files[i + 1]);
    }
  }

  Store& store_;
  Process& process_;
  const std::unique_ptr<ReplicaClient> inner_;
};

// A download that takes its time, and may break off.
class Download final : public ByteSource {
 public:
  Download(Process& process, std::unique_ptr<ByteSource> inner, bool breaks, std::uint64_t dice)
      : process_(process), inner_(std::move(inner)), breaks_(breaks), dice_(dice) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    if (process_.Enter("download", "", Cost::kOther)) return Away("download");
    if (breaks_) {
      breaks_ = false;
      // An error, or, from some servers, just an end.
      if (dice_.OneIn(2)) return Away("download");
      if (out.empty()) return std::size_t{0};
      ended_ = true;
      return inner_->Read(ctx, out.first(1 + dice_.Below(out.size())));
    }
    if (ended_) return std::size_t{0};
    return inner_->Read(ctx, out);
  }

 private:
  Process& process_;
  const std::unique_ptr<ByteSource> inner_;
  bool breaks_;
  bool ended_ = false;
  Random dice_;
};

Result<std::unique_ptr<ByteSource>> StoreClient::Open(const Context& ctx, const FileId& id,
                                                      const ByteRange& range) {
  const Fate fate = LS_TRY(Travel(ctx, "get", FormatLtxFilename(id.txids)));
  auto source = LS_TRY(inner_->Open(ctx, id, range));
  if (fate.lose_answer) return Away("get");
  return std::make_unique<Download>(process_, std::move(source), fate.half, fate.dice);
}

Result<FileInfo> StoreClient::Write(const Context& ctx, const FileId& id, ByteSource& body,
                                    const WriteOptions& options) {
  const TurnHeld turn(store_.turns_, process_.pid());
  if (turn.now() > store_.most_turns_ && !process_.dead()) {
    store_.world_.Fail(fmt::format("{} writes {} objects at a time, and may write {}",
                                   process_.name(), turn.now(), store_.most_turns_));
  }
  std::vector<std::byte> content;
  // What is sent slowly is read slowly; what is made while it is read then takes its time.
  const bool slow = store_.faults_.slow_body.count() > 0 && id.level == kSnapshotLevel &&
                    store_.world_.faults_enabled();
  std::vector<std::byte> piece(slow ? kSlowPieceBytes : kPieceBytes);
  for (;;) {
    const std::size_t n = LS_TRY(body.Read(ctx, piece), "read body");
    if (n == 0) break;
    if (slow) LS_TRY(ctx.Wait(store_.faults_.slow_body));
    content.insert(content.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n));
  }
  store_.CheckFence(process_, "put");
  const Fate fate = LS_TRY(Travel(ctx, "put", FormatLtxFilename(id.txids)));
  if (fate.half) return Away("put: broken off");
  store_.on_change_(process_);
  BytesSource source(content);
  auto written = inner_->Write(Context::Background(), id, source, options);
  if (written.ok() && store_.on_stored_) {
    store_.world_.Note("store", "stored", FormatLtxFilename(id.txids), id.level.value,
                       content.size());
    store_.PayForWrite(id);
    store_.maybe_gone_.erase(id);
    store_.on_stored_(id, content);
  }
  if (fate.lose_answer) return Away("put");
  return written;
}

void Store::PayForWrite(const FileId& id) {
  cost_of_changes_ += 1 + kLeaseRequests + kSourceRequests;
  const auto listing = ListReplica(Context::Background(), *Look(), false);
  if (!listing.ok()) return;
  for (std::uint8_t level = 0; level <= id.level.value; ++level) {
    for (const FileInfo& file : listing.value().levels[level]) {
      const bool is_source =
          file.id != id && file.id.txids.max >= id.txids.min && file.id.txids.max <= id.txids.max;
      if (is_source) cost_of_changes_ += kSourceRequests;
    }
  }
}

// Of a request that begins now, of a replicator.
void Store::CheckFence(const Process& process, std::string_view call) {
  if (process.dead()) return;
  if (stranger_is_here() && world_.now_ns() > stranger_since_ns_ + kUnderWayNs) {
    world_.Fail(fmt::format("{} by {} while a stranger had the lease", call, process.name()));
  }
  // Who never did has what the one before it knew.
  const auto listed = strangers_when_listed_.find(process.pid());
  const std::uint64_t known =
      listed != strangers_when_listed_.end() ? listed->second : strangers_when_last_listed_;
  if (known != strangers_) {
    world_.Fail(fmt::format("{} by {}, who has not listed the replica since a stranger had it",
                            call, process.name()));
  }
}

void Store::OnListed(const Process& process) {
  on_look_();
  if (stranger_is_here()) return;
  strangers_when_listed_[process.pid()] = strangers_when_last_listed_ = strangers_;
}

// While a stranger has the lease nobody asks for it before it may be free.
void Store::CheckPatience(const Process& process) {
  const auto seen = seen_stranger_.find(process.pid());
  if (process.dead() || seen == seen_stranger_.end() || world_.now_ns() >= seen->second.until_ns) {
    return;
  }
  if (++seen->second.asked < kLooksAtOnce) return;
  world_.Fail(fmt::format("{} asks again for the lease that a stranger has", process.name()));
}

// While it does not answer, it is asked less and less often, but by who has to end.
void Store::CheckBackoff(const Process& process) {
  const bool in_a_hurry = process.stopping().stop_requested();
  if (process.dead() || in_a_hurry || process.name() == "restorer") return;
  if (++vain_requests_[process.pid()] == kMostVainRequests) {
    world_.Fail(fmt::format("{} has asked {} times, and {} does not answer", process.name(),
                            kMostVainRequests, name_));
  }
}

void Store::OnLease(const Process& process, std::string_view content) {
  const auto record = ParseLease(content);
  if (!record.ok() || !record.value().owner.starts_with("stranger")) return;
  const Nanos left = record.value().expires_at - world_.wall();
  Seen& seen = seen_stranger_[process.pid()];
  if (left.count() <= 0 || world_.now_ns() < seen.until_ns) return;
  seen = {.until_ns = world_.now_ns() + std::min<Nanos>(left, kLongestLook).count(), .asked = 0};
}

// Nobody removes what he ought to know is gone.
void Store::CheckRemoval(const Process& process, std::span<const FileId> ids) {
  if (process.dead()) return;
  const auto client = Look();
  for (const FileId& id : ids) {
    if (maybe_gone_.contains(id) || client->Open(Context::Background(), id, {}).ok()) continue;
    world_.Fail(fmt::format("{} removes {} of level {} again", process.name(),
                            FormatLtxFilename(id.txids), id.level.value));
  }
}

std::unique_ptr<ReplicaClient> Store::Connect(Process& process) {
  return std::make_unique<StoreClient>(*this, process);
}

}  // namespace litestream::sim
