// Merging many small LTX files into one, as compaction does, beside reading and proving them alone;
// and what a large database costs the levels: its first file, and a new snapshot. The counter
// peak_MB is that of the process: run one benchmark at a time.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/file/file_client.h"
#include "base/endian.h"
#include "base/env.h"
#include "base/file_stream.h"
#include "base/test_dir.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/names.h"
#include "format/page_sum.h"
#include "replica/compactor.h"
#include "replica/merge.h"
#include "storage/layout.h"

namespace litestream {
namespace {

constexpr std::uint32_t kPageSize = 4096;
constexpr std::uint64_t kFiles = 600;
constexpr std::uint32_t kPagesPerFile = 50;
constexpr std::uint32_t kDatabasePages = 40'000;

// Files of one transaction each, with pages of which a bit more than half is noise.
class Files {
 public:
  Files() {
    std::mt19937_64 random(7);
    std::vector<std::byte> page(kPageSize);
    for (std::uint64_t n = 1; n <= kFiles; ++n) {
      std::vector<std::uint32_t> pages(kPagesPerFile);
      for (auto& pgno : pages) pgno = 1 + static_cast<std::uint32_t>(random() % kDatabasePages);
      std::ranges::sort(pages);
      pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
      const TxidRange txids{Txid{n + 1}, Txid{n + 1}};
      const auto path = dir_.path() / FormatLtxFilename(txids);
      auto file = Env::Real().Open(path, {.write = true, .create = true, .owner = {}}).value();
      FileSink sink(*file);
      LtxEncoder encoder(sink);
      (void)encoder.Begin({.page_size = kPageSize, .commit_pages = kDatabasePages, .txids = txids})
          .ok();
      for (const std::uint32_t pgno : pages) {
        for (std::size_t i = 0; i < kPageSize * 58 / 100; ++i) {
          page[i] = static_cast<std::byte>(random());
        }
        (void)encoder.AddPage(Pgno{pgno}, page).ok();
      }
      (void)encoder.Finish(std::nullopt).ok();
      (void)sink.Flush().ok();
      size_bytes_ += encoder.size_bytes();
      txids_.push_back(txids);
    }
  }

  std::vector<MergeInput> Inputs() const {
    std::vector<MergeInput> inputs;
    for (const TxidRange& txids : txids_) {
      inputs.push_back(
          MergeInputFrom(Env::Real(), dir_.path() / FormatLtxFilename(txids), txids).value());
    }
    return inputs;
  }
  std::filesystem::path path(std::size_t i) const {
    return dir_.path() / FormatLtxFilename(txids_[i]);
  }
  std::size_t count() const { return txids_.size(); }
  std::uint64_t size_bytes() const { return size_bytes_; }

 private:
  TestDir dir_;
  std::vector<TxidRange> txids_;
  std::uint64_t size_bytes_ = 0;
};

const Files& SomeFiles() {
  static const Files files;
  return files;
}

void SetPeak(benchmark::State& state) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  state.counters["peak_MB"] = static_cast<double>(usage.ru_maxrss) / 1024;
}

void SetRate(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(SomeFiles().size_bytes()));
  SetPeak(state);
}

// What proving the inputs costs, without making anything of them.
void VerifyOnly(benchmark::State& state) {
  const Context ctx = Context::Background();
  for (auto _ : state) {
    for (std::size_t i = 0; i < SomeFiles().count(); ++i) {
      const auto source = MakeFileSource(Env::Real().Open(SomeFiles().path(i), {}).value());
      benchmark::DoNotOptimize(VerifyLtx(ctx, *source).ok());
    }
  }
  SetRate(state);
}

void MergeFiles(benchmark::State& state) {
  const Context ctx = Context::Background();
  std::vector<std::byte> buffer(std::size_t{256} << 10);
  TestDir out;
  SomeFiles();  // Not made while the clock runs.
  for (auto _ : state) {
    auto merge = LtxMerge::Open(ctx, SomeFiles().Inputs(),
                                {.window_bytes = static_cast<std::size_t>(state.range(0)) << 20});
    auto file = Env::Real()
                    .Open(out.path() / "merged",
                          {.write = true, .create = true, .truncate = true, .owner = {}})
                    .value();
    for (std::uint64_t offset = 0;;) {
      const auto n = merge.value()->Read(ctx, buffer);
      if (!n.ok()) {
        state.SkipWithError(n.error().message().c_str());
        return;
      }
      if (n.value() == 0) break;
      (void)file->WriteAt(std::span(buffer).first(n.value()), offset).ok();
      offset += n.value();
    }
  }
  SetRate(state);
}

