#include "replica/compactor.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "replica/planned_file.h"
#include "replica/verify.h"
#include "storage/memory_client.h"
#include "tests/support/byte_streams.h"
#include "tests/support/instant_clock.h"
#include "tests/support/model_replica.h"

namespace litestream {
namespace {

using Outcome = CompactionStep::Outcome;
using testing::Bytes;
using ::testing::HasSubstr;
using testing::InstantClock;
using testing::ModelReplica;
using testing::SpanSource;

FileId Id(int level, std::uint64_t min, std::uint64_t max) {
  return {Level{static_cast<std::uint8_t>(level)}, {Txid{min}, Txid{max}}};
}

class CompactorTest : public ::testing::Test {
 protected:
  CompactorTest() : client_(MakeMemoryClient(store_)) {}

  // A level-0 file, which the catalogue learns of.
  void Put(std::uint64_t min, std::uint64_t max, const ModelReplica::FileOptions& options = {}) {
    PutBytes(Id(0, min, max), model_->File({Txid{min}, Txid{max}}, options));
  }
  void Put(std::uint64_t txid) { Put(txid, txid); }
  void PutBytes(const FileId& id, const Bytes& bytes) {
    ModelReplica::PutBytes(*client_, id, bytes);
    catalogue_.Add(
        {.id = id, .size_bytes = bytes.size(), .created_at = ModelReplica::TimeOf(id.txids.max)});
  }
  void UseModel(std::uint64_t seed, int commits, std::uint32_t page_size = 512) {
    model_ = std::make_unique<ModelReplica>(seed, page_size);
    model_->CommitRandomly(commits, 40);
  }
  // Like UseModel, with all its files at level 0.
  void PutAll(std::uint64_t seed, std::uint64_t commits) {
    UseModel(seed, static_cast<int>(commits));
    for (std::uint64_t n = 1; n <= commits; ++n) Put(n);
  }

  CompactionTarget Target() {
    return {.client = *client_,
            .catalogue = catalogue_,
            .local = local_,
            .before_write = before_write_,
            .bounds = bounds_};
  }
  Result<CompactionStep> TryStep(int level) {
    if (!remembers_) compactor_.reset();
    if (!compactor_) compactor_ = std::make_unique<Compactor>(Target());
    return compactor_->CompactLevel(ctx_, Level{static_cast<std::uint8_t>(level)});
  }
  CompactionStep Step(int level) {
    auto step = TryStep(level);
    EXPECT_TRUE(step.ok()) << step.error().message();
    return step.ok() ? std::move(step).value() : CompactionStep{};
  }
  CompactionStep Snapshot(std::uint64_t database_bytes = 1 << 30) {
    auto step = Compactor(Target()).CompactSnapshot(ctx_, database_bytes);
    EXPECT_TRUE(step.ok()) << step.error().message();
    return step.ok() ? std::move(step).value() : CompactionStep{};
  }
  // Steps until there is nothing to do.
  CompactionStep StepAll(int level) {
    CompactionStep step = Step(level);
    while (step.outcome == Outcome::kWritten) step = Step(level);
    return step;
  }

  std::vector<FileId> Files(int level) const {
    std::vector<FileId> ids;
    const auto n = Level{static_cast<std::uint8_t>(level)};
    for (std::size_t i = 0; i < catalogue_.count(n); ++i) ids.push_back(catalogue_.at(n, i).id);
    return ids;
  }
  // The catalogue is what the replica holds, but for what is doubtful.
  void ExpectExact() {
    const auto listing = ListReplica(ctx_, *client_, true).value();
    for (const auto& difference : catalogue_.Compare(listing)) {
      using Kind = CatalogueDifference::Kind;
      if (difference.kind == Kind::kGap || difference.kind == Kind::kOverlap) continue;
      ADD_FAILURE() << ToString(difference.kind) << " " << FileLabel(difference.file.id);
    }
  }

