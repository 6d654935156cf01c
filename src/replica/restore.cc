#include "replica/restore.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/endian.h"
#include "base/try.h"
#include "format/crc64.h"
#include "format/names.h"
#include "replica/fetch.h"
#include "replica/output_file.h"
#include "replica/page_index.h"
#include "replica/planned_file.h"
#include "replica/sum_table.h"

namespace litestream {
namespace {

constexpr int kMaxParallelism = 64;
constexpr std::uint64_t kMinPieceBytes = std::uint64_t{256} << 10;
constexpr std::uint64_t kMaxPieceBytes = std::uint64_t{8} << 20;
// So that the threads end at about the same time.
constexpr std::uint64_t kPiecesPerThread = 8;
// Page number, offset and size, a byte each at least.
constexpr std::uint64_t kMinIndexEntryBytes = 3;
constexpr std::chrono::milliseconds kProgressInterval{100};

// A directory answers as fast as the processor copies: more threads than cores only get in each
// other's way. Elsewhere most of a thread's time is waiting.
int ThreadCount(ReplicaClient& client, int parallelism) {
  const int threads = std::clamp(parallelism, 1, kMaxParallelism);
  if (client.type() != "file") return threads;
  return std::min(threads, std::max(2, static_cast<int>(std::thread::hardware_concurrency())));
}

// Calls options.progress, not too often.
class ProgressMeter {
 public:
  ProgressMeter(const Context& ctx, const RestoreOptions& options, const RestoreTotals& totals,
                std::uint64_t total_bytes)
      : ctx_(ctx), options_(options), totals_(totals), total_bytes_(total_bytes) {}

  void Tick() {
    if (!options_.progress) return;
    const MonoTime now = ctx_.clock().Monotonic();
    if (last_ && now - *last_ < kProgressInterval) return;
    last_ = now;
    Report();
  }
  void Report() const {
    if (!options_.progress) return;
    options_.progress({.done_bytes = totals_.written_bytes, .total_bytes = total_bytes_});
  }

 private:
  const Context& ctx_;
  const RestoreOptions& options_;
  const RestoreTotals& totals_;
  const std::uint64_t total_bytes_;
  std::optional<MonoTime> last_;
};

class Restorer {
 public:
  Restorer(Env& env, ReplicaClient& client, const RestorePlan& plan, const RestoreOptions& options)
      : env_(env),
        client_(client),
        plan_(plan),
        options_(options),
        threads_(ThreadCount(client, options.parallelism)),
        totals_(plan.files.size()) {}

  Result<RestoreReport> Run(const Context& ctx) {
    LS_TRY(OutputFile::CheckFree(env_, options_.output, options_.replace));
    files_ = LS_TRY(OpenPlannedFiles(ctx, client_, plan_, threads_, totals_.read_bytes));
    proof_ = last().header.Proof();
    if (auto plausible = CheckPlausible(); !plausible.ok()) {
      return Blame(ctx, std::move(plausible).error());
    }
    const std::uint64_t size = std::uint64_t{last().header.commit_pages} * last().header.page_size;
    auto output = LS_TRY(OutputFile::Create(env_, options_.output, options_.replace, size));
    options_.log.Debug("restoring", {{"path", output->temporary_path().string()},
                                     {"files", std::uint64_t{files_.size()}},
                                     {"bytes", size}});
    ProgressMeter meter(ctx, options_, totals_, size);
    auto built = Build(ctx, output->file(), meter);
    if (!built.ok()) return Blame(ctx, std::move(built).error());
    LS_TRY(output->file().Sync(), "sync {}", output->temporary_path().string());
    LS_TRY(ctx.Check());
    if (options_.check) LS_TRY(options_.check(output->temporary_path()));
    meter.Report();
    LS_TRY(output->Publish());
    return Report();
  }

 private:
  const PlannedFile& last() const { return files_.back(); }

  // A damaged page count must not take all the space that the disk has: each page needs an entry in
  // some page index.
  Result<void> CheckPlausible() const {
    std::uint64_t entries = 1;  // The lock page has none.
    for (const PlannedFile& file : files_) entries += file.tail.index_bytes / kMinIndexEntryBytes;
    if (last().header.commit_pages <= entries) return {};
    return Error(ErrorCode::kCorruption,
                 fmt::format("ltx file {}: says that the database has {} pages, the files have no "
                             "more than {}",
                             FileLabel(last().info.id), last().header.commit_pages, entries));
  }

  // Writes every page and checks the result.
  Result<void> Build(const Context& ctx, File& output, ProgressMeter& meter) {
    PageIndex index(client_, files_, /*whole=*/!proof_, Limits());
    {
      FetchPool pool(
          ctx, FetchThreads(),
          [&]() { return PieceFetcher(client_, files_, output, /*checksums=*/!proof_, totals_); },
          [&]() { meter.Tick(); });
      LS_TRY(index.Run(ctx, [&](Piece piece) { return pool.Submit(std::move(piece)); }));
      LS_TRY(pool.Finish());
    }
    totals_.read_bytes += index.read_bytes();
    if (!proof_) LS_TRY(CheckFiles(index));
    LS_TRY(CheckComplete(index));
    return CheckResult();
  }

