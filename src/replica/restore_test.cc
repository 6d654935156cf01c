#include "replica/restore.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "format/names.h"
#include "replica/planned_file.h"
#include "storage/memory_client.h"
#include "tests/support/fault_env.h"
#include "tests/support/instant_clock.h"
#include "tests/support/model_replica.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

using ::testing::AnyOf;
using testing::Bytes;
using ::testing::ElementsAre;
using testing::FaultEnv;
using ::testing::HasSubstr;
using testing::InstantClock;
using testing::ModelReplica;

using FileOptions = ModelReplica::FileOptions;
const FileOptions kProven{};
const FileOptions kStock{.proof = false};

Bytes Slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  Bytes bytes(text.size());
  std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  return bytes;
}

void Spill(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A replica in memory, and a directory to restore into.
class RestoreTest : public ::testing::Test {
 protected:
  RestoreTest() : client_(MakeMemoryClient(store_)), ctx_(std::stop_token(), {}, clock_) {}

  std::filesystem::path output() const { return dir_.path() / "out.db"; }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    const auto entries = env_.List(dir_.path());
    for (const auto& entry : entries.value()) names.push_back(entry.name);
    std::ranges::sort(names);
    return names;
  }

  Result<RestorePlan> Plan(const RestoreTarget& target) {
    auto listing = ListReplica(ctx_, *client_, /*exact_times=*/true);
    if (!listing.ok()) return listing.error();
    return PlanRestore(listing.value(), target);
  }
  Result<RestorePlan> PlanTo(std::uint64_t txid) {
    return Plan({.txid = Txid{txid}, .before = {}});
  }

  RestoreOptions Options() const {
    RestoreOptions options;
    options.output = output();
    options.parallelism = parallelism_;
    return options;
  }
  Result<RestoreReport> RestoreWith(const RestoreTarget& target, const RestoreOptions& options) {
    auto plan = Plan(target);
    if (!plan.ok()) return plan.error();
    return Restore(ctx_, env_, *client_, plan.value(), options);
  }
  Result<RestoreReport> RestoreAll() { return RestoreWith({}, Options()); }

  // Restores to a transaction and compares with the model.
  void ExpectRestores(const ModelReplica& model, std::uint64_t txid, ProofState proof) {
    SCOPED_TRACE("txid " + std::to_string(txid));
    std::filesystem::remove(output());
    const auto report = RestoreWith({.txid = Txid{txid}, .before = {}}, Options());
    ASSERT_TRUE(report.ok()) << report.error().message();
    const auto& state = model.at(Txid{txid});
    EXPECT_TRUE(Slurp(output()) == state.File());
    EXPECT_EQ(report.value().proof, proof);
    EXPECT_EQ(report.value().database_checksum, state.Checksum());
    EXPECT_EQ(report.value().page_count, state.pages.size());
    EXPECT_EQ(report.value().page_size, state.page_size);
    EXPECT_EQ(report.value().txids, (TxidRange{Txid{1}, Txid{txid}}));
    EXPECT_EQ(report.value().reached, ModelReplica::TimeOf(Txid{txid}));
    EXPECT_THAT(Names(), ElementsAre("out.db"));
  }

  // The error of a restore that must leave nothing behind.
  Error ExpectFails(const RestoreTarget& target = {}) {
    const auto report = RestoreWith(target, Options());
    EXPECT_FALSE(report.ok());
    EXPECT_THAT(Names(), ElementsAre());
    return report.ok() ? Error(ErrorCode::kInternal, "restored") : report.error();
  }

  int parallelism_ = 4;
  TempDir dir_;
  FaultEnv env_{Env::Real()};
  InstantClock clock_;
  MemoryStore store_;
  std::unique_ptr<ReplicaClient> client_;
  Context ctx_;
};

