#include "replica/merge.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include "base/try.h"
#include "format/crc64.h"
#include "format/ltx_decoder.h"
#include "format/names.h"
#include "replica/verify.h"
#include "storage/memory_client.h"
#include "tests/support/byte_streams.h"
#include "tests/support/instant_clock.h"
#include "tests/support/model_replica.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

using testing::Bytes;
using ::testing::HasSubstr;
using testing::InstantClock;
using testing::ModelReplica;
using testing::ModelState;
using testing::SpanSource;

TxidRange Range(std::uint64_t min, std::uint64_t max) {
  return {Txid{min}, Txid{max}};
}

// Bytes in memory as the inputs of merges, with faults.
class Files {
 public:
  struct Open {
    TxidRange txids;
    ByteRange range;
  };

  void Add(const TxidRange& txids, Bytes bytes) { files_.push_back({txids, std::move(bytes)}); }
  void Clear() { files_.clear(); }
  Bytes& bytes(std::size_t index) { return files_[index].bytes; }
  std::size_t size() const { return files_.size(); }

  std::vector<MergeInput> Inputs() {
    std::vector<MergeInput> inputs;
    for (const File& file : files_) {
      inputs.push_back({.name = FormatLtxFilename(file.txids),
                        .size_bytes = file.bytes.size(),
                        .txids = file.txids,
                        .open = [this, &file](const Context&, const ByteRange& range) {
                          return OpenRange(file, range);
                        }});
    }
    return inputs;
  }

  int fail_at_read = 0;  // The n-th read of all inputs together (from 1), once.
  int reads = 0;
  std::function<void()> on_read;
  std::vector<Open> opened;

 private:
  struct File {
    TxidRange txids;
    Bytes bytes;
  };

  // Gives at most 1000 bytes at a time.
  class Source : public ByteSource {
   public:
    Source(Files& owner, std::span<const std::byte> bytes) : owner_(owner), source_(bytes, 1000) {}
    Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
      if (owner_.on_read) owner_.on_read();
      if (++owner_.reads == owner_.fail_at_read) {
        return Error(ErrorCode::kUnavailable, "connection lost");
      }
      return source_.Read(ctx, out);
    }

   private:
    Files& owner_;
    SpanSource source_;
  };

  Result<std::unique_ptr<ByteSource>> OpenRange(const File& file, const ByteRange& range) {
    opened.push_back({file.txids, range});
    const auto bytes = std::span<const std::byte>(file.bytes);
    const auto offset = std::min<std::size_t>(range.offset_bytes, bytes.size());
    const auto length = std::min<std::size_t>(range.length_bytes, bytes.size() - offset);
    return std::make_unique<Source>(*this, bytes.subspan(offset, length));
  }

  std::vector<File> files_;
};

Result<Bytes> ReadAll(const Context& ctx, ByteSource& source, std::size_t piece = 70'000) {
  Bytes all;
  Bytes buffer(piece);
  for (;;) {
    const std::size_t n = LS_TRY(source.Read(ctx, buffer));
    if (n == 0) return all;
    all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
  }
}

class MergeTest : public ::testing::Test {
 protected:
  MergeTest() : ctx_(std::stop_token(), {}, clock_) {}

  Result<Bytes> Merge(const MergeOptions& options = {}) {
    const auto merge = LS_TRY(LtxMerge::Open(ctx_, files_.Inputs(), options));
    Bytes bytes = LS_TRY(ReadAll(ctx_, *merge));
    EXPECT_EQ(merge->size_bytes(), bytes.size());
    return bytes;
  }
  std::string MergeError(const MergeOptions& options = {}) {
    const auto merged = Merge(options);
    EXPECT_FALSE(merged.ok());
    if (merged.ok()) return "";
    EXPECT_EQ(merged.error().code(), ErrorCode::kCorruption);
    return merged.error().message();
  }
  void Add(const ModelReplica& model, std::uint64_t min, std::uint64_t max,
           const ModelReplica::FileOptions& options = {}) {
    files_.Add(Range(min, max), model.File(Range(min, max), options));
  }

  InstantClock clock_;
  Context ctx_;
  Files files_;
};

