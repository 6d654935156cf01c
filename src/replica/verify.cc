#include "replica/verify.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/try.h"
#include "format/names.h"
#include "replica/parallel.h"
#include "replica/planned_file.h"
#include "replica/sum_table.h"

namespace litestream {
namespace {

constexpr int kMaxParallelism = 64;
// Files up to this size are read several at a time, and their page sums kept until their turn
// comes. So many bytes of files are read ahead.
constexpr std::uint64_t kSmallFileBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kBatchBytes = std::uint64_t{32} << 20;

struct PageSumEntry {
  Pgno pgno;
  std::uint64_t sum = 0;
};

// A file that was read: whole and right, or what is wrong with it.
struct FileSums {
  LtxHeader header;
  std::vector<PageSumEntry> pages;  // Not for snapshots, which go straight into the table.
  std::optional<std::string> problem;
  bool gone = false;  // Deleted since it was listed.
};

// Lays all files over each other in the order in which they end. Several files may end at one
// transaction (a merged one, a snapshot): the first that leads on is laid over the table; if any
// proof speaks of that state, the others must agree with it.
class ReplicaVerifier {
 public:
  ReplicaVerifier(ReplicaClient& client, const VerifyOptions& options)
      : client_(client),
        options_(options),
        threads_(std::clamp(options.parallelism, 1, kMaxParallelism)) {}

  Result<VerifyReport> Run(const Context& ctx) {
    const ReplicaListing listing = LS_TRY(ListReplica(ctx, client_, /*exact_times=*/false));
    report_.newest = listing.newest();
    std::vector<FileInfo> files = InOrder(listing);
    report_.file_count = static_cast<int>(files.size());
    for (const FileInfo& file : files) total_bytes_ += file.size_bytes;

    for (std::size_t begin = 0; begin < files.size();) {
      std::size_t end = begin;
      std::uint64_t batch_bytes = 0;
      while (end < files.size() && IsSmall(files[end]) && batch_bytes < kBatchBytes) {
        batch_bytes += files[end++].size_bytes;
      }
      if (end == begin) {
        LS_TRY(TakeLarge(ctx, files[end++]));
      } else {
        LS_TRY(TakeBatch(ctx, std::span(files).subspan(begin, end - begin)));
      }
      begin = end;
      if (options_.progress) options_.progress(report_.read_bytes, total_bytes_);
    }
    LS_TRY(CheckNewest(listing));
    return std::move(report_);
  }

 private:
  static bool IsSmall(const FileInfo& info) {
    return info.size_bytes <= kSmallFileBytes && info.id.txids.min != Txid{1};
  }

  // By last transaction; of equals the shortest range first, so that a merged file is compared with
  // what it was merged from.
  static std::vector<FileInfo> InOrder(const ReplicaListing& listing) {
    std::vector<FileInfo> files;
    for (const auto& level : listing.levels) {
      files.insert(files.end(), level.begin(), level.end());
    }
    std::ranges::sort(files, [](const FileInfo& a, const FileInfo& b) {
      if (a.id.txids.max != b.id.txids.max) return a.id.txids.max < b.id.txids.max;
      if (a.id.txids.min != b.id.txids.min) return a.id.txids.min > b.id.txids.min;
      return a.id.level < b.id.level;
    });
    return files;
  }

  // Reads a file; what is wrong with its bytes is no error.
  Result<void> Read(const Context& ctx, const FileInfo& info, const FileVisitor& visitor,
                    FileSums& out) {
    auto header = ReadVerified(ctx, client_, info, visitor);
    if (header.ok()) {
      out.header = header.value();
    } else if (header.error().Is(ErrorCode::kCorruption)) {
      out.problem = header.error().message();
    } else if (header.error().Is(ErrorCode::kNotFound)) {
      out.gone = true;
    } else {
      return std::move(header).error().Wrap("ltx file " + FileLabel(info.id));
    }
    return {};
  }

  Result<void> TakeBatch(const Context& ctx, std::span<const FileInfo> files) {
    std::vector<FileSums> read(files.size());
    LS_TRY(ForEachParallel(ctx, threads_, files.size(), [&](const Context& inner, std::size_t i) {
      FileSums& sums = read[i];
      const FileVisitor visitor{.on_header = {}, .on_page = [&](Pgno pgno, std::uint64_t sum) {
                                  sums.pages.push_back({pgno, sum});
                                }};
      return Read(inner, files[i], visitor, sums);
    }));
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (Note(files[i], read[i])) Apply(files[i], std::move(read[i]));
    }
    return {};
  }