  // The database that the files lead to.
  Result<Bytes> Restored(const std::vector<FileInfo>& files) {
    std::vector<MergeInput> inputs;
    for (const FileInfo& file : files) inputs.push_back(MergeInputFrom(*client_, file));
    const auto merge = LS_TRY(LtxMerge::Open(ctx_, std::move(inputs), {.as_snapshot = true}));
    LtxDecoder decoder(*merge);
    const LtxHeader header = LS_TRY(decoder.ReadHeader(ctx_));
    Bytes database(std::size_t{header.commit_pages} * header.page_size);
    while (const auto page = LS_TRY(decoder.ReadPage(ctx_))) {
      std::ranges::copy(page->page, database.begin() + (page->pgno.value - 1) * header.page_size);
    }
    LS_TRY(decoder.Finish(ctx_));
    return database;
  }
  // Invariant 2: at the end of every file of a level, from that level and those above it alone.
  // (Of level 0 that is from everything.)
  void ExpectRestorable() {
    const ReplicaListing all = catalogue_.Listing();
    ReplicaListing some;
    some.levels[9] = all.levels[9];
    for (int level = 9; level >= 0; --level) {
      some.levels[static_cast<std::size_t>(level)] = all.levels[static_cast<std::size_t>(level)];
      for (const FileInfo& file : all.levels[static_cast<std::size_t>(level)]) {
        SCOPED_TRACE(FileLabel(file.id));
        const Txid txid = file.id.txids.max;
        const auto plan = PlanRestore(some, {.txid = txid, .before = {}});
        ASSERT_TRUE(plan.ok()) << plan.error().message();
        const auto restored = Restored(plan.value().files);
        ASSERT_TRUE(restored.ok()) << restored.error().message();
        ASSERT_TRUE(restored.value() == model_->at(txid).File());
        ASSERT_EQ(file.created_at, ModelReplica::TimeOf(txid)) << "R14";
      }
    }
  }