struct Decoded {
  LtxHeader header;
  std::map<std::uint32_t, Bytes> pages;
};

Result<Decoded> Decode(const Context& ctx, std::span<const std::byte> bytes) {
  SpanSource source(bytes);
  LtxDecoder decoder(source);
  Decoded decoded;
  decoded.header = LS_TRY(decoder.ReadHeader(ctx));
  while (const auto page = LS_TRY(decoder.ReadPage(ctx))) {
    decoded.pages[page->pgno.value] = Bytes(page->page.begin(), page->page.end());
  }
  LS_TRY(decoder.Finish(ctx));
  return decoded;
}

// The merged file of min..max leads from one state of the model to the other.
void ExpectLeads(const Context& ctx, const ModelReplica& model, const TxidRange& txids,
                 std::span<const std::byte> bytes, const std::optional<LtxProof>& proof) {
  const auto decoded = Decode(ctx, bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.error().message();
  const auto& [header, pages] = decoded.value();
  const ModelState& after = model.at(txids.max);
  EXPECT_EQ(header.txids, txids);
  EXPECT_EQ(header.commit_pages, after.pages.size());
  EXPECT_EQ(header.page_size, after.page_size);
  EXPECT_EQ(header.Timestamp(), ModelReplica::TimeOf(txids.max));
  EXPECT_EQ(header.Proof(), proof);
  EXPECT_EQ(header.flags, kLtxFlagNoChecksum);

  std::vector<Bytes> state = model.at(Txid{txids.min.value - 1}).pages;
  state.resize(after.pages.size());
  if (txids.min == Txid{1}) std::ranges::fill(state, Bytes());
  for (const auto& [pgno, page] : pages) {
    ASSERT_LE(pgno, state.size());
    state[pgno - 1] = page;
  }
  EXPECT_TRUE(state == after.pages);
}

// --- Against the model. ---

TEST_F(MergeTest, LeadsFromStateToState) {
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::uint32_t page_size = 512U << (seed % 8);
    ModelReplica model(seed, page_size);
    model.CommitRandomly(12, page_size > 8192 ? 12 : 60);
    auto& rng = model.rng();
    const std::uint64_t min = 1 + rng() % 12;
    const std::uint64_t max = min + rng() % (13 - min);
    const bool overlaps = seed % 4 == 0;
    files_.Clear();
    for (std::uint64_t next = min; next <= max;) {
      const std::uint64_t end = next + rng() % std::min<std::uint64_t>(3, max - next + 1);
      const std::uint64_t begin = overlaps && next > min ? next - rng() % 2 : next;
      Add(model, begin, end);
      next = end + 1;
    }
    MergeOptions options{.window_bytes = std::size_t{1} << (rng() % 24),
                         .threads = 1 + static_cast<int>(rng() % 3)};
    const auto merged = Merge(options);
    ASSERT_TRUE(merged.ok()) << merged.error().message();
    const LtxProof proof{.before = model.at(Txid{min - 1}).Checksum(),
                         .after = model.at(Txid{max}).Checksum()};
    ExpectLeads(ctx_, model, Range(min, max), merged.value(), proof);
    if (HasFailure()) return;
  }
}

// What is merged stands for its inputs: nothing differs but the level.
TEST_F(MergeTest, ReplicaOfMergedFilesIsProven) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ModelReplica model(seed, 1024);
    model.CommitRandomly(15, 40);
    MemoryStore store;
    const auto client = MakeMemoryClient(store);
    for (std::uint64_t next = 1; next <= 15;) {
      const std::uint64_t end = next + model.rng()() % (16 - next);
      files_.Clear();
      for (std::uint64_t t = next; t <= end; ++t) {
        Add(model, t, t);
        model.Put(*client, 0, t, t, {});
      }
      const auto merged = Merge();
      ASSERT_TRUE(merged.ok()) << merged.error().message();
      ModelReplica::PutBytes(*client, {Level{1}, Range(next, end)}, merged.value());
      next = end + 1;
    }
    const auto report = VerifyReplica(ctx_, *client, {});
    ASSERT_TRUE(report.ok());
    EXPECT_TRUE(report.value().proven);
    EXPECT_TRUE(report.value().problems.empty());
  }
}

