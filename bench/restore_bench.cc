// How fast a database comes back from a replica in a directory, beside `cp` plus fsync of the
// result on the same disk. The replica is made once for each size, of 4 KiB pages with rows half of
// which are random (LZ4 makes about 0.6 of them).
//
// Environment: LITESTREAM_BENCH_MIB (default 256) is the size of the database; TMPDIR says where.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include "backend/file/file_client.h"
#include "base/env.h"
#include "base/file_stream.h"
#include "base/test_dir.h"
#include "format/ltx_encoder.h"
#include "format/page_sum.h"
#include "replica/restore.h"
#include "replica/verify.h"
#include "storage/layout.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kPageSize = 4096;
constexpr int kIncrements = 200;
constexpr std::uint32_t kPagesPerIncrement = 250;

// Ends the program: there is nothing to measure.
template <typename T>
T Must(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::exit(1);
}
void Must(const Result<void>& result) {
  if (result.ok()) return;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  std::exit(1);
}

std::uint32_t PageCount() {
  const char* mib = std::getenv("LITESTREAM_BENCH_MIB");
  return static_cast<std::uint32_t>((mib != nullptr ? std::atol(mib) : 256) * 256);
}

// Rows of a little text and as many random bytes.
void FillPage(std::mt19937_64& rng, std::uint32_t pgno, std::vector<std::byte>& page) {
  constexpr std::size_t kRow = 128;
  static const std::string text = "  name=somebody, city=somewhere, state=active, balance=000000  ";
  for (std::size_t row = 0; row < page.size(); row += kRow) {
    std::memcpy(page.data() + row, text.data(), kRow / 2);
    std::memcpy(page.data() + row, &pgno, sizeof pgno);
    for (std::size_t i = kRow / 2; i < kRow; i += sizeof(std::uint64_t)) {
      const std::uint64_t random = rng();
      std::memcpy(page.data() + row + i, &random, sizeof random);
    }
  }
}

// A replica of one snapshot and some increments with proofs, or without.
class BenchReplica {
 public:
  explicit BenchReplica(bool proof) : proof_(proof) {
    sums_.resize(PageCount());
    std::vector<Pgno> pages(PageCount());
    for (std::uint32_t i = 0; i < pages.size(); ++i) pages[i] = Pgno{i + 1};
    Put({kSnapshotLevel, {Txid{1}, Txid{1}}}, pages);
    for (std::uint64_t txid = 2; txid <= kIncrements + 1; ++txid) {
      std::set<Pgno> changed;
      for (std::uint32_t i = 0; i < kPagesPerIncrement; ++i) {
        changed.insert(Pgno{static_cast<std::uint32_t>(1 + rng_() % PageCount())});
      }
      Put({kLevel0, {Txid{txid}, Txid{txid}}}, {changed.begin(), changed.end()});
    }
    client_ = MakeFileClient(Env::Real(), {.root = root(), .owner = {}});
  }

  ReplicaClient& client() { return *client_; }
  fs::path output() const { return dir_.path() / "out.db"; }
  fs::path copy() const { return dir_.path() / "copy.db"; }
  RestorePlan Plan(bool increments) {
    const auto listing = Must(ListReplica(Context::Background(), *client_, false));
    RestoreTarget target;
    if (!increments) target.txid = Txid{1};
    return Must(PlanRestore(listing, target));
  }

 private:
  fs::path root() const { return dir_.path() / "replica"; }

  void Put(const FileId& id, const std::vector<Pgno>& pages) {
    const fs::path path = root() / RelativePath(ReplicaLayout::kLtxDecimal, id);
    Must(CreateDirectories(Env::Real(), path.parent_path(), {.mode = 0700, .uid = {}, .gid = {}}));
    OpenOptions options;
    options.write = true;
    options.create = true;
    const auto file = Must(Env::Real().Open(path, options));
    FileSink sink(*file);
    LtxEncoder encoder(sink);
    const LtxProof before{.before = checksum_.value(), .after = 0};
    Must(encoder.Begin({.page_size = kPageSize, .commit_pages = PageCount(), .txids = id.txids}));
    std::vector<std::byte> page(kPageSize);
    for (const Pgno pgno : pages) {
      if (pgno == LockPage(kPageSize)) continue;
      FillPage(rng_, pgno.value, page);
      const std::uint64_t sum = Must(encoder.AddPage(pgno, page));
      checksum_.Replace(sums_[pgno.value - 1], sum);
      sums_[pgno.value - 1] = sum;
    }
    std::optional<LtxProof> proof;
    if (proof_) proof = LtxProof{.before = before.before, .after = checksum_.value()};
    Must(encoder.Finish(proof));
    Must(sink.Flush());
    if (proof) Must(file->WriteAt(ProofBytes(*proof), kLtxProofOffset));
  }