  // One file, without keeping the sums of a snapshot: they go straight into the table, or are
  // compared with it at once.
  Result<void> TakeLarge(const Context& ctx, const FileInfo& info) {
    FileSums sums;
    const bool snapshot = info.id.txids.min == Txid{1};
    const bool lay = snapshot && table_.Continues(info.id.txids);
    const bool compare = snapshot && !lay && MustAgree(info.id.txids);
    bool begun = false;
    std::optional<std::string> difference;
    const FileVisitor visitor{.on_header =
                                  [&](const LtxHeader& header) {
                                    if (lay) table_.Begin(header);
                                    begun = lay;
                                  },
                              .on_page =
                                  [&](Pgno pgno, std::uint64_t sum) {
                                    if (lay) table_.Set(pgno, sum);
                                    if (compare && !difference) difference = CompareOne(pgno, sum);
                                    if (!snapshot) sums.pages.push_back({pgno, sum});
                                  }};
    LS_TRY(Read(ctx, info, visitor, sums));
    if (!Note(info, sums)) {
      if (begun) table_.Clear();
      return {};
    }
    if (!snapshot) {
      Apply(info, std::move(sums));
    } else if (lay) {
      NoteProblem(info, CheckProofAfter(table_, sums.header));
      CompareDeferred();
    } else if (compare) {
      NoteProblem(info, difference ? difference : CompareRest(sums.header));
    }
    return {};
  }

  // Counts the file; false if there is nothing in it to go on with.
  bool Note(const FileInfo& info, const FileSums& sums) {
    report_.read_bytes += info.size_bytes;
    if (sums.gone) {
      gone_.insert(info.id);
      --report_.file_count;
      return false;
    }
    if (sums.problem) {
      NoteProblem(info, sums.problem);
      return false;
    }
    if (!sums.header.Proof()) ++report_.unproven_files;
    NoteClaims(info, sums.header);
    return true;
  }

  void NoteProblem(const FileInfo& info, const std::optional<std::string>& what) {
    if (!what) return;
    report_.problems.push_back({info.id, *what});
    broken_.insert(info.id);
  }

  // What the file's proof says about the state before and after it must be what others say.
  void NoteClaims(const FileInfo& info, const LtxHeader& header) {
    const auto proof = header.Proof();
    if (!proof) return;
    const auto claim = [&](Txid txid, std::uint64_t checksum, const char* side) {
      const auto [it, added] = claims_.try_emplace(txid, Claim{checksum, info.id});
      if (added || it->second.checksum == checksum) return;
      NoteProblem(info, fmt::format("its proof says the database checksum is {} {} it; that of {} "
                                    "says {}",
                                    FormatHex64(checksum), side, FileLabel(it->second.file),
                                    FormatHex64(it->second.checksum)));
    };
    if (header.IsSnapshot()) {
      if (proof->before != 0) NoteProblem(info, "a snapshot whose proof has something before it");
    } else if (!BuildsOnNothing(*proof)) {
      claim(Txid{header.txids.min.value - 1}, proof->before, "before");
    }
    claim(header.txids.max, proof->after, "after");
  }

  void Apply(const FileInfo& info, FileSums sums) {
    const TxidRange& txids = sums.header.txids;
    if (table_.Continues(txids)) {
      NoteProblem(info, CheckProofBefore(table_, sums.header));
      table_.Begin(sums.header);
      for (const PageSumEntry& page : sums.pages) table_.Set(page.pgno, page.sum);
      NoteProblem(info, CheckProofAfter(table_, sums.header));
      CompareDeferred();
    } else if (table_.txid() == txids.max) {
      Compare(info, sums);
    } else {
      if (!deferred_.empty() && deferred_.front().info.id.txids.max != txids.max) deferred_.clear();
      deferred_.push_back({info, std::move(sums)});
    }
  }

  // A file that begins behind the table's end may end where a longer one brings the table.
  void CompareDeferred() {
    for (const Deferred& file : deferred_) {
      if (file.info.id.txids.max == table_.txid()) Compare(file.info, file.sums);
    }
    deferred_.clear();
  }