TEST_F(MergeTest, MergingMergedFilesIsTheSameAsMergingAll) {
  ModelReplica model(5, 512);
  model.CommitRandomly(12, 80);
  for (std::uint64_t t = 3; t <= 12; ++t) Add(model, t, t);
  const auto at_once = Merge();
  ASSERT_TRUE(at_once.ok());
  const auto all = std::move(files_);
  std::vector<Bytes> parts;
  for (const auto& [min, max] : {std::pair(3, 6), std::pair(7, 7), std::pair(8, 12)}) {
    files_ = Files();
    for (int t = min; t <= max; ++t) {
      Add(model, static_cast<std::uint64_t>(t), static_cast<std::uint64_t>(t));
    }
    parts.push_back(Merge().value());
  }
  files_ = Files();
  files_.Add(Range(3, 6), parts[0]);
  files_.Add(Range(7, 7), parts[1]);
  files_.Add(Range(8, 12), parts[2]);
  EXPECT_TRUE(Merge().value() == at_once.value());
}

TEST_F(MergeTest, Snapshot) {
  ModelReplica model(9, 4096);
  model.CommitRandomly(8, 30);
  // From a file that holds every page, though it does not begin with transaction 1.
  Add(model, 5, 5, {.all_pages = true});
  for (std::uint64_t t = 6; t <= 8; ++t) Add(model, t, t);
  const auto merged = Merge({.as_snapshot = true});
  ASSERT_TRUE(merged.ok()) << merged.error().message();
  ExpectLeads(ctx_, model, Range(1, 8), merged.value(),
              LtxProof{.before = 0, .after = model.at(Txid{8}).Checksum()});
}

TEST_F(MergeTest, SnapshotNamesTheFirstMissingPage) {
  ModelReplica model(9, 512);
  model.Commit(20, 0);
  model.Commit(20, 3);
  Add(model, 2, 2, {.all_pages = true, .without = {1}});
  EXPECT_THAT(MergeError({.as_snapshot = true}), HasSubstr("page 1 of 20 is in none of the files"));
  files_.Clear();
  Add(model, 2, 2, {.all_pages = true, .without = {7, 9}});
  EXPECT_THAT(MergeError({.as_snapshot = true}), HasSubstr("page 7 of 20 is in none of the files"));
  files_.Clear();
  Add(model, 2, 2, {.all_pages = true, .without = {20}});
  EXPECT_THAT(MergeError({.as_snapshot = true}),
              HasSubstr("page 20 of 20 is in none of the files"));
}

// The lock page is in no file; with 64 KiB pages it comes early.
TEST_F(MergeTest, SnapshotSkipsTheLockPage) {
  constexpr std::uint32_t kPageSize = 65536;
  const Pgno lock_page = LockPage(kPageSize);
  const LtxHeader header{
      .page_size = kPageSize, .commit_pages = lock_page.value + 1, .txids = Range(4, 4)};
  testing::VectorSink sink;
  LtxEncoder encoder(sink);
  ASSERT_TRUE(encoder.Begin(header).ok());
  const Bytes page(kPageSize);
  Bytes block(MaxLz4BlockSize(kPageSize));
  block.resize(CompressPage(page, block));
  const Crc64Shift shift(kPageSize);
  const std::uint64_t crc = Crc64(0, page);
  for (Pgno pgno{1}; pgno.value <= header.commit_pages; pgno = Pgno{pgno.value + 1}) {
    if (pgno == lock_page) continue;
    ASSERT_TRUE(encoder.AddEncoded({pgno, shift.Combine(PgnoSum(pgno), crc), block}).ok());
  }
  ASSERT_TRUE(encoder.Finish(std::nullopt).ok());
  files_.Add(Range(4, 4), sink.Take());
  const auto merged = Merge({.as_snapshot = true});
  ASSERT_TRUE(merged.ok()) << merged.error().message();
  EXPECT_EQ(merged.value().size(), files_.bytes(0).size());
}