TEST_F(RestoreTest, EveryTransactionOfRandomReplicas) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::uint32_t page_size = 512U << (seed % 8);
    ModelReplica model(seed, page_size);
    model.CommitRandomly(12, page_size > 8192 ? 12 : 60);
    auto& rng = model.rng();
    const int proofs = static_cast<int>(seed % 3);  // All, none, or by chance.
    const auto put = [&](int level, std::uint64_t min, std::uint64_t max) {
      const bool proof = proofs == 0 || (proofs == 2 && rng() % 2 == 0);
      model.Put(*client_, level, min, max, {.proof = proof});
    };
    ASSERT_TRUE(client_->DeleteAll(ctx_).ok());
    for (std::uint64_t t = 1; t <= 12; ++t) put(0, t, t);
    for (int i = 0; i < 6; ++i) {
      const std::uint64_t min = 1 + rng() % 12;
      put(1 + i % 3, min, std::min<std::uint64_t>(12, min + rng() % 5));
    }
    if (rng() % 2 == 0) put(9, 1, 1 + rng() % 12);
    parallelism_ = 1 + static_cast<int>(seed % 5);
    for (std::uint64_t t = 1; t <= 12; ++t) {
      const auto plan = PlanTo(t);
      ASSERT_TRUE(plan.ok()) << plan.error().message();
      auto last = client_->Open(ctx_, plan.value().files.back().id, {});
      std::array<std::byte, kLtxHeaderSize> header{};
      ASSERT_EQ(ReadFull(ctx_, *last.value(), header).value(), header.size());
      const bool proven = ParseLtxHeader(header).value().Proof().has_value();
      ExpectRestores(model, t, proven ? ProofState::kProven : ProofState::kUnproven);
      if (HasFailure()) return;
    }
  }
}

TEST_F(RestoreTest, ProvenReadsOnlyWhatItNeeds) {
  ModelReplica model(7, 4096);
  model.Commit(2000, 0);
  model.Commit(2000, 0);
  for (int i = 0; i < 4; ++i) model.Commit(2000, 3);
  model.Put(*client_, 9, 1, 1, kProven);
  // A level-0 file that holds everything, so that the snapshot is not needed at all.
  const std::size_t full = model.Put(*client_, 0, 2, 2, {.proof = true, .all_pages = true}).size();
  for (std::uint64_t t = 3; t <= 6; ++t) model.Put(*client_, 0, t, t, kProven);
  const auto report = RestoreAll();
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report.value().proof, ProofState::kProven);
  EXPECT_TRUE(Slurp(output()) == model.at(Txid{6}).File());
  // The ends of two large files, and the small ones; not the snapshot's pages.
  EXPECT_LT(report.value().read_bytes, full + full / 4);
}

TEST_F(RestoreTest, DatabaseThatShrinksAndGrows) {
  ModelReplica model(8, 1024);
  model.Commit(20, 0);
  model.Commit(5, 1);
  model.Commit(12, 1);
  for (std::uint64_t t = 1; t <= 3; ++t) model.Put(*client_, 0, t, t, kStock);
  ExpectRestores(model, 3, ProofState::kUnproven);

  // A writer that forgot a page when the database grew: the old version of it must not come back.
  model.Put(*client_, 0, 3, 3, {.proof = false, .without = {9}});
  std::filesystem::remove(output());
  const Error error = ExpectFails();
  EXPECT_EQ(error.code(), ErrorCode::kCorruption);
  EXPECT_THAT(error.message(), HasSubstr("page 9 of 12 is in none of the files"));
}

TEST_F(RestoreTest, MissingPageIsAnError) {
  ModelReplica model(9, 1024);
  model.Commit(6, 0);
  model.Commit(9, 0);
  model.Put(*client_, 0, 1, 1, kProven);
  const struct {
    bool proof;
    std::uint32_t page;
  } cases[] = {{true, 7}, {false, 8}, {true, 9}, {false, 9}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.page);
    model.Put(*client_, 0, 2, 2, {.proof = c.proof, .without = {c.page}});
    EXPECT_EQ(ExpectFails().code(), ErrorCode::kCorruption);
  }
}

TEST_F(RestoreTest, PageSizeChanges) {
  ModelReplica model(10, 4096);
  model.Commit(10, 0);
  model.Commit(12, 2);
  model.ChangePageSize(1024, 30);
  model.Commit(31, 3);
  for (const bool proof : {true, false}) {
    for (std::uint64_t t = 1; t <= 4; ++t) model.Put(*client_, 0, t, t, {.proof = proof});
    for (std::uint64_t t = 1; t <= 4; ++t) {
      ExpectRestores(model, t, proof ? ProofState::kProven : ProofState::kUnproven);
    }
  }
  // Nothing of the old pages may fill a hole.
  std::filesystem::remove(output());
  model.Put(*client_, 0, 3, 3, {.proof = true, .without = {4}});
  EXPECT_EQ(ExpectFails().code(), ErrorCode::kCorruption);
}