  void Compare(const FileInfo& info, const FileSums& sums) {
    if (!MustAgree(sums.header.txids)) return;
    std::optional<std::string> difference;
    for (const PageSumEntry& page : sums.pages) {
      if (!difference) difference = CompareOne(page.pgno, page.sum);
    }
    NoteProblem(info, difference ? difference : CompareRest(sums.header));
  }

  // Whether a file that ends here must hold what the table holds: only if a proof speaks of that.
  // (Snapshots by Litestream v0.5.0 may hold a little more than their name says. What follows mends
  // it.)
  bool MustAgree(const TxidRange& txids) const {
    return table_.txid() == txids.max && claims_.contains(txids.max);
  }
  bool StateIsProven() const {
    const auto claim = claims_.find(table_.txid());
    return claim != claims_.end() && claim->second.checksum == table_.checksum().value();
  }

  // A page that the table does not know proves nothing: the database never wrote it.
  std::optional<std::string> CompareOne(Pgno pgno, std::uint64_t sum) const {
    const std::uint64_t known = table_.SumOf(pgno);
    if (known == 0 || known == sum) return std::nullopt;
    return fmt::format("page {} is not as the other files leave it at transaction {}", pgno.value,
                       FormatTxid(table_.txid()));
  }
  std::optional<std::string> CompareRest(const LtxHeader& header) const {
    if (header.commit_pages == table_.page_count()) return CheckProofAfter(table_, header);
    return fmt::format("says {} pages, the other files leave {} at transaction {}",
                       header.commit_pages, table_.page_count(), FormatTxid(table_.txid()));
  }

  // Whether everything can be restored from what was read, and is proven.
  Result<void> CheckNewest(const ReplicaListing& listing) {
    if (listing.empty()) return {};
    // A moment behind all files: the plan then ends before a hole, and says where it is.
    const auto plan = PlanRestore(listing, {.txid = {}, .before = WallTime::max()});
    if (!plan.ok()) {
      report_.problems.push_back({NewestFile(listing), plan.error().message()});
      return {};
    }
    const auto& files = plan.value().files;
    for (const FileInfo& file : files) {
      if (!gone_.contains(file.id)) continue;
      return Error(ErrorCode::kNotFound,
                   fmt::format("ltx file {} was deleted while the replica was read; try again",
                               FileLabel(file.id)));
    }
    if (plan.value().next_behind_hole) {
      report_.problems.push_back(
          {files.back().id, fmt::format("non-contiguous ltx files: have up to {} but next file "
                                        "starts at {}",
                                        FormatTxid(files.back().id.txids.max),
                                        FormatTxid(*plan.value().next_behind_hole))});
      return {};
    }
    if (std::ranges::any_of(files, [&](const FileInfo& f) { return broken_.contains(f.id); })) {
      return {};
    }
    if (const auto missing = table_.FirstMissing()) {
      report_.problems.push_back(
          {files.back().id, fmt::format("page {} of {} is in none of the files", missing->value,
                                        table_.page_count())});
      return {};
    }
    report_.proven = table_.txid() == report_.newest && StateIsProven();
    return {};
  }

  static FileId NewestFile(const ReplicaListing& listing) {
    FileId newest;
    for (const auto& level : listing.levels) {
      for (const FileInfo& file : level) {
        if (file.id.txids.max > newest.txids.max) newest = file.id;
      }
    }
    return newest;
  }

  struct Claim {
    std::uint64_t checksum = 0;
    FileId file;
  };

  struct Deferred {
    FileInfo info;
    FileSums sums;
  };

  ReplicaClient& client_;
  const VerifyOptions& options_;
  const int threads_;
  std::uint64_t total_bytes_ = 0;
  VerifyReport report_;
  SumTable table_;
  std::map<Txid, Claim>
      claims_;  // Database checksums by transaction, and the first file to say so.
  std::vector<Deferred> deferred_;  // All ending at the same transaction.
  std::set<FileId> gone_;
  std::set<FileId> broken_;
};

}  // namespace

Result<VerifyReport> VerifyReplica(const Context& ctx, ReplicaClient& client,
                                   const VerifyOptions& options) {
  return ReplicaVerifier(client, options).Run(ctx);
}

}  // namespace litestream