// merge.h: the windows, some 2 KiB for each input, and 2 to 3 bytes a page.
TEST_F(MergeTest, TheIndexIsNeverHeldWhole) {
  constexpr std::uint32_t kPages = 1'000'000;
  const LtxHeader header{.page_size = 512, .commit_pages = kPages, .txids = Range(1, 1)};
  testing::VectorSink sink;
  LtxEncoder encoder(sink);
  ASSERT_TRUE(encoder.Begin(header).ok());
  const Bytes page(512);
  Bytes block(MaxLz4BlockSize(512));
  block.resize(CompressPage(page, block));
  for (Pgno pgno{1}; pgno.value <= kPages; pgno = Pgno{pgno.value + 1}) {
    ASSERT_TRUE(encoder.AddEncoded({pgno, PageSum(pgno, page), block}).ok());
  }
  ASSERT_TRUE(encoder.Finish(std::nullopt).ok());
  files_.Add(Range(1, 1), sink.Take());
  const auto held = []() {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const std::size_t before = held();
  std::size_t most = 0;
  const auto merge = LtxMerge::Open(ctx_, files_.Inputs(), {.window_bytes = 1 << 20});
  ASSERT_TRUE(merge.ok());
  Bytes piece(4096);
  for (;;) {
    const auto got = merge.value()->Read(ctx_, piece);
    ASSERT_TRUE(got.ok());
    most = std::max(most, held() - before);
    if (got.value() == 0) break;
  }
  EXPECT_LT(most, (std::size_t{1} << 20) + 3 * kPages + (1 << 20));
}

// --- Proofs. ---

TEST_F(MergeTest, BrokenChainIsAnError) {
  ModelReplica model(3, 512);
  model.CommitRandomly(4, 20);
  ModelReplica other(4, 512);
  other.CommitRandomly(4, 20);
  Add(model, 1, 2);
  files_.Add(Range(3, 3), other.File(Range(3, 3), {}));
  EXPECT_THAT(MergeError(), HasSubstr("0000000000000003-0000000000000003.ltx: its proof says"));
}

TEST_F(MergeTest, UnprovenEndsGiveNoProof) {
  ModelReplica model(3, 512);
  model.CommitRandomly(5, 20);
  const std::uint64_t after = model.at(Txid{5}).Checksum();
  const std::uint64_t before = model.at(Txid{1}).Checksum();
  const struct {
    const char* why;
    bool first, middle, last;
    std::optional<LtxProof> want;
  } cases[] = {
      {"all", true, true, true, LtxProof{before, after}},
      {"after is absolute, whoever wrote the middle", true, false, true, LtxProof{before, after}},
      {"before is not known", false, true, true, std::nullopt},
      {"after is not known", true, true, false, std::nullopt},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    files_.Clear();
    Add(model, 2, 2, {.proof = c.first});
    Add(model, 3, 4, {.proof = c.middle});
    Add(model, 5, 5, {.proof = c.last});
    const auto merged = Merge();
    ASSERT_TRUE(merged.ok());
    ExpectLeads(ctx_, model, Range(2, 5), merged.value(), c.want);
  }
  // A snapshot builds on nothing, so only the last counts.
  files_.Clear();
  Add(model, 1, 4, {.proof = false});
  Add(model, 5, 5);
  ExpectLeads(ctx_, model, Range(1, 5), Merge().value(), LtxProof{.before = 0, .after = after});
}

// A full file that builds on nothing may follow anything; but then it must be full.
TEST_F(MergeTest, FullFileBeginsAChain) {
  ModelReplica model(3, 512);
  model.Commit(20, 0);
  model.Commit(20, 2);
  model.Commit(20, 2);
  const auto rewrite = [](Bytes file, const LtxProof& proof) {
    SpanSource source(file);
    LtxDecoder decoder(source);
    testing::VectorSink sink;
    LtxEncoder encoder(sink);
    const Context ctx = Context::Background();
    LtxHeader header = decoder.ReadHeader(ctx).value();
    header.SetProof(proof);
    EXPECT_TRUE(encoder.Begin(header).ok());
    for (auto page = decoder.ReadPage(ctx); page.value(); page = decoder.ReadPage(ctx)) {
      EXPECT_TRUE(encoder.AddPage(page.value()->pgno, page.value()->page).ok());
    }
    EXPECT_TRUE(encoder.Finish(std::nullopt).ok());
    return sink.Take();
  };
  const LtxProof nothing{.before = 0, .after = model.at(Txid{3}).Checksum()};
  Add(model, 2, 2);
  files_.Add(Range(3, 3), rewrite(model.File(Range(3, 3), {.all_pages = true}), nothing));
  const auto merged = Merge();
  ASSERT_TRUE(merged.ok()) << merged.error().message();
  files_.Clear();
  Add(model, 2, 2);
  files_.Add(Range(3, 3), rewrite(model.File(Range(3, 3), {}), nothing));
  EXPECT_THAT(MergeError(), HasSubstr("0000000000000003.ltx: its proof says that it builds on"));
}

// A snapshot is compared with what its last input says the database is.
TEST_F(MergeTest, SnapshotIsProven) {
  ModelReplica model(3, 512);
  model.Commit(20, 0);
  model.Commit(20, 2);
  const std::uint32_t changed = *model.at(Txid{2}).changed.begin();
  Add(model, 1, 1);
  Add(model, 2, 2, {.without = {changed}});
  EXPECT_THAT(MergeError(), HasSubstr("0000000000000002-0000000000000002.ltx: its proof says the "
                                      "database checksum is"));
}

// --- What does not fit. ---

TEST_F(MergeTest, WrongNeighbours) {
  ModelReplica model(3, 512);
  model.CommitRandomly(5, 20);
  Add(model, 2, 2);
  Add(model, 4, 4);
  EXPECT_THAT(MergeError(), HasSubstr("0000000000000004-0000000000000004.ltx: non-contiguous"));
  files_.Clear();
  Add(model, 1, 4);
  Add(model, 2, 4);
  EXPECT_THAT(MergeError(), HasSubstr("non-contiguous"));
  files_.Clear();
  Add(model, 2, 2);
  files_.Add(Range(3, 3), model.File(Range(4, 4), {}));
  EXPECT_THAT(MergeError(), HasSubstr("0000000000000003-0000000000000003.ltx: holds transactions"));
  files_.Clear();
  const auto merge = LtxMerge::Open(ctx_, {}, {});
  ASSERT_FALSE(merge.ok());
  EXPECT_EQ(merge.error().code(), ErrorCode::kInvalidArgument);
}

// A database that is cut and grows again must bring its pages along.
TEST_F(MergeTest, PagesBeyondACutAreNotTakenFromBefore) {
  ModelReplica model(3, 512);
  model.Commit(10, 0);
  model.Commit(10, 8);
  model.Commit(4, 0);
  model.Commit(9, 0);
  Add(model, 2, 2);
  Add(model, 3, 3);
  Add(model, 4, 4);
  ExpectLeads(ctx_, model, Range(2, 4), Merge().value(),
              LtxProof{model.at(Txid{1}).Checksum(), model.at(Txid{4}).Checksum()});
  files_.Clear();
  Add(model, 2, 2);
  Add(model, 3, 3);
  Add(model, 4, 4, {.without = {8}});
  EXPECT_THAT(MergeError(), HasSubstr("page 8 of 9 is in none of the files from "
                                      "0000000000000004-0000000000000004.ltx to "));
}

TEST_F(MergeTest, ShorterThanItWasSaidToBe) {
  ModelReplica model(3, 512);
  model.CommitRandomly(3, 20);
  Add(model, 1, 2);
  Add(model, 3, 3);
  auto inputs = files_.Inputs();
  inputs[1].size_bytes += 10;
  auto merge = LtxMerge::Open(ctx_, std::move(inputs), {});
  ASSERT_FALSE(merge.ok());
  EXPECT_THAT(merge.error().message(), HasSubstr("it was said to have"));
}

// --- Damage, failures, the end. ---

// Whatever byte is wrong, in whatever input, the result is an error or the right file.
TEST_F(MergeTest, DamagedByteAnywhere) {
  ModelReplica model(17, 512, 40);
  model.Commit(6, 0);
  model.Commit(9, 3);
  model.Commit(5, 2);
  for (std::uint64_t t = 1; t <= 3; ++t) Add(model, t, t);
  const auto right = Merge();
  ASSERT_TRUE(right.ok());
  const auto want = Decode(ctx_, right.value());
  for (std::size_t file = 0; file < files_.size(); ++file) {
    for (std::size_t i = 0; i < files_.bytes(file).size(); ++i) {
      for (const std::byte mask : {std::byte{1}, std::byte{0x80}}) {
        files_.bytes(file)[i] ^= mask;
        const auto merged = Merge();
        if (merged.ok()) {
          // A match in an LZ4 block may read the same bytes from elsewhere.
          const auto decoded = Decode(ctx_, merged.value());
          ASSERT_TRUE(decoded.ok());
          EXPECT_TRUE(decoded.value().header == want.value().header);
          EXPECT_TRUE(decoded.value().pages == want.value().pages) << file << " " << i;
        } else {
          EXPECT_EQ(merged.error().code(), ErrorCode::kCorruption);
          EXPECT_THAT(merged.error().message(), HasSubstr(".ltx"));
        }
        files_.bytes(file)[i] ^= mask;
      }
    }
  }
}

TEST_F(MergeTest, CutAnywhere) {
  ModelReplica model(17, 512, 40);
  model.Commit(6, 0);
  model.Commit(6, 3);
  Add(model, 1, 1);
  Add(model, 2, 2);
  const Bytes whole = files_.bytes(1);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    files_.bytes(1).resize(size);
    EXPECT_THAT(MergeError(), HasSubstr("0000000000000002-0000000000000002.ltx: "));
    files_.bytes(1) = whole;
  }
}

