#include "tests/simulation/checker.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/names.h"
#include "format/page_sum.h"
#include "replica/restore.h"
#include "replica/restore_points.h"

namespace litestream::sim {
namespace {

using std::chrono::milliseconds;

// Of the transactions stored last, the whole database is kept.
constexpr std::ptrdiff_t kRemembered = 100;
const char* const kCheckPath = "/checker/restored";

class SpanSource final : public ByteSource {
 public:
  explicit SpanSource(std::span<const std::byte> bytes) : rest_(bytes) {}
  Result<std::size_t> Read(const Context& /*ctx*/, std::span<std::byte> out) override {
    const std::size_t n = std::min(out.size(), rest_.size());
    std::ranges::copy(rest_.first(n), out.begin());
    rest_ = rest_.subspan(n);
    return n;
  }

 private:
  std::span<const std::byte> rest_;
};

// As docs/formats/page_sums.md says, and not as the engine does it.
std::uint64_t ChecksumOf(const Image& image) {
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < image.pages.size(); ++i) {
    std::uint64_t z = PageSum(Pgno{static_cast<std::uint32_t>(i + 1)}, image.pages[i]->bytes);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    all ^= z ^ (z >> 31U);
  }
  return all;
}

Image ImageOf(std::span<const std::byte> database, std::uint32_t page_size) {
  Image image;
  image.page_size = page_size;
  for (std::size_t at = 0; at + page_size <= database.size(); at += page_size) {
    image.pages.push_back(MakePage(database.subspan(at, page_size)));
  }
  return image;
}

}  // namespace

Checker::Checker(World& world, Model& model, Store& store, const UpkeepOptions& upkeep)
    : world_(world), model_(model), store_(store), upkeep_(upkeep) {
  store_.SetOnDelete([this](std::span<const FileId> /*ids*/) { BeforeDelete(); },
                     [this](std::span<const FileId> ids) { AfterDelete(ids); });
  store_.SetOnLook([this] { looked_ = true; });
  store_.SetOnStored(
      [this](const FileId& id, std::span<const std::byte> content) { OnStored(id, content); });
}

void Checker::OnReported(Txid txid) {
  // Of what was removed behind its back the engine learns later.
  if (txid <= reported_ || !whole_ || txid > stored_) return;
  reported_ = txid;
  CheckDurable();
}

void Checker::BeforeDelete() {
  const auto client = store_.Look();
  auto listing = ListReplica(Context::Background(), *client, true);
  if (listing.ok()) before_delete_ = std::move(listing).value();
}

// What retention promises (replica/retention.h), in terms of restores only.
void Checker::AfterDelete(std::span<const FileId> ids) {
  for (const FileId& id : ids) objects_.erase(id);
  if (world_.failed()) return;
  CheckDurable();
  const auto client = store_.Look();
  const auto after = ListReplica(Context::Background(), *client, true);
  if (!after.ok() || world_.failed()) return;
  const WallTime window = world_.wall() - upkeep_.retention.snapshot_retention;
  // The points of levels that are never thinned out within the window.
  std::set<Txid> points;
  for (const RestorePoint& point : FindRestorePoints(before_delete_).points) {
    points.insert(point.txid);
  }
  std::set<Txid> grain;
  for (std::uint8_t n = 1; n < kLevelCount; ++n) {
    const auto& level = before_delete_.levels[n];
    for (const FileInfo& file : level) {
      // One that a process had on its way when it died may lie within one of the next process.
      const TxidRange& txids = file.id.txids;
      const bool within =
          n < kSnapshotLevel.value && std::ranges::any_of(level, [&](const auto& f) {
            return f.id != file.id && f.id.txids.min <= txids.min && f.id.txids.max >= txids.max;
          });
      if (!within && points.contains(txids.max)) grain.insert(txids.max);
    }
  }
  for (const auto& level : before_delete_.levels) {
    for (const FileInfo& file : level) {
      if (file.created_at < window || file.created_at > world_.wall()) continue;
      const RestoreTarget target{.txid = {}, .before = file.created_at + milliseconds(1)};
      const auto was = PlanRestore(before_delete_, target);
      if (!was.ok()) continue;
      auto least = grain.upper_bound(was.value().max_txid());
      // Before the first of them, level 0 is all there was.
      if (least == grain.begin()) continue;
      const auto is = PlanRestore(after.value(), target);
      if (is.ok() && is.value().max_txid() >= *std::prev(least)) continue;
      world_.Fail(
          fmt::format("retention has removed what it promises: {} could be restored, now {}",
                      FormatTxid(was.value().max_txid()),
                      is.ok() ? FormatTxid(is.value().max_txid()) : "nothing"));
      return;
    }
  }
}

