#include "replica/verify.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "format/names.h"
#include "replica/planned_file.h"
#include "storage/memory_client.h"
#include "tests/support/instant_clock.h"
#include "tests/support/model_replica.h"

namespace litestream {
namespace {

using testing::Bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ModelReplica;

const ModelReplica::FileOptions kProven{};
const ModelReplica::FileOptions kStock{.proof = false};

FileId Id(int level, std::uint64_t min, std::uint64_t max) {
  return {Level{static_cast<std::uint8_t>(level)}, {Txid{min}, Txid{max}}};
}

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() : client_(MakeMemoryClient(store_)), ctx_(std::stop_token(), {}, clock_) {}

  // A replica as a writer leaves it: level 0 files of the last transactions, merged ones,
  // snapshots.
  ModelReplica Filled(std::uint64_t seed, const ModelReplica::FileOptions& options) {
    ModelReplica model(seed, 1024, 100);
    model.CommitRandomly(12, 30);
    model.Put(*client_, 9, 1, 4, options);
    model.Put(*client_, 9, 1, 8, options);
    model.Put(*client_, 1, 3, 6, options);
    model.Put(*client_, 1, 7, 8, options);
    model.Put(*client_, 1, 9, 11, options);
    for (std::uint64_t t = 8; t <= 12; ++t) model.Put(*client_, 0, t, t, options);
    return model;
  }
  VerifyReport Verify() {
    const auto report = VerifyReplica(ctx_, *client_, {});
    EXPECT_TRUE(report.ok()) << report.error().message();
    return report.ok() ? report.value() : VerifyReport{};
  }
  std::vector<std::string> Problems() {
    std::vector<std::string> text;
    const VerifyReport report = Verify();
    for (const VerifyProblem& problem : report.problems) {
      text.push_back(FileLabel(problem.file) + ": " + problem.what);
    }
    return text;
  }
  Bytes Content(const FileId& id) {
    auto source = client_->Open(ctx_, id, {});
    Bytes bytes(1 << 20);
    bytes.resize(ReadFull(ctx_, *source.value(), bytes).value());
    return bytes;
  }
  void Delete(const FileId& id) {
    const FileId ids[] = {id};
    ASSERT_TRUE(client_->Delete(ctx_, ids).ok());
  }

  testing::InstantClock clock_;
  MemoryStore store_;
  std::unique_ptr<ReplicaClient> client_;
  Context ctx_;
};

TEST_F(VerifyTest, WhatAWriterLeavesIsProven) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Filled(seed, kProven);
    const VerifyReport report = Verify();
    EXPECT_THAT(report.problems, IsEmpty())
        << FileLabel(report.problems[0].file) << ": " << report.problems[0].what;
    EXPECT_TRUE(report.proven);
    EXPECT_EQ(report.newest, Txid{12});
    EXPECT_EQ(report.file_count, 10);
    EXPECT_EQ(report.unproven_files, 0);
    EXPECT_GT(report.read_bytes, 10 * kLtxMinFileSize);
  }
}

TEST_F(VerifyTest, StockFilesAreRightButNotProven) {
  const ModelReplica model = Filled(21, kStock);
  VerifyReport report = Verify();
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_FALSE(report.proven);
  EXPECT_EQ(report.unproven_files, 10);
  // One proof at the end is enough: it is absolute.
  model.Put(*client_, 0, 12, 12, kProven);
  report = Verify();
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_TRUE(report.proven);
  EXPECT_EQ(report.unproven_files, 9);
}

TEST_F(VerifyTest, EmptyReplica) {
  const VerifyReport report = Verify();
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_FALSE(report.proven);
  EXPECT_EQ(report.newest, Txid{});
  EXPECT_EQ(report.file_count, 0);
}

// Every file is read whole: a bit anywhere is found, and the file named.
TEST_F(VerifyTest, DamageIsFoundAndNamed) {
  Filled(22, kProven);
  const auto listing = ListReplica(ctx_, *client_, false);
  std::mt19937_64 rng(22);
  for (const auto& level : listing.value().levels) {
    for (const FileInfo& file : level) {
      const Bytes good = Content(file.id);
      for (int i = 0; i < 40; ++i) {
        const std::size_t at = rng() % good.size();
        SCOPED_TRACE(FileLabel(file.id) + " byte " + std::to_string(at));
        Bytes bad = good;
        bad[at] ^= static_cast<std::byte>(1U << rng() % 8);
        ModelReplica::PutBytes(*client_, file.id, bad);
        const auto problems = Problems();
        // An LZ4 block may have two encodings of the same page; then nothing is lost.
        if (problems.empty()) continue;
        EXPECT_THAT(problems[0], HasSubstr(FileLabel(file.id) + ": "));
      }
      Bytes cut(good.begin(), good.end() - 20);
      ModelReplica::PutBytes(*client_, file.id, cut);
      EXPECT_THAT(Problems(), ElementsAre(HasSubstr(FileLabel(file.id))));
      ModelReplica::PutBytes(*client_, file.id, good);
    }
  }
  EXPECT_THAT(Problems(), IsEmpty());
}