// The n-th read fails: an error, again and again, and never a whole file.
TEST_F(MergeTest, EveryReadMayFail) {
  ModelReplica model(21, 4096);
  model.CommitRandomly(6, 20);
  for (std::uint64_t t = 1; t <= 6; ++t) Add(model, t, t);
  const MergeOptions options{.window_bytes = 1};
  files_.reads = 0;
  ASSERT_TRUE(Merge(options).ok());
  const int reads = files_.reads;
  ASSERT_GT(reads, 20);
  for (int n = 1; n <= reads; ++n) {
    files_.reads = 0;
    files_.fail_at_read = n;
    auto merge = LtxMerge::Open(ctx_, files_.Inputs(), options);
    if (!merge.ok()) {
      EXPECT_EQ(merge.error().code(), ErrorCode::kUnavailable);
      continue;
    }
    for (int i = 0; i < 2; ++i) {
      const auto read = ReadAll(ctx_, *merge.value());
      ASSERT_FALSE(read.ok());
      EXPECT_EQ(read.error().code(), ErrorCode::kUnavailable);
      EXPECT_THAT(read.error().message(), HasSubstr(".ltx: "));
    }
  }
}

TEST_F(MergeTest, Cancellation) {
  ModelReplica model(21, 4096);
  model.CommitRandomly(6, 60);
  for (std::uint64_t t = 1; t <= 6; ++t) Add(model, t, t);
  files_.reads = 0;
  const MergeOptions options{.window_bytes = 1};
  ASSERT_TRUE(Merge(options).ok());
  const int reads = files_.reads;
  for (int n = 1; n <= reads; n += 7) {
    std::stop_source stop;
    const Context ctx(stop.get_token(), {}, clock_);
    files_.reads = 0;
    files_.on_read = [&] {
      if (files_.reads + 1 == n) stop.request_stop();
    };
    auto merge = LtxMerge::Open(ctx, files_.Inputs(), options);
    const auto read = merge.ok() ? ReadAll(ctx, *merge.value()) : Result<Bytes>(merge.error());
    files_.on_read = nullptr;
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().code(), ErrorCode::kCancelled);
  }
}

