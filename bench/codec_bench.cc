// How fast pages become LTX files and back, in bytes of pages per second, beside what the parts
// cost alone: memcpy, CRC-64, LZ4.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>
#include <lz4.h>

#include "base/endian.h"
#include "format/crc64.h"
#include "format/ltx_decoder.h"
#include "format/ltx_encoder.h"
#include "format/page_sum.h"
#include "tests/support/byte_streams.h"

namespace litestream {
namespace {

constexpr std::size_t kDatabaseSize = std::size_t{32} << 20;

// Pages that look like leaves of a table: rows of text that repeats and of noise, a bit more noise
// than text, so that they compress to about 0.6.
std::vector<std::byte> MakePages(std::size_t page_size) {
  const std::string_view text =
      "the second copy of somebody's data, written while nobody looked, read when all else is "
      "lost ";
  std::mt19937_64 random(7);
  std::vector<std::byte> pages(kDatabaseSize);
  std::uint32_t row = 1;
  for (std::size_t begin = 0; begin < pages.size(); begin += page_size) {
    std::byte* const page = pages.data() + begin;
    std::size_t content = page_size;
    std::size_t cells = 0;
    while (content > 8 + 2 * cells + 250) {
      std::string cell(12, '\0');
      StoreBe32(reinterpret_cast<std::byte*>(cell.data() + 2), row++);
      cell.append(text);
      for (int i = 0; i < 120; ++i) cell += static_cast<char>(random());
      content -= cell.size();
      std::memcpy(page + content, cell.data(), cell.size());
      StoreBe16(page + 8 + 2 * cells++, static_cast<std::uint16_t>(content));
    }
    page[0] = std::byte{0x0d};
    StoreBe16(page + 3, static_cast<std::uint16_t>(cells));
    StoreBe16(page + 5, static_cast<std::uint16_t>(content));
  }
  return pages;
}

void SetRate(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(kDatabaseSize));
}

// Calls `use(pgno, page)` for all pages.
template <typename Use>
void ForPages(std::span<const std::byte> pages, std::size_t page_size, Use&& use) {
  std::uint32_t pgno = 1;
  for (std::size_t begin = 0; begin < pages.size(); begin += page_size) {
    use(Pgno{pgno++}, pages.subspan(begin, page_size));
  }
}

void Memcpy(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  const auto pages = MakePages(page_size);
  std::vector<std::byte> copy(page_size);
  for (auto _ : state) {
    ForPages(pages, page_size, [&](Pgno, std::span<const std::byte> page) {
      std::memcpy(copy.data(), page.data(), page.size());
      benchmark::DoNotOptimize(copy.data());
      benchmark::ClobberMemory();
    });
  }
  SetRate(state);
}

template <std::uint64_t (*Crc)(std::uint64_t, std::span<const std::byte>)>
void Crc64Pages(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  const auto pages = MakePages(page_size);
  for (auto _ : state) {
    ForPages(pages, page_size, [&](Pgno, std::span<const std::byte> page) {
      benchmark::DoNotOptimize(Crc(0, page));
    });
  }
  SetRate(state);
}

// In the processor's cache, where a page is when LZ4 has just made it.
template <std::uint64_t (*Crc)(std::uint64_t, std::span<const std::byte>)>
void Crc64Cached(benchmark::State& state) {
  const std::vector<std::byte> page(static_cast<std::size_t>(state.range(0)), std::byte{7});
  for (auto _ : state) benchmark::DoNotOptimize(Crc(0, page));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

std::vector<std::vector<std::byte>> CompressAll(std::span<const std::byte> pages,
                                                std::size_t page_size) {
  std::vector<std::vector<std::byte>> blocks;
  std::vector<std::byte> block(MaxLz4BlockSize(static_cast<std::uint32_t>(page_size)));
  ForPages(pages, page_size, [&](Pgno, std::span<const std::byte> page) {
    const std::size_t size = CompressPage(page, block);
    blocks.emplace_back(block.begin(), block.begin() + static_cast<std::ptrdiff_t>(size));
  });
  return blocks;
}

void Lz4Compress(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  const auto pages = MakePages(page_size);
  std::vector<char> block(MaxLz4BlockSize(static_cast<std::uint32_t>(page_size)));
  std::size_t size = 0;
  for (auto _ : state) {
    size = 0;
    ForPages(pages, page_size, [&](Pgno, std::span<const std::byte> page) {
      size += static_cast<std::size_t>(
          LZ4_compress_default(reinterpret_cast<const char*>(page.data()), block.data(),
                               static_cast<int>(page.size()), static_cast<int>(block.size())));
    });
  }
  state.counters["ratio"] = static_cast<double>(size) / static_cast<double>(kDatabaseSize);
  SetRate(state);
}

void Lz4Decompress(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  const auto blocks = CompressAll(MakePages(page_size), page_size);
  std::vector<char> page(page_size);
  for (auto _ : state) {
    for (const auto& block : blocks) {
      benchmark::DoNotOptimize(LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()),
                                                   page.data(), static_cast<int>(block.size()),
                                                   static_cast<int>(page.size())));
    }
  }
  SetRate(state);
}