TEST_F(RestoreTest, EmptyDatabase) {
  ModelReplica model(11, 4096);
  model.Commit(3, 0);
  model.Commit(0, 0);
  for (std::uint64_t t = 1; t <= 2; ++t) model.Put(*client_, 0, t, t, kProven);
  ExpectRestores(model, 2, ProofState::kProven);
}

// Every page is zeros but some around the lock page, which no file has.
TEST_F(RestoreTest, LockPage) {
  constexpr std::uint32_t kPageSize = 512;
  const std::uint32_t lock = LockPage(kPageSize).value;
  const std::uint32_t count = lock + 3;
  const auto page_of = [&](std::uint32_t pgno, std::uint64_t version) {
    Bytes page(kPageSize);
    if (pgno + 3 >= lock) page[pgno % 7] = static_cast<std::byte>(version);
    return page;
  };
  const auto put = [&](std::uint64_t txid, std::uint32_t first) {
    testing::VectorSink sink;
    LtxEncoder encoder(sink);
    ASSERT_TRUE(
        encoder
            .Begin(
                {.page_size = kPageSize, .commit_pages = count, .txids = {Txid{txid}, Txid{txid}}})
            .ok());
    Bytes block(MaxLz4BlockSize(kPageSize));
    block.resize(CompressPage(Bytes(kPageSize), block));
    for (std::uint32_t pgno = first; pgno <= count; ++pgno) {
      if (pgno == lock) continue;
      const Bytes page = page_of(pgno, txid);
      if (pgno + 3 >= lock) {
        ASSERT_TRUE(encoder.AddPage(Pgno{pgno}, page).ok());
      } else {
        ASSERT_TRUE(
            encoder
                .AddEncoded(
                    {.pgno = Pgno{pgno}, .page_sum = PageSum(Pgno{pgno}, page), .block = block})
                .ok());
      }
    }
    ASSERT_TRUE(encoder.Finish(std::nullopt).ok());
    ModelReplica::PutBytes(*client_, {kLevel0, {Txid{txid}, Txid{txid}}}, sink.bytes());
  };
  put(1, 1);
  put(2, lock - 1);
  env_.SetSparse(true);
  const auto report = RestoreAll();
  ASSERT_TRUE(report.ok()) << report.error().message();
  ASSERT_EQ(std::filesystem::file_size(output()), std::uint64_t{count} * kPageSize);
  std::ifstream in(output(), std::ios::binary);
  for (std::uint32_t pgno = lock - 5; pgno <= count; ++pgno) {
    SCOPED_TRACE(pgno);
    Bytes page(kPageSize);
    in.seekg(std::int64_t{pgno - 1} * kPageSize);
    in.read(reinterpret_cast<char*>(page.data()), kPageSize);
    EXPECT_TRUE(page == (pgno == lock ? Bytes(kPageSize) : page_of(pgno, pgno < lock - 1 ? 1 : 2)));
  }
}

// --- Damage ---

// Every byte of every file is changed, and every file cut at every length.
TEST_F(RestoreTest, DamageAnywhereIsFoundOrHarmless) {
  for (const bool proof : {true, false}) {
    SCOPED_TRACE(proof ? "proven" : "stock");
    ModelReplica model(12, 512, 40);
    model.Commit(5, 0);
    model.Commit(7, 1);
    model.Commit(6, 2);
    const Bytes want = model.at(Txid{3}).File();
    for (std::uint64_t t = 1; t <= 3; ++t) {
      const FileId id{kLevel0, {Txid{t}, Txid{t}}};
      for (std::uint64_t u = 1; u <= 3; ++u) model.Put(*client_, 0, u, u, {.proof = proof});
      const Bytes good = model.Put(*client_, 0, t, t, {.proof = proof});
      const auto plan = Plan({}).value();
      const auto expect = [&](const Bytes& bad, const RestorePlan& bad_plan, const char* what,
                              std::size_t at) {
        ModelReplica::PutBytes(*client_, id, bad);
        const auto report = Restore(ctx_, env_, *client_, bad_plan, Options());
        if (report.ok()) {
          EXPECT_TRUE(Slurp(output()) == want) << "txid " << t << " " << what << " " << at;
          std::filesystem::remove(output());
        } else {
          EXPECT_EQ(report.error().code(), ErrorCode::kCorruption)
              << "txid " << t << " " << what << " " << at << ": " << report.error().message();
          EXPECT_THAT(report.error().message(), HasSubstr(FormatTxid(id.txids.min)));
        }
        EXPECT_THAT(Names(), ElementsAre());
      };
      for (std::size_t i = 0; i < good.size() && !HasFailure(); ++i) {
        Bytes bad = good;
        bad[i] ^= static_cast<std::byte>(1U << (i % 8));
        expect(bad, plan, "byte", i);
        const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i));
        RestorePlan cut_plan = plan;
        cut_plan.files[t - 1].size_bytes = i;
        expect(cut, cut_plan, "cut", i);
      }
      // As long as listed, but the object is shorter.
      expect(Bytes(good.begin(), good.end() - 1), plan, "cut behind the listing", good.size());
      if (HasFailure()) return;
    }
  }
}

