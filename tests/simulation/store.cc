#include "tests/simulation/store.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "format/names.h"

namespace litestream::sim {
namespace {

constexpr std::size_t kSlowPieceBytes = 2'000;
constexpr std::size_t kPieceBytes = std::size_t{64} << 10U;
constexpr std::chrono::milliseconds kShortestTrip{2};
constexpr std::chrono::milliseconds kLateListing{5'000};
// A process may be kept from running between its last look at the clock and a request.
constexpr std::int64_t kUnderWayNs = 10'000'000'000;

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

class StoreClient final : public ReplicaClient {
 public:
  StoreClient(Store& store, Process& process)
      : store_(store), process_(process), inner_(MakeMemoryClient(store.store_)) {}

  std::string_view type() const override { return "simulated"; }
  std::string Describe() const override { return store_.name(); }

  Result<std::vector<FileInfo>> List(const Context& ctx, Level level,
                                     const ListOptions& options) override {
    const Fate fate = LS_TRY(Travel(ctx, "list", fmt::format("level {}", level.value)));
    if (level == kLevel0 && process_.name() != "restorer") {
      store_.on_look_();
      if (!store_.stranger_is_here()) store_.strangers_when_listed_ = store_.strangers_;
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
    const Fate fate = LS_TRY(Travel(ctx, "delete", ""));
    if (store_.faults_.lies_about_delete && store_.world_.faults_enabled()) return {};
    store_.before_delete_(ids);
    LS_TRY(inner_->Delete(Context::Background(), ids));
    store_.after_delete_(ids);
    if (fate.lose_answer) return Away("delete");
    return {};
  }
  Result<void> DeleteAll(const Context& ctx) override {
    LS_TRY(Travel(ctx, "delete all", ""));
    return inner_->DeleteAll(ctx);
  }
  Result<TaggedObject> GetObject(const Context& ctx, std::string_view name) override {
    LS_TRY(Travel(ctx, "get object", name));
    return inner_->GetObject(ctx, name);
  }
  Result<std::string> PutObject(const Context& ctx, std::string_view name, std::string_view content,
                                std::string_view tag) override {
    const Fate fate = LS_TRY(Travel(ctx, "put object", name));
    auto put = inner_->PutObject(ctx, name, content, tag);
    if (fate.lose_answer) return Away("put object");
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
  BytesSource source(content);
  auto written = inner_->Write(Context::Background(), id, source, options);
  if (written.ok() && store_.on_stored_) {
    store_.world_.Note("store", "stored", FormatLtxFilename(id.txids), id.level.value,
                       content.size());
    store_.on_stored_(id, content);
  }
  if (fate.lose_answer) return Away("put");
  return written;
}

// Of a request that begins now, of a replicator.
void Store::CheckFence(const Process& process, std::string_view call) {
  if (process.dead()) return;
  if (stranger_is_here() && world_.now_ns() > stranger_since_ns_ + kUnderWayNs) {
    world_.Fail(fmt::format("{} by {} while a stranger had the lease", call, process.name()));
  }
  if (strangers_when_listed_ != strangers_) {
    world_.Fail(fmt::format("{} by {}, who has not listed the replica since a stranger had it",
                            call, process.name()));
  }
}

std::unique_ptr<ReplicaClient> Store::Connect(Process& process) {
  return std::make_unique<StoreClient>(*this, process);
}

}  // namespace litestream::sim