LtxHeader SnapshotHeader(std::size_t page_size) {
  return {.page_size = static_cast<std::uint32_t>(page_size),
          .commit_pages = static_cast<std::uint32_t>(kDatabaseSize / page_size),
          .txids = {Txid{1}, Txid{1}}};
}

class NullSink final : public ByteSink {
 public:
  Result<void> Write(std::span<const std::byte> bytes) override {
    benchmark::DoNotOptimize(bytes.data());
    return {};
  }
};

void EncodeTo(benchmark::State& state, ByteSink& sink, std::span<const std::byte> pages,
              std::size_t page_size) {
  LtxEncoder encoder(sink);
  bool ok = encoder.Begin(SnapshotHeader(page_size)).ok();
  ForPages(pages, page_size, [&](Pgno pgno, std::span<const std::byte> page) {
    ok = ok && encoder.AddPage(pgno, page).ok();
  });
  if (!ok || !encoder.Finish(std::nullopt).ok()) state.SkipWithError("encode failed");
}

void Encode(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  const auto pages = MakePages(page_size);
  NullSink sink;
  for (auto _ : state) EncodeTo(state, sink, pages, page_size);
  SetRate(state);
}

void EncodeCompressed(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  const auto blocks = CompressAll(MakePages(page_size), page_size);
  NullSink sink;
  for (auto _ : state) {
    LtxEncoder encoder(sink);
    bool ok = encoder.Begin(SnapshotHeader(page_size)).ok();
    std::uint32_t pgno = 1;
    for (const auto& block : blocks) {
      ok = ok && encoder.AddEncoded({.pgno = Pgno{pgno++}, .page_sum = 1, .block = block}).ok();
    }
    if (!ok || !encoder.Finish(std::nullopt).ok()) state.SkipWithError("encode failed");
  }
  SetRate(state);
}

void Decode(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  testing::VectorSink file;
  EncodeTo(state, file, MakePages(page_size), page_size);
  for (auto _ : state) {
    testing::SpanSource source(file.bytes());
    if (!VerifyLtx(Context::Background(), source).ok()) state.SkipWithError("decode failed");
  }
  SetRate(state);
}

// Page by page with the index: expand and sum.
void DecodeAtRandom(benchmark::State& state) {
  const auto page_size = static_cast<std::size_t>(state.range(0));
  testing::VectorSink file;
  EncodeTo(state, file, MakePages(page_size), page_size);
  const std::span<const std::byte> bytes = file.bytes();
  const auto tail = ParseLtxTail(bytes, bytes.size());
  std::vector<std::byte> page(page_size);
  bool ok = tail.ok();
  for (auto _ : state) {
    LtxIndexReader reader(tail.value().index_offset, tail.value().index_bytes);
    std::vector<LtxIndexEntry> entries;
    ok = ok &&
         reader.Feed(bytes.subspan(tail.value().index_offset, tail.value().index_bytes), entries)
             .ok();
    for (const auto& entry : entries) {
      const auto frame = ParseLtxFrame(bytes.subspan(entry.offset_bytes, entry.size_bytes),
                                       static_cast<std::uint32_t>(page_size));
      ok = ok && frame.ok() && DecodeLtxFrame(frame.value(), page).ok();
      benchmark::DoNotOptimize(PageSum(entry.pgno, page));
    }
  }
  if (!ok) state.SkipWithError("decode failed");
  SetRate(state);
}

void PageSizes(benchmark::internal::Benchmark* bench) {
  bench->Arg(512)->Arg(4096)->Arg(65536);
}

BENCHMARK(Memcpy)->Apply(PageSizes);
BENCHMARK(Crc64Cached<Crc64Portable>)->Apply(PageSizes);
BENCHMARK(Crc64Cached<Crc64Clmul>)->Apply(PageSizes);
BENCHMARK(Crc64Pages<Crc64Portable>)->Apply(PageSizes);
BENCHMARK(Crc64Pages<Crc64Clmul>)->Apply(PageSizes);
BENCHMARK(Lz4Compress)->Apply(PageSizes);
BENCHMARK(Encode)->Apply(PageSizes);
BENCHMARK(EncodeCompressed)->Apply(PageSizes);
BENCHMARK(Lz4Decompress)->Apply(PageSizes);
BENCHMARK(Decode)->Apply(PageSizes);
BENCHMARK(DecodeAtRandom)->Apply(PageSizes);

}  // namespace
}  // namespace litestream