TEST_F(MergeTest, AnyPieceGivesTheSame) {
  ModelReplica model(2, 2048);
  model.CommitRandomly(5, 300);
  for (std::uint64_t t = 1; t <= 5; ++t) Add(model, t, t);
  const auto want = Merge();
  for (const std::size_t piece : {std::size_t{1}, std::size_t{777}, std::size_t{1} << 20}) {
    auto merge = LtxMerge::Open(ctx_, files_.Inputs(), {});
    EXPECT_TRUE(ReadAll(ctx_, *merge.value(), piece).value() == want.value());
  }
}

TEST_F(MergeTest, FilesOnDiskAndInReplicas) {
  ModelReplica model(2, 2048);
  model.CommitRandomly(3, 30);
  TempDir dir;
  MemoryStore store;
  const auto client = MakeMemoryClient(store);
  model.Put(*client, 1, 1, 2, {});
  const auto path = dir.path() / "local.ltx";
  const Bytes bytes = model.File(Range(3, 3), {});
  auto file = Env::Real().Open(path, {.write = true, .create = true, .owner = {}});
  ASSERT_TRUE(file.value()->WriteAt(bytes, 0).ok());
  std::vector<MergeInput> inputs;
  inputs.push_back(MergeInputFrom(*client, client->List(ctx_, Level{1}, {}).value()[0]));
  inputs.push_back(MergeInputFrom(Env::Real(), path, Range(3, 3)).value());
  auto merge = LtxMerge::Open(ctx_, std::move(inputs), {});
  ASSERT_TRUE(merge.ok()) << merge.error().message();
  ExpectLeads(ctx_, model, Range(1, 3), ReadAll(ctx_, *merge.value()).value(),
              LtxProof{.before = 0, .after = model.at(Txid{3}).Checksum()});
  // The name in the message says where it lies.
  ASSERT_TRUE(file.value()->WriteAt(std::span(bytes).first(1), 500).ok());
  inputs.clear();
  inputs.push_back(MergeInputFrom(Env::Real(), path, Range(3, 3)).value());
  merge = LtxMerge::Open(ctx_, std::move(inputs), {});
  EXPECT_THAT(ReadAll(ctx_, *merge.value()).error().message(), HasSubstr(path.string()));
}