// A replica in a directory: the first file of a database of so many MiB, and 20 increments of 1000
// pages.
class LargeReplica {
 public:
  explicit LargeReplica(std::int64_t mebibytes)
      : pages_(static_cast<std::uint32_t>((mebibytes << 20) / kPageSize)),
        client_(MakeFileClient(Env::Real(), {.root = dir_.path(), .owner = {}})) {
    for (std::uint64_t n = 1; n <= 21; ++n) Add(Txid{n}, n == 1 ? 1 : pages_ / 1000);
  }

  // Forgets what was made before.
  Catalogue Reset() {
    for (const Level level : {Level{1}, Level{2}, kSnapshotLevel}) {
      const auto path = dir_.path() / LevelPrefix(ReplicaLayout::kLtxDecimal, level);
      (void)Env::Real().RemoveTree(path).ok();
    }
    return Catalogue::FromListing(ListReplica(Context::Background(), *client_, true).value());
  }
  ReplicaClient& client() { return *client_; }

 private:
  // Every `step`th page.
  void Add(Txid txid, std::uint32_t step) {
    const FileId id{kLevel0, {txid, txid}};
    const auto path = dir_.path() / RelativePath(ReplicaLayout::kLtxDecimal, id);
    (void)CreateDirectories(Env::Real(), path.parent_path(), {.mode = 0700}).ok();
    auto file = Env::Real().Open(path, {.write = true, .create = true, .owner = {}}).value();
    FileSink sink(*file);
    LtxEncoder encoder(sink);
    (void)encoder.Begin({.page_size = kPageSize, .commit_pages = pages_, .txids = id.txids}).ok();
    std::vector<std::byte> page(kPageSize);
    for (std::uint32_t pgno = 1; pgno <= pages_; pgno += std::max(step, 1U)) {
      if (Pgno{pgno} == LockPage(kPageSize)) continue;
      for (std::size_t i = 0; i < kPageSize * 58 / 100; i += 8) StoreBe64(&page[i], random_());
      (void)encoder.AddPage(Pgno{pgno}, page).ok();
    }
    (void)encoder.Finish(std::nullopt).ok();
    (void)sink.Flush().ok();
  }

  TestDir dir_;
  std::uint32_t pages_;
  std::mt19937_64 random_{7};
  std::unique_ptr<ReplicaClient> client_;
};

LargeReplica& SomeReplica(std::int64_t mebibytes) {
  static LargeReplica replica(mebibytes);
  return replica;
}

bool Wrote(benchmark::State& state, const Result<CompactionStep>& step) {
  if (step.ok() && step.value().outcome == CompactionStep::Outcome::kWritten) return true;
  state.SkipWithError(step.ok() ? "nothing was written" : step.error().message().c_str());
  return false;
}

// Levels 1 and 2: the first file is promoted, once, and the increments are merged behind it.
void CompactLargeDatabase(benchmark::State& state) {
  const Context ctx = Context::Background();
  LargeReplica& replica = SomeReplica(state.range(0));
  for (auto _ : state) {
    Catalogue catalogue = replica.Reset();
    Compactor compactor({.client = replica.client(), .catalogue = catalogue});
    for (const Level level : {Level{1}, Level{1}, Level{2}}) {
      if (!Wrote(state, compactor.CompactLevel(ctx, level))) return;
    }
  }
  SetPeak(state);
}

// A snapshot from the last one (here: the first file) and 20 increments.
void SnapshotOfLargeDatabase(benchmark::State& state) {
  const Context ctx = Context::Background();
  LargeReplica& replica = SomeReplica(state.range(0));
  for (auto _ : state) {
    Catalogue catalogue = replica.Reset();
    Compactor compactor({.client = replica.client(), .catalogue = catalogue});
    if (!Wrote(state, compactor.CompactSnapshot(ctx, ~std::uint64_t{0}))) return;
  }
  SetPeak(state);
}

BENCHMARK(CompactLargeDatabase)->ArgName("MiB")->Arg(512)->Unit(benchmark::kMillisecond);
BENCHMARK(SnapshotOfLargeDatabase)->ArgName("MiB")->Arg(512)->Unit(benchmark::kMillisecond);
BENCHMARK(MergeFiles)->ArgName("window_MB")->Arg(2)->Arg(8)->Unit(benchmark::kMillisecond);
BENCHMARK(VerifyOnly)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace litestream