  std::uint64_t FileBytes() const {
    std::uint64_t bytes = 0;
    for (const PlannedFile& file : files_) bytes += file.info.size_bytes;
    return bytes;
  }

  // Starting threads takes longer than a little work.
  int FetchThreads() const { return FileBytes() <= kMinPieceBytes ? 1 : threads_; }

  PieceLimits Limits() const {
    const std::uint64_t pieces = static_cast<std::uint64_t>(threads_) * kPiecesPerThread;
    PieceLimits limits;
    limits.piece_bytes = std::clamp(FileBytes() / pieces, kMinPieceBytes, kMaxPieceBytes);
    return limits;
  }

  // The checksum of each file, which was read whole.
  Result<void> CheckFiles(const PageIndex& index) const {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const PlannedFile& file = files_[i];
      std::array<std::byte, 2 * sizeof(std::uint64_t)> end{};
      StoreBe64(end.data(), file.tail.index_bytes);
      StoreBe64(end.data() + sizeof(std::uint64_t), file.tail.trailer.post_apply_checksum);
      std::uint64_t crc = totals_.FoldFile(i, Crc64(0, file.header_bytes));
      crc = Crc64Combine(crc, index.index_crc(i), file.tail.index_bytes);
      crc = Crc64(crc, end) | kLtxChecksumFlag;
      if (crc == file.tail.trailer.file_checksum) continue;
      return Error(ErrorCode::kCorruption,
                   fmt::format("ltx file {}: file checksum mismatch: computed {}, stored {}",
                               FileLabel(file.info.id), FormatHex64(crc),
                               FormatHex64(file.tail.trailer.file_checksum)));
    }
    return {};
  }

  Result<void> CheckComplete(const PageIndex& index) const {
    const auto missing = index.missing();
    if (!missing) return {};
    const std::string what = *missing == Pgno{1}
                                 ? "snapshot transaction file must start with page number 1"
                                 : fmt::format(
                                       "nonsequential page numbers in snapshot transaction: "
                                       "page {} of {} is in none of the files",
                                       missing->value, last().header.commit_pages);
    return Error(ErrorCode::kCorruption,
                 fmt::format("{} (up to {})", what, FileLabel(last().info.id)));
  }

  // The database checksum; the one of LTX's own kind where the last file has it.
  Result<void> CheckResult() const {
    const std::string label = FileLabel(last().info.id);
    const std::uint64_t computed = totals_.database_checksum().value();
    if (proof_ && computed != proof_->after) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("the restored database has checksum {}, the proof of ltx file {} "
                               "says {}",
                               FormatHex64(computed), label, FormatHex64(proof_->after)));
    }
    const std::uint64_t rolling = totals_.page_sums() | kLtxChecksumFlag;
    if (last().header.HasChecksums() && rolling != last().tail.trailer.post_apply_checksum) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("ltx file {}: post-apply checksum in trailer ({}) does not match "
                               "calculated checksum ({})",
                               label, FormatHex64(last().tail.trailer.post_apply_checksum),
                               FormatHex64(rolling)));
    }
    return {};
  }

  // With a proof not every byte was read, so the file that breaks is not known yet.
  Error Blame(const Context& ctx, Error error) {
    if (!proof_ || !error.Is(ErrorCode::kCorruption)) return error;
    options_.log.Debug("looking for the broken file", {{"error", error.message()}});
    auto found = FindBrokenFile(ctx, client_, plan_.files);
    if (found.ok() || !found.error().Is(ErrorCode::kCorruption)) return error;
    return std::move(found).error();
  }

  RestoreReport Report() const {
    return {.txids = {plan_.min_txid(), plan_.max_txid()},
            .reached = last().header.Timestamp(),
            .proof = proof_ ? ProofState::kProven : ProofState::kUnproven,
            .database_checksum = totals_.database_checksum().value(),
            .page_size = last().header.page_size,
            .page_count = last().header.commit_pages,
            .read_bytes = totals_.read_bytes,
            .file_count = static_cast<int>(files_.size())};
  }

  Env& env_;
  ReplicaClient& client_;
  const RestorePlan& plan_;
  const RestoreOptions& options_;
  const int threads_;
  RestoreTotals totals_;
  std::vector<PlannedFile> files_;
  std::optional<LtxProof> proof_;  // Of the last file.
};

}  // namespace

Result<RestoreReport> Restore(const Context& ctx, Env& env, ReplicaClient& client,
                              const RestorePlan& plan, const RestoreOptions& options) {
  return Restorer(env, client, plan, options).Run(ctx);
}

}  // namespace litestream