// --- Windows. ---

TEST(ShareWindows, BySquareRootOfWhatIsLeft) {
  // 4:1 in size is 2:1 in windows.
  EXPECT_THAT(ShareWindows({4 << 20, 1 << 20}, 3 << 10, 1),
              ::testing::ElementsAre(2 << 10, 1 << 10));
  // Small ones are read at once, and leave the rest to the others.
  EXPECT_THAT(ShareWindows({1 << 20, 100, 1 << 20}, 100 + (2 << 10), 100),
              ::testing::ElementsAre(1 << 10, 100, 1 << 10));
  EXPECT_THAT(ShareWindows({1000, 1000}, 1 << 20, 1), ::testing::ElementsAre(1000, 1000));
  EXPECT_THAT(ShareWindows({1000, 1000}, 0, 77), ::testing::ElementsAre(77, 77));
  EXPECT_THAT(ShareWindows({0, 1000}, 100, 10), ::testing::ElementsAre(10, 90));
  EXPECT_THAT(ShareWindows({}, 100, 10), ::testing::ElementsAre());
}

// However large and many the inputs, the windows stay within what was allowed.
TEST_F(MergeTest, WindowsAreBounded) {
  ModelReplica model(2, 4096);
  model.Commit(1000, 0);
  for (int i = 0; i < 60; ++i) model.Commit(1000, 40);
  Add(model, 1, 1);
  for (std::uint64_t t = 2; t <= 61; ++t) Add(model, t, t);
  constexpr std::size_t kWindows = std::size_t{1} << 20;
  ASSERT_TRUE(Merge({.window_bytes = kWindows}).ok());
  std::map<TxidRange, std::uint64_t> largest;
  for (const auto& open : files_.opened) {
    largest[open.txids] = std::max(largest[open.txids], open.range.length_bytes);
  }
  std::uint64_t sum = 0;
  for (const auto& [txids, bytes] : largest) sum += bytes;
  // Who ends later has the memory of who ended earlier, so the sum may be a little more.
  EXPECT_LT(sum, 2 * kWindows);
  EXPECT_LT(files_.opened.size(), 400U);
}

}  // namespace
}  // namespace litestream