// Files that are right by themselves and wrong together.
TEST_F(RestoreTest, ProofFindsTheFileThatDoesNotBelong) {
  ModelReplica model(13, 1024);
  model.Commit(8, 0);
  for (int i = 0; i < 4; ++i) model.Commit(8, 3);
  ModelReplica other(14, 1024);
  other.Commit(8, 0);
  for (int i = 0; i < 4; ++i) other.Commit(8, 3);
  for (std::uint64_t t = 1; t <= 5; ++t) {
    SCOPED_TRACE("txid " + std::to_string(t));
    for (std::uint64_t u = 1; u <= 5; ++u) model.Put(*client_, 0, u, u, kProven);
    // The proof of the file, other pages.
    const FileId id{kLevel0, {Txid{t}, Txid{t}}};
    LtxHeader header = ParseLtxHeader(model.File(id.txids, kProven)).value();
    testing::VectorSink sink;
    LtxEncoder encoder(sink);
    ASSERT_TRUE(encoder.Begin(header).ok());
    for (std::uint32_t pgno = 1; pgno <= 8; ++pgno) {
      ASSERT_TRUE(encoder.AddPage(Pgno{pgno}, other.at(Txid{t}).pages[pgno - 1]).ok());
    }
    ASSERT_TRUE(encoder.Finish(std::nullopt).ok());
    ModelReplica::PutBytes(*client_, id, sink.bytes());
    const Error error = ExpectFails();
    EXPECT_EQ(error.code(), ErrorCode::kCorruption);
    EXPECT_THAT(error.message(), HasSubstr(FileLabel(id)));
    EXPECT_THAT(error.message(), HasSubstr("proof"));
  }
}

TEST_F(RestoreTest, AFileOfAnotherHistoryIsNamed) {
  ModelReplica model(15, 1024);
  model.Commit(8, 0);
  for (int i = 0; i < 4; ++i) model.Commit(8, 6);
  ModelReplica other(16, 1024);
  other.Commit(8, 0);
  for (int i = 0; i < 4; ++i) other.Commit(8, 6);
  for (std::uint64_t t = 1; t <= 5; ++t) model.Put(*client_, 0, t, t, kProven);
  other.Put(*client_, 0, 3, 3, kProven);
  const Error error = ExpectFails();
  EXPECT_EQ(error.code(), ErrorCode::kCorruption);
  EXPECT_THAT(error.message(), HasSubstr("0/0000000000000003-0000000000000003.ltx"));
}