  const bool proof_;
  TestDir dir_;
  std::mt19937_64 rng_{7};
  std::vector<std::uint64_t> sums_;
  DatabaseChecksum checksum_;
  std::unique_ptr<ReplicaClient> client_;
};

BenchReplica& Replica(bool proof) {
  static std::unique_ptr<BenchReplica> replica;
  static bool made_with = false;
  if (replica == nullptr || made_with != proof) {
    replica.reset();
    replica = std::make_unique<BenchReplica>(proof);
    made_with = proof;
  }
  return *replica;
}

double CpuSeconds() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void SetCounters(benchmark::State& state, double cpu_seconds) {
  const double bytes = static_cast<double>(state.iterations()) * PageCount() * kPageSize;
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
  state.counters["cpu_s_per_GiB"] = cpu_seconds / (bytes / (1 << 30));
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  state.counters["peak_MiB"] = static_cast<double>(usage.ru_maxrss) / 1024;
}

void BM_Restore(benchmark::State& state, bool proof, bool increments) {
  BenchReplica& replica = Replica(proof);
  const RestorePlan plan = replica.Plan(increments);
  RestoreOptions options;
  options.output = replica.output();
  double cpu = 0;
  for (auto _ : state) {
    const double before = CpuSeconds();
    const auto report =
        Must(Restore(Context::Background(), Env::Real(), replica.client(), plan, options));
    benchmark::DoNotOptimize(report);
    cpu += CpuSeconds() - before;
    state.PauseTiming();
    fs::rename(replica.output(), replica.copy());
    state.ResumeTiming();
  }
  SetCounters(state, cpu);
}
BENCHMARK_CAPTURE(BM_Restore, proven_snapshot, true, false)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_Restore, proven_200_increments, true, true)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

// What a restore has to beat nearly: reading the result and writing it.
void BM_CopyAndSync(benchmark::State& state) {
  BenchReplica& replica = Replica(true);
  constexpr std::size_t kBlock = 128 << 10;
  std::vector<std::byte> block(kBlock);
  OpenOptions options;
  options.write = true;
  options.create = true;
  double cpu = 0;
  for (auto _ : state) {
    const double before = CpuSeconds();
    const auto from = Must(Env::Real().Open(replica.copy(), {}));
    const auto to = Must(Env::Real().Open(replica.output(), options));
    for (std::uint64_t at = 0;;) {
      const std::size_t n = Must(from->ReadAt(block, at));
      if (n == 0) break;
      Must(to->WriteAt(std::span(block).first(n), at));
      at += n;
    }
    Must(to->Sync());
    cpu += CpuSeconds() - before;
    state.PauseTiming();
    fs::remove(replica.output());
    state.ResumeTiming();
  }
  SetCounters(state, cpu);
}
BENCHMARK(BM_CopyAndSync)->Unit(benchmark::kMillisecond)->UseRealTime();

void BM_Verify(benchmark::State& state) {
  BenchReplica& replica = Replica(true);
  double cpu = 0;
  for (auto _ : state) {
    const double before = CpuSeconds();
    const auto report = Must(VerifyReplica(Context::Background(), replica.client(), {}));
    if (!report.proven) state.SkipWithError("not proven");
    cpu += CpuSeconds() - before;
  }
  SetCounters(state, cpu);
}
BENCHMARK(BM_Verify)->Unit(benchmark::kMillisecond)->UseRealTime();

BENCHMARK_CAPTURE(BM_Restore, stock_snapshot, false, false)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_Restore, stock_200_increments, false, true)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace litestream
