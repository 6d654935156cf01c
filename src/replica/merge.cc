#include "replica/merge.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/file_stream.h"
#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/names.h"
#include "format/page_sum.h"
#include "replica/parallel.h"
#include "replica/planned_file.h"
#include "storage/resumable_source.h"

namespace litestream {
namespace {

// Larger windows save no more requests worth having, and do not fit the processor's cache.
constexpr std::size_t kMaxWindowBytes = std::size_t{8} << 20;
// Before the page size is known.
constexpr std::size_t kFirstWindowBytes = std::size_t{4} << 10;
// Room in the smallest windows beside one frame, so that not every page costs a read.
constexpr std::size_t kWindowSlackBytes = std::size_t{4} << 10;

Error Broken(std::string what) {
  return {ErrorCode::kCorruption, std::move(what)};
}

std::string RangeText(const TxidRange& range) {
  return fmt::format("({},{})", FormatTxid(range.min), FormatTxid(range.max));
}

// Gives a file of known size from its front by opening one range after another.
class RangedSource final : public ByteSource {
 public:
  explicit RangedSource(MergeInput input) : input_(std::move(input)) {}

  const MergeInput& input() const { return input_; }
  std::uint64_t left_bytes() const { return input_.size_bytes - offset_bytes_; }

  // Fills `out`, as long as there is something left.
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_bytes()));
    if (want == 0) return std::size_t{0};
    LS_TRY(ctx.Check());
    const auto source =
        LS_TRY(input_.open(ctx, {.offset_bytes = offset_bytes_, .length_bytes = want}));
    const std::size_t got = LS_TRY(ReadFull(ctx, *source, out.first(want)));
    offset_bytes_ += got;
    if (got == want) return got;
    return Broken(
        fmt::format("ends at byte {}, it was said to have {}", offset_bytes_, input_.size_bytes));
  }

 private:
  MergeInput input_;
  std::uint64_t offset_bytes_ = 0;
};

// Hands what is written to whoever reads, and keeps what they have no room for.
class HandOver final : public ByteSink {
 public:
  void Offer(std::span<std::byte> out) {
    out_ = out;
    filled_ = 0;
    Fill();
  }
  std::size_t filled() const { return filled_; }

  Result<void> Write(std::span<const std::byte> bytes) override {
    const std::size_t n = taken_ == kept_.size() ? std::min(bytes.size(), out_.size()) : 0;
    if (n > 0) std::memcpy(out_.data(), bytes.data(), n);
    Advance(n);
    kept_.insert(kept_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(n), bytes.end());
    return {};
  }

 private:
  void Fill() {
    const std::size_t n = std::min(out_.size(), kept_.size() - taken_);
    if (n > 0) std::memcpy(out_.data(), kept_.data() + taken_, n);
    taken_ += n;
    Advance(n);
    if (taken_ < kept_.size()) return;
    kept_.clear();
    taken_ = 0;
  }
  void Advance(std::size_t n) {
    out_ = out_.subspan(n);
    filled_ += n;
  }

  std::span<std::byte> out_;
  std::size_t filled_ = 0;
  std::vector<std::byte> kept_;
  std::size_t taken_ = 0;
};

std::uint32_t PagesOfWhole(const LtxHeader& header) {
  const bool has_lock_page = header.commit_pages >= LockPage(header.page_size).value;
  return header.commit_pages - (has_lock_page ? 1 : 0);
}

}  // namespace

MergeInput MergeInputFrom(ReplicaClient& client, const FileInfo& info) {
  return {
      .name = FileLabel(info.id),
      .size_bytes = info.size_bytes,
      .txids = info.id.txids,
      .open = [&client, id = info.id](
                  const Context&, const ByteRange& range) -> Result<std::unique_ptr<ByteSource>> {
        return MakeResumableSource(client, id, range.offset_bytes, range.length_bytes);
      }};
}

Result<MergeInput> MergeInputFrom(Env& env, const std::filesystem::path& path,
                                  const TxidRange& txids) {
  const std::uint64_t size = LS_TRY(env.Stat(path)).size_bytes;
  return MergeInput{
      .name = path.string(),
      .size_bytes = size,
      .txids = txids,
      .open = [&env, path](const Context&,
                           const ByteRange& range) -> Result<std::unique_ptr<ByteSource>> {
        return MakeFileSource(LS_TRY(env.Open(path, {})), range.offset_bytes,
                              range.offset_bytes + range.length_bytes);
      }};
}