TEST_F(RestoreTest, NamesAndHeadersMustFit) {
  ModelReplica model(17, 1024);
  model.Commit(8, 0);
  for (int i = 0; i < 4; ++i) model.Commit(8, 2);
  for (std::uint64_t t = 1; t <= 5; ++t) model.Put(*client_, 0, t, t, kStock);
  // The state of transaction 2 under the name of 2 to 5.
  ModelReplica::PutBytes(*client_, {Level{2}, {Txid{2}, Txid{5}}},
                         model.File({Txid{2}, Txid{2}}, kStock));
  const Error error = ExpectFails();
  EXPECT_EQ(error.code(), ErrorCode::kCorruption);
  EXPECT_THAT(error.message(), HasSubstr("2/0000000000000002-0000000000000005.ltx"));

  // Plans that nobody should make.
  const auto all = Plan({.txid = Txid{4}, .before = {}}).value();
  const struct {
    const char* why;
    std::vector<std::size_t> files;
    const char* message;
  } cases[] = {
      {"hole", {0, 2}, "non-contiguous transaction ids in input files"},
      {"order", {0, 2, 1}, "non-contiguous transaction ids in input files"},
      {"twice", {0, 1, 1}, "non-contiguous transaction ids in input files"},
      {"no snapshot", {1, 2}, "cannot decode non-snapshot LTX file"},
      {"nothing", {}, "no files"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    RestorePlan plan;
    for (const std::size_t i : c.files) plan.files.push_back(all.files[i]);
    const auto report = Restore(ctx_, env_, *client_, plan, Options());
    ASSERT_FALSE(report.ok());
    EXPECT_THAT(report.error().message(), HasSubstr(c.message));
    EXPECT_THAT(Names(), ElementsAre());
  }
}

// --- Failures ---

TEST_F(RestoreTest, EveryStorageCallMayFailOnce) {
  ModelReplica model(18, 1024);
  model.Commit(200, 0);
  for (int i = 0; i < 5; ++i) model.Commit(200, 4);
  for (std::uint64_t t = 1; t <= 6; ++t) model.Put(*client_, 0, t, t, kProven);
  const Bytes want = model.at(Txid{6}).File();
  const auto plan = Plan({}).value();
  for (const StorageFault fault : {StorageFault::kFailBefore, StorageFault::kFailAfter}) {
    for (int n = 1;; ++n) {
      SCOPED_TRACE("call " + std::to_string(n));
      std::atomic<int> calls = 0;
      store_.SetFaults([&, fault](StorageCall, const FileId&) {
        return ++calls == n ? fault : StorageFault::kNone;
      });
      const auto report = Restore(ctx_, env_, *client_, plan, Options());
      store_.SetFaults({});
      // Reads are repeated, so one failure never matters.
      ASSERT_TRUE(report.ok()) << report.error().message();
      ASSERT_TRUE(Slurp(output()) == want);
      std::filesystem::remove(output());
      if (calls < n) break;
    }
  }
}

TEST_F(RestoreTest, StorageThatStaysAwayIsAnError) {
  ModelReplica model(19, 1024);
  model.Commit(200, 0);
  for (int i = 0; i < 5; ++i) model.Commit(200, 4);
  for (std::uint64_t t = 1; t <= 6; ++t) model.Put(*client_, 0, t, t, kStock);
  const auto plan = Plan({}).value();
  for (int n = 1;; ++n) {
    SCOPED_TRACE("from call " + std::to_string(n));
    std::atomic<int> calls = 0;
    store_.SetFaults([&](StorageCall, const FileId&) {
      return ++calls >= n ? StorageFault::kFailBefore : StorageFault::kNone;
    });
    const auto report = Restore(ctx_, env_, *client_, plan, Options());
    store_.SetFaults({});
    if (calls < n) {
      EXPECT_TRUE(report.ok());
      break;
    }
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code(), ErrorCode::kUnavailable);
    EXPECT_THAT(Names(), ElementsAre());
  }
}

TEST_F(RestoreTest, AFileThatVanishedIsNotFound) {
  ModelReplica model(20, 1024);
  model.Commit(8, 0);
  model.Commit(8, 2);
  for (std::uint64_t t = 1; t <= 2; ++t) model.Put(*client_, 0, t, t, kProven);
  const auto plan = Plan({}).value();
  const FileId gone[] = {plan.files[1].id};
  ASSERT_TRUE(client_->Delete(ctx_, gone).ok());
  const auto report = Restore(ctx_, env_, *client_, plan, Options());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(report.error().message(), HasSubstr(FileLabel(gone[0])));
  EXPECT_THAT(Names(), ElementsAre());
}