  InstantClock clock_;
  Context ctx_{std::stop_token(), {}, clock_};
  MemoryStore store_;
  std::unique_ptr<ReplicaClient> client_;
  Catalogue catalogue_;
  CompactionBounds bounds_;
  std::function<std::optional<MergeInput>(Txid)> local_;
  std::function<Result<void>(const Context&)> before_write_;
  std::unique_ptr<ModelReplica> model_;
  // False: every step is that of a new process.
  bool remembers_ = false;
  std::unique_ptr<Compactor> compactor_;
};

// --- The ladder. ---

TEST_F(CompactorTest, LevelsHoldTheOnesBelowMerged) {
  PutAll(3, 6);
  CompactionStep step = Step(1);
  EXPECT_EQ(step.outcome, Outcome::kWritten);
  EXPECT_EQ(step.written->id, Id(9, 1, 1));  // The first file holds every page.
  EXPECT_TRUE(step.more);
  step = Step(1);
  EXPECT_EQ(step.written->id, Id(1, 2, 6));
  EXPECT_EQ(step.written->created_at, ModelReplica::TimeOf(Txid{6}));
  EXPECT_FALSE(step.more);
  EXPECT_EQ(Step(1).outcome, Outcome::kNothing);

  model_->CommitRandomly(2, 40);
  Put(7);
  Put(8);
  EXPECT_EQ(Step(1).written->id, Id(1, 7, 8));
  step = Step(2);
  EXPECT_EQ(step.written->id, Id(2, 2, 8));
  EXPECT_EQ(step.hole, (TxidRange{Txid{1}, Txid{1}}));
  EXPECT_EQ(Step(2).outcome, Outcome::kNothing);
  EXPECT_EQ(Step(3).written->id, Id(3, 2, 8));
  ExpectExact();
  ExpectRestorable();
  const auto report = VerifyReplica(ctx_, *client_, {}).value();
  EXPECT_TRUE(report.proven);
  EXPECT_TRUE(report.problems.empty());
}

TEST_F(CompactorTest, BoundedSteps) {
  PutAll(4, 11);
  bounds_.max_files = 4;
  EXPECT_EQ(Step(1).written->id, Id(9, 1, 1));
  EXPECT_TRUE(Step(1).more);
  EXPECT_TRUE(Step(1).more);
  EXPECT_FALSE(Step(1).more);
  EXPECT_EQ(Files(1), (std::vector{Id(1, 2, 5), Id(1, 6, 9), Id(1, 10, 11)}));
  ExpectRestorable();
}

TEST_F(CompactorTest, FullFilesInTheMiddleArePromoted) {
  UseModel(5, 9);
  for (std::uint64_t n = 1; n <= 9; ++n) {
    Put(n, n, {.all_pages = n == 5, .builds_on_nothing = n == 5});
  }
  EXPECT_EQ(StepAll(1).outcome, Outcome::kNothing);
  EXPECT_EQ(Files(9), (std::vector{Id(9, 1, 1), Id(9, 1, 5)}));
  EXPECT_EQ(Files(1), (std::vector{Id(1, 2, 4), Id(1, 6, 9)}));
  EXPECT_EQ(StepAll(2).outcome, Outcome::kNothing);
  EXPECT_EQ(Files(2), (std::vector{Id(2, 2, 4), Id(2, 6, 9)}));
  // The same pages: only name and checksum differ.
  EXPECT_EQ(catalogue_.Find(Id(9, 1, 5))->size_bytes, catalogue_.Find(Id(0, 5, 5))->size_bytes);
  ExpectExact();
  ExpectRestorable();
}

TEST_F(CompactorTest, NothingAcrossAChangeOfThePageSize) {
  UseModel(6, 5);
  model_->ChangePageSize(1024, 20);
  model_->CommitRandomly(3, 30);
  for (std::uint64_t n = 1; n <= 9; ++n) Put(n, n, {.proof = n != 6, .all_pages = n == 6});
  EXPECT_EQ(StepAll(1).outcome, Outcome::kNothing);
  EXPECT_EQ(Files(9), (std::vector{Id(9, 1, 1), Id(9, 1, 6)}));
  EXPECT_EQ(Files(1), (std::vector{Id(1, 2, 5), Id(1, 7, 9)}));
  EXPECT_EQ(StepAll(2).outcome, Outcome::kNothing);
  EXPECT_EQ(Files(2), (std::vector{Id(2, 2, 5), Id(2, 7, 9)}));
  ExpectRestorable();
}

// Above level 0, too, where nobody looks for images otherwise.
TEST_F(CompactorTest, NothingAcrossAChangeOfThePageSizeAtAnyLevel) {
  UseModel(6, 5);
  model_->ChangePageSize(1024, 20);
  model_->CommitRandomly(5, 30);
  const auto put = [this](std::uint64_t min, std::uint64_t max, bool all_pages) {
    PutBytes(Id(1, min, max), model_->File({Txid{min}, Txid{max}}, {.all_pages = all_pages}));
  };
  put(1, 3, false);
  put(4, 5, false);
  put(6, 8, true);
  put(9, 10, false);
  put(11, 11, false);
  EXPECT_EQ(StepAll(2).outcome, Outcome::kNothing);
  EXPECT_EQ(Files(9), std::vector{Id(9, 1, 8)});
  EXPECT_EQ(Files(2), (std::vector{Id(2, 1, 5), Id(2, 9, 11)}));
  ExpectRestorable();
}

TEST_F(CompactorTest, AChangeOfThePageSizeWithPagesMissingIsNamed) {
  UseModel(6, 5);
  model_->ChangePageSize(1024, 20);
  for (std::uint64_t n = 1; n <= 6; ++n) Put(n, n, {.without = {n == 6 ? 7U : 0U}});
  const CompactionStep step = StepAll(1);
  EXPECT_EQ(step.outcome, Outcome::kBadSource);
  EXPECT_EQ(step.bad->fault, SourceFault::kContradiction);
  EXPECT_THAT(step.bad->error.message(), HasSubstr("page 7 of 20"));
  EXPECT_EQ(Files(1), std::vector{Id(1, 2, 5)});
}

TEST_F(CompactorTest, LargeIncrementsOfEveryPageArePromoted) {
  for (const bool every_page : {true, false}) {
    SCOPED_TRACE(every_page);
    store_ = MemoryStore();
    client_ = MakeMemoryClient(store_);
    catalogue_ = {};
    model_ = std::make_unique<ModelReplica>(7, 4096);
    model_->Commit(700, 0);
    for (int i = 0; i < 3; ++i) model_->Commit(700, 5);
    Put(1);
    Put(2);
    // As after a VACUUM; with its proof, which says that it builds on what was there.
    const ModelReplica::FileOptions options{
        .all_pages = true,
        .without = every_page ? std::set<std::uint32_t>{} : std::set<std::uint32_t>{600}};
    Put(3, 3, options);
    Put(4);
    EXPECT_EQ(StepAll(1).outcome, Outcome::kNothing);
    EXPECT_EQ(Files(1),
              every_page ? (std::vector{Id(1, 2, 2), Id(1, 4, 4)}) : (std::vector{Id(1, 2, 4)}));
    if (every_page) ExpectRestorable();
  }
}

// Small databases are changed as a whole all the time.
TEST_F(CompactorTest, SmallIncrementsOfEveryPageGoUpTheLevels) {
  model_ = std::make_unique<ModelReplica>(7, 512);
  model_->Commit(3, 0);
  for (int i = 0; i < 5; ++i) model_->Commit(3, 0);
  for (std::uint64_t n = 1; n <= 6; ++n) Put(n, n, {.all_pages = true});
  StepAll(1);
  EXPECT_EQ(Files(9), std::vector{Id(9, 1, 1)});
  EXPECT_EQ(Files(1), std::vector{Id(1, 2, 6)});
}

// --- What a step costs. ---

TEST_F(CompactorTest, AStepListsNothingAndWritesOnce) {
  PutAll(8, 30);
  Step(1);
  const auto calls = [&](StorageCall call) { return store_.calls(call); };
  const std::uint64_t opens = calls(StorageCall::kOpen);
  const std::uint64_t writes = calls(StorageCall::kWrite);
  EXPECT_EQ(Step(1).written->id, Id(1, 2, 30));
  EXPECT_EQ(calls(StorageCall::kWrite), writes + 1);
  // The first file's header tells once more that it is an image, so all beginnings are read again;
  // the snapshot's header says the page size; the rest of a file fits another window.
  EXPECT_LE(calls(StorageCall::kOpen), opens + 30 + 1 + 2 * 29);
  const std::uint64_t after = calls(StorageCall::kOpen);
  EXPECT_EQ(Step(1).outcome, Outcome::kNothing);
  EXPECT_EQ(calls(StorageCall::kOpen), after);
  EXPECT_EQ(calls(StorageCall::kList), 0U);
  EXPECT_EQ(calls(StorageCall::kDelete), 0U);
}

class LocalFilesTest : public CompactorTest {
 protected:
  LocalFilesTest() {
    local_ = [this](Txid txid) -> std::optional<MergeInput> {
      const auto found = files_.find(txid);
      if (found == files_.end()) return std::nullopt;
      const Bytes& bytes = found->second;
      return MergeInput{
          .name = "local " + std::to_string(txid.value),
          .size_bytes = bytes.size(),
          .txids = TxidRange{txid, txid},
          .open = [&bytes](const Context&,
                           const ByteRange& range) -> Result<std::unique_ptr<ByteSource>> {
            return std::make_unique<SpanSource>(
                std::span(bytes).subspan(range.offset_bytes, range.length_bytes));
          }};
    };
  }
  std::map<Txid, Bytes> files_;
};

TEST_F(LocalFilesTest, R12ArePreferred) {
  UseModel(9, 12);
  for (std::uint64_t n = 1; n <= 12; ++n) files_[Txid{n}] = model_->File({Txid{n}, Txid{n}}, {});
  for (std::uint64_t n = 1; n <= 4; ++n) Put(n);
  Put(5, 9);  // Went up as one.
  for (std::uint64_t n = 10; n <= 12; ++n) Put(n);
  StepAll(1);
  EXPECT_EQ(Files(1), std::vector{Id(1, 2, 12)});
  EXPECT_EQ(store_.calls(StorageCall::kOpen), 0U);
  ExpectRestorable();

  // The same object as without them.
  const auto with = Restored({*catalogue_.Find(Id(9, 1, 1)), *catalogue_.Find(Id(1, 2, 12))});
  catalogue_.Remove(Id(1, 2, 12));
  files_.clear();
  EXPECT_EQ(Step(1).written->id, Id(1, 2, 12)) << "not recognised as the same";
}

TEST_F(LocalFilesTest, OneOfAnotherSizeIsNotTheSameFile) {
  PutAll(9, 3);
  files_[Txid{2}] = Bytes(model_->File({Txid{3}, Txid{3}}, {}));
  files_[Txid{2}].push_back(std::byte{});
  StepAll(1);
  EXPECT_EQ(Files(1), std::vector{Id(1, 2, 3)});
}

TEST_F(LocalFilesTest, ADamagedOneIsNamedAsLocal) {
  PutAll(9, 3);
  files_[Txid{2}] = model_->File({Txid{2}, Txid{2}}, {});
  files_[Txid{2}][150] ^= std::byte{1};
  Step(1);
  const CompactionStep step = Step(1);
  EXPECT_EQ(step.outcome, Outcome::kBadSource);
  EXPECT_EQ(step.bad->fault, SourceFault::kDamaged);
  EXPECT_EQ(step.bad->file->id, Id(0, 2, 2));
  EXPECT_TRUE(step.bad->local);
  files_.clear();
  EXPECT_EQ(Step(1).outcome, Outcome::kWritten);
}

// --- What goes wrong. ---

TEST_F(CompactorTest, D13AGapIsNamed) {
  PutAll(10, 8);
  StepAll(1);
  model_->CommitRandomly(4, 40);
  Put(9);
  Put(11);
  Put(12);
  CompactionStep step = Step(1);
  EXPECT_EQ(step.written->id, Id(1, 9, 9));
  EXPECT_TRUE(step.more);
  for (int i = 0; i < 3; ++i) {
    step = Step(1);
    EXPECT_EQ(step.outcome, Outcome::kGap);
    EXPECT_EQ(step.hole, (TxidRange{Txid{10}, Txid{10}}));
  }
  EXPECT_EQ(Snapshot().outcome, Outcome::kGap);
  Put(10);
  EXPECT_EQ(Step(1).written->id, Id(1, 10, 12));
  ExpectRestorable();
}

TEST_F(CompactorTest, BadSourcesAreNamed) {
  const struct {
    const char* why;
    std::function<void(CompactorTest&, Bytes&)> damage;
    SourceFault fault;
  } cases[] = {
      {"missing", [](CompactorTest&, Bytes& b) { b.clear(); }, SourceFault::kMissing},
      {"cut", [](CompactorTest&, Bytes& b) { b.pop_back(); }, SourceFault::kCut},
      {"cut in the header", [](CompactorTest&, Bytes& b) { b.resize(50); }, SourceFault::kCut},
      {"a page", [](CompactorTest&, Bytes& b) { b[130] ^= std::byte{4}; }, SourceFault::kDamaged},
      {"the trailer", [](CompactorTest&, Bytes& b) { b.back() ^= std::byte{4}; },
       SourceFault::kDamaged},
      {"no header", [](CompactorTest&, Bytes& b) { b[0] ^= std::byte{4}; }, SourceFault::kDamaged},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    store_ = MemoryStore();
    client_ = MakeMemoryClient(store_);
    catalogue_ = {};
    PutAll(11, 6);
    Step(1);
    Bytes bytes = model_->File({Txid{4}, Txid{4}}, {});
    c.damage(*this, bytes);
    ASSERT_TRUE(client_->Delete(ctx_, std::array{Id(0, 4, 4)}).ok());
    if (!bytes.empty()) ModelReplica::PutBytes(*client_, Id(0, 4, 4), bytes);
    const Catalogue before = catalogue_;
    for (int i = 0; i < 2; ++i) {
      const CompactionStep step = Step(1);
      ASSERT_EQ(step.outcome, Outcome::kBadSource);
      EXPECT_EQ(step.bad->fault, c.fault);
      EXPECT_EQ(step.bad->file->id, Id(0, 4, 4));
      EXPECT_FALSE(step.bad->local);
      EXPECT_THAT(step.bad->error.message(), HasSubstr("0/0000000000000004"));
      EXPECT_FALSE(step.more);
      EXPECT_TRUE(catalogue_ == before);
      EXPECT_EQ(store_.calls(StorageCall::kList), 0U);
    }
    EXPECT_TRUE(client_->List(ctx_, Level{1}, {}).value().empty());
    Put(4);
    EXPECT_EQ(Step(1).written->id, Id(1, 2, 6));
    ExpectRestorable();
  }
}

TEST_F(CompactorTest, AFileOfAnotherDatabaseIsAContradiction) {
  PutAll(12, 4);
  ModelReplica other(13, 512);
  other.CommitRandomly(4, 40);
  PutBytes(Id(0, 3, 3), other.File({Txid{3}, Txid{3}}, {}));
  Step(1);
  const CompactionStep step = Step(1);
  EXPECT_EQ(step.outcome, Outcome::kBadSource);
  EXPECT_EQ(step.bad->fault, SourceFault::kContradiction);
  EXPECT_FALSE(step.bad->file);
  EXPECT_THAT(step.bad->error.message(), HasSubstr("its proof says"));
}

TEST_F(CompactorTest, NothingIsReplaced) {
  PutAll(14, 4);
  Step(1);
  const Bytes same = model_->File({Txid{2}, Txid{4}}, {});
  Bytes other = same;
  other.push_back(std::byte{});
  for (const Bytes& bytes : {Bytes(other), Bytes(same.begin(), same.end() - 1), Bytes(3)}) {
    ModelReplica::PutBytes(*client_, Id(1, 2, 4), bytes);
    const auto step = TryStep(1);
    ASSERT_FALSE(step.ok());
    EXPECT_EQ(step.error().code(), ErrorCode::kAlreadyExists);
    EXPECT_THAT(step.error().message(), HasSubstr("1/0000000000000002-0000000000000004.ltx"));
    EXPECT_TRUE(Files(1).empty());
    EXPECT_EQ(client_->List(ctx_, Level{1}, {}).value().front().size_bytes, bytes.size());
  }
  ModelReplica::PutBytes(*client_, Id(1, 2, 4), same);
  const CompactionStep step = Step(1);
  EXPECT_EQ(step.outcome, Outcome::kWritten);
  EXPECT_EQ(step.written->size_bytes, same.size());
  ExpectExact();
}

TEST_F(CompactorTest, WithoutTheCataloguesConsentNothingIsWritten) {
  PutAll(15, 4);
  before_write_ = [](const Context&) -> Result<void> {
    return Error(ErrorCode::kIo, "disk broken");
  };
  const std::uint64_t writes = store_.calls(StorageCall::kWrite);
  EXPECT_EQ(TryStep(1).error().code(), ErrorCode::kIo);
  EXPECT_EQ(store_.calls(StorageCall::kWrite), writes);
}

// A lost answer, and more files since: the same file again, and no second one beside it.
TEST_F(CompactorTest, ALostAnswerIsRecognised) {
  PutAll(16, 4);
  Step(1);
  store_.SetFaults([](StorageCall call, const FileId&) {
    return call == StorageCall::kWrite ? StorageFault::kFailAfter : StorageFault::kNone;
  });
  EXPECT_EQ(TryStep(1).error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(catalogue_.doubtful(), std::vector{Id(1, 2, 4)});
  store_.SetFaults({});
  model_->CommitRandomly(2, 40);
  Put(5);
  Put(6);
  EXPECT_EQ(Step(1).written->id, Id(1, 2, 4));
  EXPECT_EQ(Step(1).written->id, Id(1, 5, 6));
  EXPECT_TRUE(catalogue_.doubtful().empty());
  ExpectExact();
}

TEST_F(CompactorTest, ALostAnswerToASnapshotIsRecognised) {
  PutAll(16, 4);
  store_.SetFaults([](StorageCall call, const FileId&) {
    return call == StorageCall::kWrite ? StorageFault::kFailAfter : StorageFault::kNone;
  });
  EXPECT_FALSE(Compactor(Target()).CompactSnapshot(ctx_, 1 << 30).ok());
  store_.SetFaults({});
  model_->CommitRandomly(1, 40);
  Put(5);
  EXPECT_EQ(Snapshot().written->id, Id(9, 1, 4));
  EXPECT_EQ(Snapshot().written->id, Id(9, 1, 5));
  ExpectExact();
  EXPECT_TRUE(catalogue_.doubtful().empty());
}

// Any call of the replica fails, before it is done or after.
TEST_F(CompactorTest, AFailureOfAnyCall) {
  for (const StorageFault fault : {StorageFault::kFailBefore, StorageFault::kFailAfter}) {
    for (int at = 1;; ++at) {
      SCOPED_TRACE(at);
      store_ = MemoryStore();
      client_ = MakeMemoryClient(store_);
      catalogue_ = {};
      UseModel(17, 9);
      for (std::uint64_t n = 1; n <= 9; ++n) {
        Put(n, n, {.all_pages = n == 5, .builds_on_nothing = n == 5});
      }
      int calls = 0;
      // For as long as a source is tried again.
      store_.SetFaults([&](StorageCall, const FileId&) {
        ++calls;
        return calls >= at && calls < at + 5 ? fault : StorageFault::kNone;
      });
      for (int level = 1; level <= 2; ++level) {
        for (int tries = 0;;) {
          const auto step = TryStep(level);
          if (!step.ok()) {
            EXPECT_EQ(step.error().code(), ErrorCode::kUnavailable) << step.error().message();
            ASSERT_LT(++tries, 7);
          } else if (step.value().outcome != Outcome::kWritten) {
            EXPECT_EQ(step.value().outcome, Outcome::kNothing);
            break;
          }
        }
      }
      const bool reached = calls >= at;
      store_.SetFaults({});
      EXPECT_EQ(Files(9), (std::vector{Id(9, 1, 1), Id(9, 1, 5)}));
      EXPECT_EQ(Files(1), (std::vector{Id(1, 2, 4), Id(1, 6, 9)}));
      EXPECT_EQ(Files(2), (std::vector{Id(2, 2, 4), Id(2, 6, 9)}));
      EXPECT_TRUE(catalogue_.doubtful().empty());
      ExpectExact();
      ExpectRestorable();
      if (HasFailure()) return;
      if (!reached) break;
    }
  }
}

// --- Snapshots. ---

TEST_F(CompactorTest, SnapshotFromTheLastOneAndWhatFollows) {
  PutAll(18, 9);
  bounds_.max_files = 3;
  StepAll(1);
  StepAll(2);
  CompactionStep step = Snapshot();
  EXPECT_EQ(step.outcome, Outcome::kWritten);
  EXPECT_EQ(step.written->id, Id(9, 1, 9));
  EXPECT_EQ(Snapshot().outcome, Outcome::kNothing);
  ExpectExact();
  ExpectRestorable();
  // Not where reading the database is cheaper.
  model_->CommitRandomly(1, 40);
  Put(10);
  const std::uint64_t bytes =
      catalogue_.Find(Id(9, 1, 9))->size_bytes + catalogue_.Find(Id(0, 10, 10))->size_bytes;
  EXPECT_EQ(Snapshot(bytes - 1).outcome, Outcome::kReadDatabase);
  EXPECT_EQ(Snapshot(bytes).written->id, Id(9, 1, 10));
}

TEST_F(CompactorTest, SnapshotOfTooManyFilesIsReadFromTheDatabase) {
  PutAll(19, 9);
  bounds_.max_files = 8;
  EXPECT_EQ(Snapshot().outcome, Outcome::kReadDatabase);
}

TEST_F(CompactorTest, SnapshotBeginsWithTheLastFullFile) {
  UseModel(20, 4);
  model_->ChangePageSize(1024, 10);
  model_->CommitRandomly(2, 20);
  for (std::uint64_t n = 1; n <= 7; ++n) Put(n, n, {.all_pages = n == 5});
  const CompactionStep step = Snapshot();
  EXPECT_EQ(step.written->id, Id(9, 1, 7));
  EXPECT_TRUE(Restored({*step.written}).value() == model_->at(Txid{7}).File());
}

// --- Random histories. ---

class RandomHistory : public CompactorTest {
 protected:
  void Begin(std::uint64_t seed) {
    random_.seed(seed);
    store_ = MemoryStore();
    client_ = MakeMemoryClient(store_);
    catalogue_ = {};
    bounds_ = {.max_files = 2 + random_() % 6, .max_bytes = 2000 + random_() % 40'000};
    model_ = std::make_unique<ModelReplica>(seed, 512U << (seed % 3));
    compactor_.reset();
    remembers_ = seed % 2 == 0;
    proof_ = seed % 4 != 0;
    page_bytes_ = 512U << (seed % 3);
  }
  // What an uploader would add.
  void Commit() {
    const std::uint64_t n = model_->newest().value + 1;
    if (n > 1 && random_() % 12 == 0) {
      page_bytes_ = page_bytes_ == 512 ? 2048 : 512;
      model_->ChangePageSize(page_bytes_, static_cast<std::uint32_t>(1 + random_() % 30));
      PutBytes(Id(9, 1, n),
               model_->File({Txid{n}, Txid{n}}, {.proof = proof_,
                                                 .all_pages = true,
                                                 .builds_on_nothing = true,
                                                 .header_txids = TxidRange{Txid{1}, Txid{n}}}));
      return;
    }
    const bool full = random_() % 8 == 0;
    const std::uint64_t count = full || n == 1 ? 1 : 1 + random_() % 3;
    model_->CommitRandomly(static_cast<int>(count), 30);
    Put(n, n + count - 1, {.proof = proof_, .all_pages = full, .builds_on_nothing = full});
  }
  void AnyStep() {
    const std::uint64_t odds = 1 + random_() % 60;
    const bool faults = random_() % 2 == 0;
    store_.SetFaults([this, odds, faults](StorageCall, const FileId&) {
      if (!faults || random_() % (odds + 3) != 0) return StorageFault::kNone;
      return random_() % 2 == 0 ? StorageFault::kFailBefore : StorageFault::kFailAfter;
    });
    const auto step = random_() % 8 == 0 ? Compactor(Target()).CompactSnapshot(ctx_, 1 << 30)
                                         : TryStep(static_cast<int>(1 + random_() % 3));
    store_.SetFaults({});
    if (!step.ok()) {
      EXPECT_TRUE(step.error().Is(ErrorCode::kUnavailable)) << step.error().message();
      return;
    }
    EXPECT_NE(step.value().outcome, Outcome::kGap);
    EXPECT_NE(step.value().outcome, Outcome::kBadSource) << step.value().bad->error.message();
  }
  void ExpectComplete() {
    for (int level = 1; level <= 3; ++level) {
      EXPECT_EQ(StepAll(level).outcome, Outcome::kNothing);
      const auto n = static_cast<std::uint8_t>(level);
      EXPECT_GE(std::max(catalogue_.newest(Level{n}), catalogue_.newest(kSnapshotLevel)),
                catalogue_.newest(Level{static_cast<std::uint8_t>(n - 1)}));
    }
  }

  std::mt19937_64 random_;
  bool proof_ = true;
  std::uint32_t page_bytes_ = 512;
};

TEST_F(RandomHistory, EveryFileEndIsRestorable) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Begin(seed);
    for (int i = 0; i < 50; ++i) {
      if (model_->newest() == Txid{} || random_() % 3 == 0) {
        Commit();
      } else {
        AnyStep();
      }
      if (i % 5 == 4) {
        ExpectExact();
        ExpectRestorable();
      }
      if (HasFailure()) return;
    }
    ExpectComplete();
    ExpectExact();
    ExpectRestorable();
    const auto report = VerifyReplica(ctx_, *client_, {}).value();
    EXPECT_EQ(report.proven, proof_);
    for (const auto& problem : report.problems) {
      ADD_FAILURE() << FileLabel(problem.file) << ": " << problem.what;
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace litestream
