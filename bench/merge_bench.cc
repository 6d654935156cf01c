// Merging many small LTX files into one, as compaction does, beside reading and proving them alone.
#include <algorithm>
#include <filesystem>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/env.h"
#include "base/file_stream.h"
#include "base/test_dir.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/names.h"
#include "replica/merge.h"

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

void SetRate(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(SomeFiles().size_bytes()));
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  state.counters["peak_MB"] = static_cast<double>(usage.ru_maxrss) / 1024;
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

BENCHMARK(MergeFiles)->ArgName("window_MB")->Arg(2)->Arg(8)->Unit(benchmark::kMillisecond);
BENCHMARK(VerifyOnly)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace litestream