TEST_F(RestoreTest, EveryFileCallMayFail) {
  ModelReplica model(21, 1024);
  model.Commit(600, 0);
  model.Commit(600, 9);
  for (std::uint64_t t = 1; t <= 2; ++t) model.Put(*client_, 0, t, t, kProven);
  const auto plan = Plan({}).value();
  RestoreOptions options = Options();
  options.output = dir_.path() / "a" / "b" / "out.db";
  options.replace = true;
  for (int n = 1;; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    std::filesystem::remove_all(dir_.path() / "a");
    std::atomic<int> calls = 0;
    std::string failed;
    env_.SetHook([&](const char* call, const std::filesystem::path&) -> Result<void> {
      if (++calls != n) return {};
      failed = call;
      return Error(ErrorCode::kNoSpace, "injected");
    });
    const auto report = Restore(ctx_, env_, *client_, plan, options);
    env_.SetHook({});
    if (calls < n) {
      EXPECT_TRUE(report.ok());
      break;
    }
    SCOPED_TRACE(failed);
    std::vector<std::string> left;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path())) {
      if (entry.is_regular_file()) left.push_back(entry.path().filename());
    }
    if (report.ok()) {
      // Looking for what killed restores left, and making sure of a temporary name, are optional.
      EXPECT_THAT(failed, AnyOf("list", "lock", "stat"));
      EXPECT_THAT(left, ElementsAre("out.db"));
      EXPECT_TRUE(Slurp(options.output) == model.at(Txid{2}).File());
      continue;
    }
    EXPECT_EQ(report.error().code(), ErrorCode::kNoSpace);
    // The name is given last; after it only the directory's sync can fail.
    if (failed == "sync directory" && !left.empty()) {
      EXPECT_THAT(left, ElementsAre("out.db"));
      EXPECT_TRUE(Slurp(options.output) == model.at(Txid{2}).File());
    } else {
      EXPECT_THAT(left, ElementsAre());
    }
  }
}

TEST_F(RestoreTest, CancelledAtAnyCallLeavesNothing) {
  ModelReplica model(22, 1024);
  model.Commit(600, 0);
  for (int i = 0; i < 4; ++i) model.Commit(600, 5);
  for (std::uint64_t t = 1; t <= 5; ++t) model.Put(*client_, 0, t, t, kStock);
  const auto plan = Plan({}).value();
  for (int n = 1;; ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    std::stop_source stop;
    std::atomic<int> calls = 0;
    store_.SetFaults([&](StorageCall, const FileId&) {
      if (++calls == n) stop.request_stop();
      return StorageFault::kNone;
    });
    const auto report =
        Restore(Context(stop.get_token(), {}, clock_), env_, *client_, plan, Options());
    store_.SetFaults({});
    if (calls < n) {
      EXPECT_TRUE(report.ok());
      break;
    }
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code(), ErrorCode::kCancelled);
    EXPECT_THAT(Names(), ElementsAre());
  }
}

TEST_F(RestoreTest, CheckMayRefuse) {
  ModelReplica model(23, 1024);
  model.Commit(8, 0);
  model.Put(*client_, 0, 1, 1, kProven);
  RestoreOptions options = Options();
  Bytes seen;
  options.check = [&](const std::filesystem::path& path) -> Result<void> {
    EXPECT_NE(path, output());
    EXPECT_EQ(path.parent_path(), output().parent_path());
    seen = Slurp(path);
    return Error(ErrorCode::kCorruption, "integrity check failed: row 1 missing");
  };
  const auto report = RestoreWith({}, options);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message(), HasSubstr("row 1 missing"));
  EXPECT_TRUE(seen == model.at(Txid{1}).File());
  EXPECT_THAT(Names(), ElementsAre());
}

// --- What is in the way ---

TEST_F(RestoreTest, OutputAndSidecarsAreNotOverwritten) {
  ModelReplica model(24, 1024);
  model.Commit(8, 0);
  model.Put(*client_, 0, 1, 1, kProven);
  for (const char* name : {"out.db", "out.db-wal", "out.db-shm", "out.db-journal", "out.db-txid"}) {
    SCOPED_TRACE(name);
    Spill(dir_.path() / name, "old");
    const auto report = RestoreAll();
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code(), ErrorCode::kAlreadyExists);
    EXPECT_THAT(report.error().message(), HasSubstr((dir_.path() / name).string()));
    EXPECT_THAT(Names(), ElementsAre(name));
    std::filesystem::remove(dir_.path() / name);
  }
  std::filesystem::create_directory(output());
  RestoreOptions options = Options();
  options.replace = true;
  const auto report = RestoreWith({}, options);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message(), HasSubstr("output path is a directory"));

  options.output = "";
  EXPECT_EQ(RestoreWith({}, options).error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(RestoreTest, OutputThatAppearsMeanwhileIsNotOverwritten) {
  ModelReplica model(25, 1024);
  model.Commit(8, 0);
  model.Put(*client_, 0, 1, 1, kProven);
  RestoreOptions options = Options();
  options.check = [&](const std::filesystem::path&) -> Result<void> {
    Spill(output(), "somebody else's");
    return {};
  };
  const auto report = RestoreWith({}, options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), ErrorCode::kAlreadyExists);
  EXPECT_THAT(Names(), ElementsAre("out.db"));
  EXPECT_EQ(Slurp(output()).size(), 15U);
}