std::vector<std::size_t> ShareWindows(const std::vector<std::uint64_t>& left_bytes,
                                      std::size_t total_bytes, std::size_t least_bytes) {
  std::vector<std::size_t> windows(left_bytes.size(), 0);
  double roots = 0;
  for (const std::uint64_t left : left_bytes) roots += std::sqrt(static_cast<double>(left));
  auto rest = static_cast<double>(total_bytes);
  double unit = 0;
  const auto share = [&](std::size_t i) {
    return unit * std::sqrt(static_cast<double>(left_bytes[i]));
  };
  // Those that hit a limit do not have their share; the others divide what remains, so once more.
  for (bool again = true; again;) {
    again = false;
    unit = roots > 0 ? std::max(rest, 0.0) / roots : 0;
    for (std::size_t i = 0; i < windows.size(); ++i) {
      if (windows[i] != 0) continue;
      const auto most =
          static_cast<std::size_t>(std::min<std::uint64_t>(left_bytes[i], kMaxWindowBytes));
      if (share(i) < static_cast<double>(most) && share(i) > static_cast<double>(least_bytes)) {
        continue;
      }
      windows[i] = share(i) < static_cast<double>(most) ? least_bytes : std::max(most, least_bytes);
      roots -= std::sqrt(static_cast<double>(left_bytes[i]));
      rest -= static_cast<double>(windows[i]);
      again = true;
    }
  }
  for (std::size_t i = 0; i < windows.size(); ++i) {
    if (windows[i] == 0) windows[i] = static_cast<std::size_t>(share(i));
  }
  return windows;
}

class LtxMerge::Impl {
 public:
  explicit Impl(const MergeOptions& options) : options_(options), encoder_(sink_) {}

  Result<void> Open(const Context& ctx, std::vector<MergeInput> inputs);
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out);

  const LtxHeader& header() const { return header_; }
  const LtxTrailer& trailer() const { return trailer_; }
  std::uint64_t size_bytes() const { return encoder_.size_bytes(); }

 private:
  struct Input {
    explicit Input(MergeInput spec) : source(std::move(spec)) {}

    const std::string& name() const { return source.input().name; }

    RangedSource source;
    std::unique_ptr<LtxDecoder> decoder;  // Gone when the file has been read and proven.
    LtxHeader header;
    // No file from here on has fewer pages: what lies above was cut off.
    std::uint32_t limit_pages = 0;
    LtxEncodedPage page;            // The next one.
    std::vector<std::byte> packed;  // Its block, if it came as an LZ4 frame.
  };
  // The next page of one input.
  struct Head {
    Pgno pgno;
    std::size_t input = 0;
    // For the heap: the smallest page on top, of equals the newest.
    friend bool operator<(const Head& a, const Head& b) {
      return a.pgno != b.pgno ? a.pgno > b.pgno : a.input < b.input;
    }
  };
  enum class Stage : unsigned char { kBegin, kPages, kDone };

  Result<void> OpenInput(const Context& ctx, Input& input);
  Result<void> CheckNeighbours() const;
  void MakeHeader();
  void ShareMemory();
  Result<void> Produce(const Context& ctx);
  Result<void> AddNewest(const Context& ctx);
  Result<void> Advance(const Context& ctx, std::size_t index);
  Result<void> TakePage(Input& input, const LtxPage& page);
  Result<void> Prove(const Context& ctx, std::size_t index);
  Result<void> CheckNoneMissing(std::uint32_t before) const;
  Result<void> CheckAfter() const;

  const MergeOptions options_;
  HandOver sink_;
  LtxEncoder encoder_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<Head> heads_;  // A heap.
  std::size_t live_ = 0;     // Inputs that are not read to their end.
  std::size_t shared_among_ = 0;
  std::array<std::byte, kMaxPageSize> page_;
  LtxHeader header_;
  LtxTrailer trailer_;
  DatabaseChecksum checksum_;  // Of the pages added.
  Pgno last_;
  // All pages above this, up to the commit, must be in the inputs.
  std::uint32_t complete_above_ = 0;
  Stage stage_ = Stage::kBegin;
  std::optional<Error> error_;
};

// --- Opening. ---

Result<void> LtxMerge::Impl::Open(const Context& ctx, std::vector<MergeInput> inputs) {
  if (inputs.empty()) {
    return Error(ErrorCode::kInvalidArgument, "at least one input is required");
  }
  for (MergeInput& input : inputs) inputs_.push_back(std::make_unique<Input>(std::move(input)));
  live_ = inputs_.size();
  for (auto& input : inputs_) {
    input->decoder = std::make_unique<LtxDecoder>(input->source);
    input->decoder->SharePageBuffer(page_);
  }
  ShareMemory();
  LS_TRY(ForEachParallel(
      ctx, options_.threads, inputs_.size(),
      [this](const Context& inner, std::size_t i) { return OpenInput(inner, *inputs_[i]); }));
  LS_TRY(CheckNeighbours());
  MakeHeader();
  // Now the page size is known.
  ShareMemory();
  return {};
}