void Checker::OnHistoryCut() {
  ++cuts_;
  whole_ = false;
  looked_ = false;
  newest_when_cut_ = model_.newest();
  reported_ = Txid{};
  stored_ = Txid{};
}

std::optional<Image> Checker::Decode(const FileId& id, std::span<const std::byte> content) {
  const Context ctx = Context::Background();
  SpanSource source(content);
  LtxDecoder decoder(source);
  const auto damaged = [&](const Error& error) {
    world_.Fail(
        fmt::format("stored file {} is damaged: {}", FormatLtxFilename(id.txids), error.message()));
    return std::nullopt;
  };
  const auto header = decoder.ReadHeader(ctx);
  if (!header.ok()) return damaged(header.error());
  if (header.value().txids != id.txids) {
    world_.Fail(fmt::format("stored file {} holds {}", FormatLtxFilename(id.txids),
                            FormatLtxFilename(header.value().txids)));
    return std::nullopt;
  }
  Image out;
  out.page_size = header.value().page_size;
  const std::size_t count = header.value().commit_pages;
  const auto base = known_.find(Txid{id.txids.min.value - 1});
  if (id.txids.min != Txid{1} && base != known_.end()) {
    if (base->second.image.pages.empty()) {
      // A merge of many files, after a long outage.
      auto image = Read(base->first, base->second.image.page_size);
      if (!image || !model_.Is(base->second.number, *image)) return std::nullopt;
      base->second.image = std::move(*image);
    }
    const Image& image = base->second.image;
    if (image.page_size == out.page_size) out.pages = image.pages;
  }
  out.pages.resize(count);
  for (;;) {
    const auto page = decoder.ReadPage(ctx);
    if (!page.ok()) return damaged(page.error());
    if (!page.value()) break;
    out.pages[page.value()->pgno.value - 1] = MakePage(page.value()->page);
  }
  const auto trailer = decoder.Finish(ctx);
  if (!trailer.ok()) return damaged(trailer.error());
  const bool missing = std::ranges::any_of(out.pages, [](const PagePtr& p) { return !p; });
  if (missing && id.txids.min != Txid{1} && base == known_.end()) return std::nullopt;
  if (missing) {
    world_.Fail(
        fmt::format("{} lacks pages that nothing before it has", FormatLtxFilename(id.txids)));
    return std::nullopt;
  }
  const auto proof = header.value().Proof();
  if (!proof || proof->after != ChecksumOf(out)) {
    world_.Fail(
        fmt::format("{} does not prove the state that it leads to", FormatLtxFilename(id.txids)));
    return std::nullopt;
  }
  return out;
}

void Checker::OnStored(const FileId& id, std::span<const std::byte> content) {
  if (world_.failed()) return;
  const auto decoded = Decode(id, content);
  if (!decoded) return;
  const Stored stored{.hash = MakePage(content)->hash, .cut = cuts_};
  const auto [before, is_new] = objects_.try_emplace(id, stored);
  if (!is_new && before->second.cut == cuts_) {
    const bool same = before->second.hash == stored.hash;
    world_.Fail(FormatLtxFilename(id.txids) +
                (same ? " was written again" : " was overwritten with other content"));
    return;
  }
  before->second = stored;
  ++files_checked_;
  stored_bytes_ += content.size();
  stored_ = std::max(stored_, id.txids.max);
  Judge(id, *decoded);
  // Healed once there is a way through all that is there, and whoever writes knows what that is.
  if (!whole_ && looked_) whole_ = NewestPlan().has_value();
}