TEST_F(RestoreTest, ReplacesOnlyWhenComplete) {
  ModelReplica model(26, 1024);
  model.Commit(300, 0);
  model.Commit(300, 3);
  for (std::uint64_t t = 1; t <= 2; ++t) model.Put(*client_, 0, t, t, kProven);
  const std::vector<std::string> old = {"out.db", "out.db-journal", "out.db-shm", "out.db-txid",
                                        "out.db-wal"};
  RestoreOptions options = Options();
  options.replace = true;
  const auto spill_all = [&]() {
    for (const std::string& name : old) Spill(dir_.path() / name, "old");
  };
  spill_all();
  std::filesystem::permissions(output(), std::filesystem::perms(0640));

  // Fails: all stays.
  options.check = [](const std::filesystem::path&) -> Result<void> {
    return Error(ErrorCode::kCorruption, "no");
  };
  EXPECT_FALSE(RestoreWith({}, options).ok());
  EXPECT_EQ(Names(), old);
  EXPECT_EQ(Slurp(output()).size(), 3U);

  // Succeeds: the sidecars are gone, durably, before the new database has the name.
  options.check = {};
  std::vector<std::string> order;
  env_.SetHook([&](const char* call, const std::filesystem::path& path) -> Result<void> {
    const std::string c = call;
    if (c == "remove" || c == "rename" || c == "sync directory") {
      order.push_back(c + (c == "remove" ? " " + path.filename().string().substr(6) : ""));
    }
    return {};
  });
  ASSERT_TRUE(RestoreWith({}, options).ok());
  env_.SetHook({});
  EXPECT_THAT(order, ElementsAre("remove -txid", "remove -shm", "remove -wal", "remove -journal",
                                 "sync directory", "rename", "sync directory"));
  EXPECT_THAT(Names(), ElementsAre("out.db"));
  EXPECT_TRUE(Slurp(output()) == model.at(Txid{2}).File());
  EXPECT_EQ(std::filesystem::status(output()).permissions(), std::filesystem::perms(0640));
}

TEST_F(RestoreTest, NewFileIsForTheOwnerOnlyAndParentsAreMade) {
  ModelReplica model(27, 1024);
  model.Commit(8, 0);
  model.Put(*client_, 0, 1, 1, kProven);
  RestoreOptions options = Options();
  options.output = dir_.path() / "x" / "y" / (std::string(240, 'n') + ".db");
  ASSERT_TRUE(RestoreWith({}, options).ok());
  EXPECT_EQ(std::filesystem::status(options.output).permissions(), std::filesystem::perms(0600));
  EXPECT_EQ(std::filesystem::status(dir_.path() / "x").permissions(), std::filesystem::perms(0700));
}

TEST_F(RestoreTest, Progress) {
  ModelReplica model(28, 4096);
  model.Commit(3000, 0);
  model.Commit(3000, 20);
  for (std::uint64_t t = 1; t <= 2; ++t) model.Put(*client_, 0, t, t, kProven);
  for (const int parallelism : {1, 4}) {
    std::filesystem::remove(output());
    RestoreOptions options = Options();
    options.parallelism = parallelism;
    std::vector<std::uint64_t> done;
    options.progress = [&](const RestoreProgress& progress) {
      EXPECT_EQ(progress.total_bytes, std::uint64_t{3000} * 4096);
      done.push_back(progress.done_bytes);
    };
    ASSERT_TRUE(RestoreWith({}, options).ok());
    EXPECT_TRUE(std::ranges::is_sorted(done));
    ASSERT_FALSE(done.empty());
    EXPECT_EQ(done.back(), std::uint64_t{3000} * 4096);
  }
}

}  // namespace
}  // namespace litestream
