#include "replica/compaction_sources.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/page_sum.h"
#include "replica/planned_file.h"

namespace litestream {
namespace {

constexpr std::size_t kIndexReadBytes = std::size_t{64} << 10;

// Whether an error speaks of the file, and not of the way to it.
bool IsOfTheFile(const Error& error) {
  return error.Is(ErrorCode::kNotFound) || error.Is(ErrorCode::kCorruption);
}

std::uint32_t PagesOfWhole(const LtxHeader& header) {
  const bool has_lock_page = header.commit_pages >= LockPage(header.page_size).value;
  return header.commit_pages - (has_lock_page ? 1 : 0);
}

bool BuildsOnNothing(const LtxHeader& header) {
  const auto proof = header.Proof();
  return header.IsSnapshot() || (proof && BuildsOnNothing(*proof));
}

Result<std::uint64_t> CountIndexEntries(const Context& ctx, const MergeInput& input,
                                        const LtxTail& tail) {
  LtxIndexReader reader(tail.index_offset, tail.index_bytes);
  const auto source = LS_TRY(
      input.open(ctx, {.offset_bytes = tail.index_offset, .length_bytes = tail.index_bytes}));
  std::vector<std::byte> piece(kIndexReadBytes);
  std::vector<LtxIndexEntry> entries;
  std::uint64_t count = 0;
  while (const std::size_t got = LS_TRY(ReadFull(ctx, *source, piece))) {
    entries.clear();
    LS_TRY(reader.Feed(std::span(piece).first(got), entries));
    count += entries.size();
  }
  LS_TRY(reader.Finish());
  return count;
}

}  // namespace

std::optional<LtxHeader> CompactionSources::Beginning::Header() const {
  const auto header = ParseLtxHeader(std::span(bytes).first(size));
  return header.ok() ? std::optional(header.value()) : std::nullopt;
}

class CompactionSources::BeginningKept final : public ByteSource {
 public:
  BeginningKept(std::unique_ptr<ByteSource> source, Beginning& beginning)
      : source_(std::move(source)), beginning_(beginning) {
    beginning_.size = 0;
  }
  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    const std::size_t got = LS_TRY(source_->Read(ctx, out));
    const std::size_t n = std::min(got, beginning_.bytes.size() - beginning_.size);
    if (n > 0) std::memcpy(&beginning_.bytes[beginning_.size], out.data(), n);
    beginning_.size += n;
    return got;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  Beginning& beginning_;
};

// --- Opening. ---

CompactionSources::CompactionSources(const CompactionTarget& target,
                                     const std::vector<FileInfo>& files)
    : target_(target) {
  const std::size_t most = std::max(files.size(), target.bounds.max_files);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::size_t to_come = files.size() - i - 1;
    auto local = LocalOf(files[i], most - inputs_.size() - to_come);
    if (!local) {
      Add(files[i], false, MergeInputFrom(target.client, files[i]));
      continue;
    }
    for (MergeInput& input : *local) Add(files[i], true, std::move(input));
  }
}

CompactionSources::~CompactionSources() = default;

void CompactionSources::Add(const FileInfo& file, bool local, MergeInput spec) {
  auto beginning = std::make_unique<Beginning>();
  inputs_.push_back({file, local, std::move(spec), std::move(beginning)});
}

std::optional<std::vector<MergeInput>> CompactionSources::LocalOf(const FileInfo& file,
                                                                  std::size_t most) const {
  const TxidRange& txids = file.id.txids;
  if (!target_.local || file.id.level != kLevel0) return std::nullopt;
  if (txids.max.value - txids.min.value >= most) return std::nullopt;
  std::vector<MergeInput> inputs;
  for (Txid txid = txids.min; txid <= txids.max; txid = txid.Next()) {
    auto input = target_.local(txid);
    if (!input) return std::nullopt;
    inputs.push_back(std::move(*input));
  }
  // Of one transaction the replica's file is a copy of the local one.
  if (inputs.size() == 1 && inputs.front().size_bytes != file.size_bytes) return std::nullopt;
  return inputs;
}

Result<void> CompactionSources::Open(const Context& ctx, bool as_snapshot) {
  std::vector<MergeInput> specs;
  for (const Input& input : inputs_) {
    MergeInput spec = input.spec;
    spec.open = [open = input.spec.open, beginning = input.beginning.get()](
                    const Context& inner,
                    const ByteRange& range) -> Result<std::unique_ptr<ByteSource>> {
      auto source = LS_TRY(open(inner, range));
      if (range.offset_bytes != 0) return source;
      return std::make_unique<BeginningKept>(std::move(source), *beginning);
    };
    specs.push_back(std::move(spec));
  }
  merge_ = LS_TRY(LtxMerge::Open(ctx, std::move(specs),
                                 {.as_snapshot = as_snapshot, .threads = target_.threads}));
  return {};
}