TEST_F(VerifyTest, ADamagedFileDoesNotSpoilItsTwin) {
  Filled(23, kProven);
  Bytes bad = Content(Id(0, 10, 10));
  bad[bad.size() - 1] ^= std::byte{1};
  ModelReplica::PutBytes(*client_, Id(0, 10, 10), bad);
  const VerifyReport report = Verify();
  ASSERT_EQ(report.problems.size(), 1U);
  EXPECT_EQ(report.problems[0].file, Id(0, 10, 10));
  // The merged file 9-11 leads on.
  EXPECT_TRUE(report.proven);

  // Damage in the file that a restore would take: not proven.
  bad = Content(Id(1, 9, 11));
  bad[bad.size() - 1] ^= std::byte{1};
  ModelReplica::PutBytes(*client_, Id(1, 9, 11), bad);
  EXPECT_FALSE(Verify().proven);
  EXPECT_EQ(Verify().problems.size(), 2U);
}

// Files that are right by themselves, of another history.
TEST_F(VerifyTest, FilesThatContradictEachOther) {
  const ModelReplica model = Filled(24, kProven);
  ModelReplica other(25, 1024, 100);
  other.CommitRandomly(12, 30);
  for (const FileId& id : {Id(9, 1, 8), Id(1, 7, 8), Id(0, 8, 8), Id(0, 12, 12), Id(1, 9, 11)}) {
    SCOPED_TRACE(FileLabel(id));
    for (const bool proof : {true, false}) {
      SCOPED_TRACE(proof);
      other.Put(*client_, id.level, id.txids, {.proof = proof});
      // Nothing else speaks of the last transaction.
      const bool alone = !proof && id == Id(0, 12, 12);
      EXPECT_EQ(Problems().empty(), alone);
      EXPECT_TRUE(!alone || !Verify().proven);
    }
    model.Put(*client_, id.level, id.txids, kProven);
  }
  EXPECT_THAT(Problems(), IsEmpty());
}

TEST_F(VerifyTest, ProofThatItsOwnPagesContradict) {
  ModelReplica model(26, 1024);
  model.Commit(8, 0);
  model.Commit(8, 3);
  model.Commit(8, 3);
  for (std::uint64_t t = 1; t <= 3; ++t) model.Put(*client_, 0, t, t, kProven);
  LtxHeader header = ParseLtxHeader(Content(Id(0, 3, 3))).value();
  header.SetProof(LtxProof{.before = header.Proof()->before, .after = 12345});
  testing::VectorSink sink;
  LtxEncoder encoder(sink);
  ASSERT_TRUE(encoder.Begin(header).ok());
  ASSERT_TRUE(encoder.AddPage(Pgno{1}, model.RandomPage()).ok());
  ASSERT_TRUE(encoder.Finish(std::nullopt).ok());
  ModelReplica::PutBytes(*client_, Id(0, 3, 3), sink.bytes());
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("the database checksum after it is")));
  EXPECT_FALSE(Verify().proven);
}

TEST_F(VerifyTest, HolesAndMissingBeginnings) {
  ModelReplica model(27, 1024);
  model.Commit(8, 0);
  for (int i = 0; i < 4; ++i) model.Commit(8, 2);
  for (std::uint64_t t = 1; t <= 5; ++t) model.Put(*client_, 0, t, t, kProven);
  Delete(Id(0, 3, 3));
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("have up to 0000000000000002 but next file starts "
                                                "at 0000000000000004")));
  EXPECT_FALSE(Verify().proven);
  Delete(Id(0, 1, 1));
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("transaction not available")));
  // Left-overs before a snapshot are no hole.
  model.Put(*client_, 9, 1, 4, kProven);
  EXPECT_THAT(Problems(), IsEmpty());
  EXPECT_TRUE(Verify().proven);
  // A name over other transactions.
  ModelReplica::PutBytes(*client_, Id(0, 3, 3), model.File({Txid{2}, Txid{2}}, kProven));
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("its name says otherwise")));
}

TEST_F(VerifyTest, MissingPage) {
  ModelReplica model(28, 1024);
  model.Commit(4, 0);
  model.Commit(9, 0);
  model.Put(*client_, 0, 1, 1, kStock);
  model.Put(*client_, 0, 2, 2, {.proof = false, .without = {7}});
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("page 7 of 9 is in none of the files")));
}

TEST_F(VerifyTest, FilesThatVanishMeanwhile) {
  Filled(29, kProven);
  const auto vanish = [&](const FileId& id) {
    store_.SetFaults([this, id, done = false](StorageCall call, const FileId&) mutable {
      if (call == StorageCall::kOpen && !done) {
        done = true;
        Delete(id);
      }
      return StorageFault::kNone;
    });
  };
  vanish(Id(0, 9, 9));  // Its merged twin is there.
  VerifyReport report = Verify();
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_TRUE(report.proven);
  EXPECT_EQ(report.file_count, 9);
  vanish(Id(0, 12, 12));
  EXPECT_EQ(VerifyReplica(ctx_, *client_, {}).error().code(), ErrorCode::kNotFound);
}

TEST_F(VerifyTest, ErrorsOfTheClientAndCancellation) {
  Filled(30, kProven);
  store_.SetFaults([](StorageCall, const FileId&) { return StorageFault::kFailBefore; });
  EXPECT_EQ(VerifyReplica(ctx_, *client_, {}).error().code(), ErrorCode::kUnavailable);
  store_.SetFaults([](StorageCall call, const FileId&) {
    return call == StorageCall::kRead ? StorageFault::kFailBefore : StorageFault::kNone;
  });
  EXPECT_EQ(VerifyReplica(ctx_, *client_, {}).error().code(), ErrorCode::kUnavailable);
  store_.SetFaults({});
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(VerifyReplica(Context(stop.get_token()), *client_, {}).error().code(),
            ErrorCode::kCancelled);
}

}  // namespace
}  // namespace litestream