Result<void> LtxMerge::Impl::OpenInput(const Context& ctx, Input& input) {
  input.header = LS_TRY(input.decoder->ReadHeader(ctx), "{}", input.name());
  const auto& txids = input.source.input().txids;
  if (txids && *txids != input.header.txids) {
    return Broken(fmt::format("{}: holds transactions {}, its name says otherwise", input.name(),
                              RangeText(input.header.txids)));
  }
  return {};
}

Result<void> LtxMerge::Impl::CheckNeighbours() const {
  for (std::size_t i = 1; i < inputs_.size(); ++i) {
    const LtxHeader& before = inputs_[i - 1]->header;
    const LtxHeader& after = inputs_[i]->header;
    if (after.page_size != before.page_size) {
      return Broken(fmt::format("{}: input files have mismatched page sizes: {} != {}",
                                inputs_[i]->name(), before.page_size, after.page_size));
    }
    if (after.txids.min > before.txids.max.Next() || after.txids.max <= before.txids.max) {
      return Broken(fmt::format("{}: non-contiguous transaction ids in input files: {} -> {}",
                                inputs_[i]->name(), RangeText(before.txids),
                                RangeText(after.txids)));
    }
    // Files that overlap say nothing about the same moment.
    if (after.txids.min != before.txids.max.Next()) continue;
    const auto left = before.Proof();
    const auto right = after.Proof();
    if (!left || !right || BuildsOnNothing(*right) || left->after == right->before) continue;
    return Broken(
        fmt::format("{}: its proof says the database checksum is {} before it; that of "
                    "{} says {}",
                    inputs_[i]->name(), FormatHex64(right->before), inputs_[i - 1]->name(),
                    FormatHex64(left->after)));
  }
  return {};
}

void LtxMerge::Impl::MakeHeader() {
  const LtxHeader& first = inputs_.front()->header;
  const LtxHeader& last = inputs_.back()->header;
  std::uint32_t limit = std::numeric_limits<std::uint32_t>::max();
  for (auto it = inputs_.rbegin(); it != inputs_.rend(); ++it) {
    limit = std::min(limit, (*it)->header.commit_pages);
    (*it)->limit_pages = limit;
  }
  header_ = {.page_size = last.page_size,
             .commit_pages = last.commit_pages,
             .txids = {options_.as_snapshot ? Txid{1} : first.txids.min, last.txids.max},
             .timestamp_ms = last.timestamp_ms};
  const bool snapshot = header_.IsSnapshot();
  complete_above_ = snapshot ? 0 : limit;
  if (const auto proof = last.Proof()) {
    if (snapshot) {
      header_.SetProof(LtxProof{.before = 0, .after = proof->after});
    } else if (first.Proof()) {
      header_.SetProof(LtxProof{.before = first.Proof()->before, .after = proof->after});
    }
  }
}

// Again whenever half of the inputs have ended, so that the others have their memory.
void LtxMerge::Impl::ShareMemory() {
  shared_among_ = live_;
  std::vector<Input*> live;
  std::vector<std::uint64_t> left;
  for (auto& input : inputs_) {
    if (!input->decoder) continue;
    live.push_back(input.get());
    left.push_back(input->source.left_bytes() + input->decoder->buffered_bytes());
  }
  const std::size_t least = header_.page_size == 0
                                ? kFirstWindowBytes
                                : MaxLtxFrameSize(header_.page_size) + kWindowSlackBytes;
  const auto windows = ShareWindows(left, options_.window_bytes, least);
  for (std::size_t i = 0; i < live.size(); ++i) live[i]->decoder->SetBufferSize(windows[i]);
}

// --- Merging. ---

Result<std::size_t> LtxMerge::Impl::Read(const Context& ctx, std::span<std::byte> out) {
  if (error_) return *error_;
  sink_.Offer(out);
  while (sink_.filled() == 0 && !out.empty() && stage_ != Stage::kDone) {
    auto produced = ctx.Check();
    if (produced.ok()) produced = Produce(ctx);
    if (produced.ok()) continue;
    error_ = produced.error();
    return *error_;
  }
  const std::size_t n = sink_.filled();
  sink_.Offer({});
  return n;
}

Result<void> LtxMerge::Impl::Produce(const Context& ctx) {
  if (stage_ == Stage::kBegin) {
    LS_TRY(encoder_.Begin(header_));
    for (std::size_t i = 0; i < inputs_.size(); ++i) LS_TRY(Advance(ctx, i));
    stage_ = Stage::kPages;
    return {};
  }
  if (!heads_.empty()) return AddNewest(ctx);
  LS_TRY(CheckNoneMissing(header_.commit_pages + 1));
  LS_TRY(CheckAfter());
  if (LS_TRY(encoder_.WriteIndexPiece())) return {};
  trailer_ = LS_TRY(encoder_.Finish(std::nullopt));
  stage_ = Stage::kDone;
  return {};
}