// --- Images. ---

std::size_t CompactionSources::LastBeginning() const {
  // By files, of which one may be several inputs.
  std::size_t file = 0;
  std::size_t last = 0;
  for (std::size_t i = 1; i < inputs_.size(); ++i) {
    if (inputs_[i].file.id != inputs_[i - 1].file.id) ++file;
    const auto before = inputs_[i - 1].beginning->Header();
    const auto header = inputs_[i].beginning->Header();
    if (!header) continue;
    if (BuildsOnNothing(*header) || (before && before->page_size != header->page_size)) last = file;
  }
  return last;
}

Result<std::set<FileId>> CompactionSources::FindImages(
    const Context& ctx, std::optional<std::uint32_t> page_size) const {
  std::set<FileId> images;
  for (const Input& input : inputs_) {
    const auto header = input.beginning->Header();
    if (!header) continue;
    bool is_image = page_size && *page_size != header->page_size;
    page_size = header->page_size;
    if (!is_image && input.file.id.level == kLevel0) {
      is_image = BuildsOnNothing(*header) || LS_TRY(HoldsEveryPage(ctx, input, *header));
    }
    if (is_image) images.insert(input.file.id);
  }
  return images;
}

// Of a large file of level 0. One that cannot be read is none; the merge will say so.
Result<bool> CompactionSources::HoldsEveryPage(const Context& ctx, const Input& input,
                                               const LtxHeader& header) const {
  const std::uint64_t size = input.spec.size_bytes;
  // The smallest frame is that of a page of equal bytes.
  const std::uint64_t least_frame =
      kLtxFrameHeaderSize + kLtxSizePrefixSize + header.page_size / 255;
  const std::uint64_t pages = PagesOfWhole(header);
  if (size < kImageBytes || size < pages * least_frame) return false;
  const auto count = [&]() -> Result<std::uint64_t> {
    const auto source = LS_TRY(
        input.spec.open(ctx, {.offset_bytes = size - kLtxTailSize, .length_bytes = kLtxTailSize}));
    std::array<std::byte, kLtxTailSize> bytes = {};
    const std::size_t got = LS_TRY(ReadFull(ctx, *source, bytes));
    const LtxTail tail = LS_TRY(ParseLtxTail(std::span(bytes).first(got), size));
    return CountIndexEntries(ctx, input.spec, tail);
  }();
  if (count.ok()) return count.value() == pages;
  if (IsOfTheFile(count.error())) return false;
  return count.error();
}

// --- What went wrong. ---

Result<BadSource> CompactionSources::Diagnose(const Context& ctx, const Error& error) const {
  for (const Input& input : inputs_) {
    Error found = error;
    const auto fault = LS_TRY(Examine(ctx, input, found));
    if (!fault) continue;
    return BadSource{.fault = *fault, .file = input.file, .local = input.local, .error = found};
  }
  return BadSource{
      .fault = SourceFault::kContradiction, .file = {}, .local = false, .error = error};
}

Result<std::optional<SourceFault>> CompactionSources::Examine(const Context& ctx,
                                                              const Input& input,
                                                              Error& error) const {
  const auto whole = ReadWhole(ctx, input);
  if (whole.ok()) return whole.value() ? std::nullopt : std::optional(SourceFault::kCut);
  if (!IsOfTheFile(whole.error())) return whole.error();
  error = whole.error();
  return std::optional(error.Is(ErrorCode::kNotFound) ? SourceFault::kMissing
                                                      : SourceFault::kDamaged);
}

// False: it ends too early.
Result<bool> CompactionSources::ReadWhole(const Context& ctx, const Input& input) const {
  const std::uint64_t size = input.spec.size_bytes;
  LS_TRY(CheckFileSize(input.file));
  // Its last byte first, past the source that would ask for it again and again.
  const ByteRange last{.offset_bytes = size - 1, .length_bytes = 1};
  const auto end = LS_TRY(input.local ? input.spec.open(ctx, last)
                                      : target_.client.Open(ctx, input.file.id, last));
  std::array<std::byte, 1> byte = {};
  const std::size_t got = LS_TRY(ReadFull(ctx, *end, byte), "{}", input.spec.name);
  if (got == 0) return false;
  const auto source = LS_TRY(input.spec.open(ctx, {.offset_bytes = 0, .length_bytes = size}));
  const LtxHeader header = LS_TRY(VerifyLtx(ctx, *source), "{}", input.spec.name);
  if (!input.spec.txids || header.txids == *input.spec.txids) return true;
  return Error(ErrorCode::kCorruption,
               input.spec.name + ": holds other transactions than its name says");
}

}  // namespace litestream