void Checker::Judge(const FileId& id, const Image& got) {
  const Txid txid = id.txids.max;
  if (const auto same = known_.find(txid); same != known_.end()) {
    if (model_.Is(same->second.number, got)) return;
    if (same->second.cut == cuts_) {
      world_.Fail(fmt::format("{} is another database than what was stored as this transaction: {}",
                              FormatLtxFilename(id.txids), Difference(got, same->second.image)));
      return;
    }
    // The chain began anew after the replica was emptied.
    known_.erase(same, known_.end());
  }
  Model::Number from = 1;
  const auto next = known_.lower_bound(txid);
  if (next != known_.begin()) from = std::prev(next)->second.number;
  const auto found = model_.Find(got, from);
  if (!found) {
    const bool older = model_.Find(got, 1).has_value();
    std::string what = older ? "an older state than the transaction before it"
                             : "no state that the database was ever in";
    if (!older) {
      const Model::Number near = std::max(from, model_.newest());
      what += fmt::format("; against the newest, {}: {}; against {}: {}", near,
                          Difference(got, model_.state(near)), from,
                          Difference(got, model_.state(from)));
    }
    world_.Fail(fmt::format("{} leads to {}", FormatLtxFilename(id.txids), what));
    return;
  }
  known_[txid] = {.number = *found, .cut = cuts_, .image = got};
  // Files build on the newest ones. What lies far behind is compared by its hash.
  if (std::ssize(known_) > kRemembered) {
    std::prev(known_.end(), kRemembered + 1)->second.image.pages = {};
  }
}

std::optional<RestorePlan> Checker::NewestPlan() {
  const auto client = store_.Look();
  const auto listing = ListReplica(Context::Background(), *client, false);
  if (!listing.ok()) return std::nullopt;
  auto plan = PlanRestore(listing.value(), {});
  if (!plan.ok()) return std::nullopt;
  return std::move(plan).value();
}

std::optional<Model::Number> Checker::NewestState() {
  const auto plan = NewestPlan();
  if (!plan) return std::nullopt;
  const auto it = known_.find(plan->max_txid());
  if (it == known_.end()) return std::nullopt;
  return it->second.number;
}

void Checker::CheckDurable() {
  if (reported_ == Txid{} || !whole_ || world_.failed()) return;
  const auto plan = NewestPlan();
  if (plan && plan->max_txid() >= reported_) return;
  world_.Fail(fmt::format("{} was reported as replicated and cannot be restored: {}",
                          FormatTxid(reported_),
                          plan ? "files end at " + FormatTxid(plan->max_txid()) : "no plan"));
}

void Checker::CheckRestored(Txid txid, std::span<const std::byte> database) {
  const auto it = known_.find(txid);
  if (it == known_.end()) {
    world_.Fail(fmt::format("restored {}, which was never stored", FormatTxid(txid)));
    return;
  }
  ++restores_compared_;
  const Image& want = it->second.image;
  const Image got = ImageOf(database, want.page_size);
  if (got.pages.size() * want.page_size == database.size() && model_.Is(it->second.number, got)) {
    return;
  }
  world_.Fail(fmt::format("restored {} is not the database at that point: {}", FormatTxid(txid),
                          Difference(got, want)));
}

// What a reader of the store gets for `txid`; unset if nothing leads there.
std::optional<Image> Checker::Read(Txid txid, std::uint32_t page_size) {
  const auto client = store_.Look();
  const auto listing = ListReplica(Context::Background(), *client, false);
  if (!listing.ok()) return std::nullopt;
  RestoreTarget target;
  target.txid = txid;
  const auto plan = PlanRestore(listing.value(), target);
  if (!plan.ok() || plan.value().max_txid() != txid) return std::nullopt;
  const auto content = RestoreTo(plan.value());
  if (!content.ok()) return std::nullopt;
  return ImageOf(content.value(), page_size);
}

Result<std::vector<std::byte>> Checker::RestoreTo(const RestorePlan& plan) {
  const auto client = store_.Look();
  RestoreOptions options;
  options.output = kCheckPath;
  options.parallelism = 1;
  options.replace = true;
  LS_TRY(Restore(Context::Background(), world_.disk(), *client, plan, options));
  const auto file = LS_TRY(world_.disk().Open(kCheckPath, {}));
  std::vector<std::byte> content(LS_TRY(file->Stat()).size_bytes);
  LS_TRY(file->ReadAt(content, 0));
  return content;
}

void Checker::CheckRestores(Random& dice, int count) {
  const Context ctx = Context::Background();
  const auto client = store_.Look();
  const auto listing = ListReplica(ctx, *client, false);
  if (!listing.ok() || listing.value().empty() || known_.empty()) return;
  for (int i = 0; i < count && !world_.failed(); ++i) {
    RestoreTarget target;
    if (i > 0) {
      auto it = known_.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(dice.Below(known_.size())));
      target.txid = it->first;
    }
    const auto plan = PlanRestore(listing.value(), target);
    if (!plan.ok()) continue;
    const auto content = RestoreTo(plan.value());
    if (!content.ok()) {
      world_.Fail("restore at the end: " + content.error().message());
      return;
    }
    CheckRestored(plan.value().max_txid(), content.value());
  }
}

}  // namespace litestream::sim