// Of all versions of the next page, adds the newest that counts, if there is one.
Result<void> LtxMerge::Impl::AddNewest(const Context& ctx) {
  const Head newest = heads_.front();
  const Input& input = *inputs_[newest.input];
  if (newest.pgno.value <= input.limit_pages) {
    LS_TRY(CheckNoneMissing(newest.pgno.value));
    LS_TRY(encoder_.AddEncoded(input.page), "{}", input.name());
    checksum_.Toggle(input.page.page_sum);
    last_ = newest.pgno;
  }
  while (!heads_.empty() && heads_.front().pgno == newest.pgno) {
    const std::size_t index = heads_.front().input;
    std::pop_heap(heads_.begin(), heads_.end());
    heads_.pop_back();
    LS_TRY(Advance(ctx, index));
  }
  return {};
}

// Reads the next page of an input, or proves the file if there is none.
Result<void> LtxMerge::Impl::Advance(const Context& ctx, std::size_t index) {
  Input& input = *inputs_[index];
  const auto page = LS_TRY(input.decoder->ReadPage(ctx), "{}", input.name());
  if (!page) return Prove(ctx, index);
  LS_TRY(TakePage(input, *page), "{}", input.name());
  heads_.push_back({page->pgno, index});
  std::push_heap(heads_.begin(), heads_.end());
  return {};
}

Result<void> LtxMerge::Impl::TakePage(Input& input, const LtxPage& page) {
  input.page = {.pgno = page.pgno, .page_sum = page.page_sum, .block = page.block};
  if (!page.block.empty()) return {};
  // Litestream before v0.5.16 wrote LZ4 frames. The page is gone with the next call, so it is
  // packed now.
  input.packed.resize(MaxLz4BlockSize(header_.page_size));
  const std::size_t size = CompressPage(page.page, input.packed);
  if (size == 0) return Error(ErrorCode::kInternal, "lz4 block compression failed");
  input.page.block = std::span(input.packed).first(size);
  return {};
}

Result<void> LtxMerge::Impl::Prove(const Context& ctx, std::size_t index) {
  Input& input = *inputs_[index];
  LS_TRY(input.decoder->Finish(ctx), "{}", input.name());
  const auto proof = input.header.Proof();
  if (proof && BuildsOnNothing(*proof) &&
      input.decoder->page_count() != PagesOfWhole(input.header)) {
    return Broken(
        fmt::format("{}: its proof says that it builds on nothing, but it has {} of {} "
                    "pages",
                    input.name(), input.decoder->page_count(), PagesOfWhole(input.header)));
  }
  input.decoder.reset();
  input.packed = {};
  --live_;
  if (live_ * 2 <= shared_among_) ShareMemory();
  return {};
}

// After the last page added and before page `before`, no page may be missing.
Result<void> LtxMerge::Impl::CheckNoneMissing(std::uint32_t before) const {
  Pgno next{std::max(last_.value, complete_above_) + 1};
  if (next == LockPage(header_.page_size)) next = Pgno{next.value + 1};
  if (next.value >= before) return {};
  const auto counts = std::ranges::find_if(
      inputs_, [&](const auto& input) { return input->limit_pages >= next.value; });
  return Broken(fmt::format("page {} of {} is in none of the files from {} to {}", next.value,
                            header_.commit_pages, (*counts)->name(), inputs_.back()->name()));
}

// A result that holds every page must be the database that the last proof speaks of.
Result<void> LtxMerge::Impl::CheckAfter() const {
  const auto proof = header_.Proof();
  if (!proof || !BuildsOnNothing(*proof) || proof->after == checksum_.value()) return {};
  return Broken(fmt::format(
      "{}: its proof says the database checksum is {} after it, that of the "
      "merged files is {}",
      inputs_.back()->name(), FormatHex64(proof->after), FormatHex64(checksum_.value())));
}

// --- The class itself. ---

LtxMerge::LtxMerge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LtxMerge::~LtxMerge() = default;

Result<std::unique_ptr<LtxMerge>> LtxMerge::Open(const Context& ctx, std::vector<MergeInput> inputs,
                                                 const MergeOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  LS_TRY(impl->Open(ctx, std::move(inputs)));
  return std::unique_ptr<LtxMerge>(new LtxMerge(std::move(impl)));
}

const LtxHeader& LtxMerge::header() const {
  return impl_->header();
}

Result<std::size_t> LtxMerge::Read(const Context& ctx, std::span<std::byte> out) {
  return impl_->Read(ctx, out);
}

const LtxTrailer& LtxMerge::trailer() const {
  return impl_->trailer();
}

std::uint64_t LtxMerge::size_bytes() const {
  return impl_->size_bytes();
}

}  // namespace litestream
