// Compacts every replica of the reference, and restores it at every transaction as before.

#include <filesystem>
#include <map>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/file/file_client.h"
#include "format/names.h"
#include "replica/compactor.h"
#include "replica/planned_file.h"
#include "replica/restore.h"
#include "tests/support/fault_env.h"
#include "tests/support/golden.h"
#include "tests/support/sha256.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Outcome = CompactionStep::Outcome;

class CompactedReplica {
 public:
  CompactedReplica(const fs::path& golden_case, const json& expected) {
    CopyTreeWithTimes(golden_case / "replica", dir_.path() / "replica", expected.at("files"));
    client_ = MakeFileClient(Env::Real(), {.root = dir_.path() / "replica", .owner = {}});
    env_.SetSparse(true);
    const auto listing = ListReplica(ctx_, *client_, /*exact_times=*/true);
    EXPECT_TRUE(listing.ok());
    catalogue_ = Catalogue::FromListing(listing.value());
  }
  const Catalogue& catalogue() const { return catalogue_; }
  ReplicaClient& client() { return *client_; }

  // Steps until there is nothing more to do.
  void Compact(Level level) {
    Compactor compactor({.client = *client_,
                         .catalogue = catalogue_,
                         .bounds = {.max_files = 7, .max_bytes = 1 << 20}});
    for (;;) {
      const auto step = level == kSnapshotLevel ? compactor.CompactSnapshot(ctx_, 1ULL << 40)
                                                : compactor.CompactLevel(ctx_, level);
      ASSERT_TRUE(step.ok()) << step.error().message();
      if (step.value().outcome != Outcome::kWritten) {
        EXPECT_NE(step.value().outcome, Outcome::kBadSource) << step.value().bad->error.message();
        EXPECT_NE(step.value().outcome, Outcome::kGap);
        return;
      }
      ++written_;
    }
  }
  int written() const { return written_; }

  // SHA-256 of the database at this transaction, from the files of `lowest` and the levels above.
  std::string Sha256At(Txid txid, Level lowest) {
    ReplicaListing listing = catalogue_.Listing();
    for (std::size_t n = 0; n < lowest.value; ++n) listing.levels[n].clear();
    const auto plan = PlanRestore(listing, {.txid = txid, .before = {}});
    if (!plan.ok()) return plan.error().message();
    RestoreOptions options;
    options.output = dir_.path() / "out.db";
    options.replace = true;
    const auto report = Restore(ctx_, env_, *client_, plan.value(), options);
    return report.ok() ? Sha256HexOfFile(options.output) : report.error().message();
  }

 private:
  const Context ctx_ = Context::Background();
  TempDir dir_;
  testing::FaultEnv env_{Env::Real()};
  std::unique_ptr<ReplicaClient> client_;
  Catalogue catalogue_;
  int written_ = 0;
};

TEST(GoldenReplicas, CompactedTheyRestoreAsBefore) {
  int written = 0;
  int restored = 0;
  for (const fs::path& golden_case : GoldenCases("replica-file")) {
    SCOPED_TRACE(golden_case.filename());
    const std::string name = golden_case.filename();
    if (name == "lockpage" || name == "gap") continue;  // Large; damaged on purpose.
    const json expected = LoadJson(golden_case / "expected.json");
    std::map<Txid, std::string> states;
    for (const json& want :
         expected.at(expected.contains("correct_txids") ? "correct_txids" : "txids")) {
      if (want.contains("error")) continue;
      states[ParseTxid(want.at("txid").get<std::string>()).value()] =
          want.at("sha256").get<std::string>();
    }
    CompactedReplica replica(golden_case, expected);
    for (const std::uint8_t level : {1, 2, 3, 9}) replica.Compact(Level{level});
    for (const auto& [txid, sha256] : states) {
      EXPECT_EQ(replica.Sha256At(txid, kLevel0), sha256) << FormatTxid(txid);
      ++restored;
    }
    for (std::uint8_t n = 1; n <= 3; ++n) {
      for (std::size_t i = 0; i < replica.catalogue().count(Level{n}); ++i) {
        const FileId id = replica.catalogue().at(Level{n}, i).id;
        if (!states.contains(id.txids.max)) continue;
        EXPECT_EQ(replica.Sha256At(id.txids.max, Level{n}), states[id.txids.max]) << FileLabel(id);
      }
    }
    written += replica.written();
  }
  EXPECT_GT(written, 100);
  EXPECT_GT(restored, 200);
}

}  // namespace
}  // namespace litestream
