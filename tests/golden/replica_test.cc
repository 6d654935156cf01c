// Restores every replica of the reference at every transaction and time that it lists.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/file/file_client.h"
#include "format/names.h"
#include "replica/restore.h"
#include "replica/restore_points.h"
#include "replica/retention.h"
#include "replica/verify.h"
#include "tests/support/fault_env.h"
#include "tests/support/golden.h"
#include "tests/support/sha256.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Rounded up to milliseconds: files have times in milliseconds, and must be older.
WallTime TimeOf(const std::string& text) {
  const auto time = ParseTimestamp(text);
  EXPECT_TRUE(time.ok()) << text;
  if (!time.ok()) return {};
  const std::size_t point = text.find('.');
  const bool more =
      point != std::string::npos &&
      text.find_first_of("123456789", std::min(text.size(), point + 4)) != std::string::npos;
  return time.value() + std::chrono::milliseconds(more ? 1 : 0);
}

std::vector<std::string> PlanText(const RestorePlan& plan) {
  std::vector<std::string> text;
  for (const FileInfo& file : plan.files) {
    text.push_back(std::to_string(file.id.level.value) + "/" + FormatTxid(file.id.txids.min) + "-" +
                   FormatTxid(file.id.txids.max));
  }
  return text;
}

// A copy of a golden replica.
class Replica {
 public:
  Replica(const fs::path& golden_case, const json& expected) {
    CopyTreeWithTimes(golden_case / "replica", root(), expected.at("files"));
    client_ = MakeFileClient(Env::Real(), {.root = root(), .owner = {}});
    env_.SetSparse(true);
  }
  fs::path root() const { return dir_.path() / "replica"; }
  ReplicaClient& client() { return *client_; }

  // What `restore` says: as the reference's message, or nothing.
  struct Outcome {
    std::string error;
    ErrorCode code = ErrorCode::kInternal;
    std::vector<std::string> plan;
    std::string sha256;
    std::uint64_t size = 0;
    std::optional<RestoreReport> report;
  };
  Outcome Run(const RestoreTarget& target) {
    Outcome outcome;
    const auto fail = [&](const Error& error) {
      outcome.error = error.message();
      outcome.code = error.code();
      return outcome;
    };
    const auto listing = ListReplica(Context::Background(), *client_, /*exact_times=*/true);
    if (!listing.ok()) return fail(listing.error());
    if (target.before && (*target.before < *listing.value().oldest_time() ||
                          *target.before > *listing.value().newest_time())) {
      return fail(Error(ErrorCode::kNotFound, "timestamp does not exist"));
    }
    const auto plan = PlanRestore(listing.value(), target);
    if (!plan.ok()) return fail(plan.error());
    outcome.plan = PlanText(plan.value());
    RestoreOptions options;
    options.output = dir_.path() / "out.db";
    auto report = Restore(Context::Background(), env_, *client_, plan.value(), options);
    EXPECT_EQ(fs::exists(options.output), report.ok());
    if (!report.ok()) return fail(report.error());
    outcome.report = report.value();
    outcome.size = fs::file_size(options.output);
    outcome.sha256 = Sha256HexOfFile(options.output);
    fs::remove(options.output);
    EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), {}), 1) << "something is left";
    return outcome;
  }

 private:
  TempDir dir_;
  testing::FaultEnv env_{Env::Real()};
  std::unique_ptr<ReplicaClient> client_;
};

// A restore that the reference cannot do, by its message.
void ExpectError(const Replica::Outcome& got, const json& want) {
  const std::string error = want.at("error").get<std::string>();
  EXPECT_NE(got.error, "") << "the reference says: " << error;
  if (error == "no matching backup files available") {
    EXPECT_EQ(got.code, ErrorCode::kNotFound);
    EXPECT_THAT(got.error, ::testing::StartsWith("transaction not available"));
  } else if (want.contains("plan_error")) {
    EXPECT_EQ(got.error, want.at("plan_error").get<std::string>());
  } else {
    EXPECT_EQ(got.code, ErrorCode::kCorruption) << got.error;
    EXPECT_EQ(got.plan, want.at("plan").get<std::vector<std::string>>());
    // The same words where the reference has words of its own.
    if (error.starts_with("invalid ltx file")) {
      EXPECT_EQ(got.error, error);
    }
    if (error.ends_with("file checksum mismatch")) {
      EXPECT_THAT(got.error, ::testing::HasSubstr("file checksum mismatch"));
    }
  }
}

void ExpectOutcome(Replica& replica, const RestoreTarget& target, const json& want,
                   bool same_plan = true) {
  const Replica::Outcome got = replica.Run(target);
  if (want.contains("error")) return ExpectError(got, want);
  EXPECT_EQ(got.error, "");
  EXPECT_EQ(got.size, want.at("size").get<std::uint64_t>());
  EXPECT_EQ(got.sha256, want.at("sha256").get<std::string>());
  if (want.contains("plan") && same_plan) {
    EXPECT_EQ(got.plan, want.at("plan").get<std::vector<std::string>>());
  }
  ASSERT_TRUE(got.report);
  EXPECT_EQ(got.report->page_count, want.at("pages").get<std::uint32_t>());
  EXPECT_EQ(got.report->proof, ProofState::kUnproven);
}

void ExpectAllOutcomes(Replica& replica, const json& expected, const char* txids) {
  for (const json& want : expected.value(txids, json::array())) {
    SCOPED_TRACE("txid " + want.at("txid").get<std::string>());
    const auto txid = ParseTxid(want.at("txid").get<std::string>());
    ASSERT_TRUE(txid.ok());
    ExpectOutcome(replica, {.txid = txid.value(), .before = {}}, want);
  }
  for (const json& want : expected.value("timestamps", json::array())) {
    const std::string text = want.at("timestamp").get<std::string>();
    SCOPED_TRACE("timestamp " + text);
    ExpectOutcome(replica, {.txid = {}, .before = TimeOf(text)}, want);
  }
}

// A database beyond 1 GiB: a test of its own, because hashing it takes as long as all the others.
constexpr const char* kLargeCase = "lockpage";

void ExpectCaseRestores(const fs::path& golden_case) {
  SCOPED_TRACE(golden_case.filename());
  const json expected = LoadJson(golden_case / "expected.json");
  // Nobody but us can restore files with database checksums: `correct_txids` says what they hold.
  const bool checksummed = expected.contains("correct_txids");
  Replica replica(golden_case, expected);
  ExpectAllOutcomes(replica, expected, checksummed ? "correct_txids" : "txids");
  if (!checksummed && golden_case.filename() != kLargeCase) {
    ExpectOutcome(replica, {}, expected.at("latest"));
  }
}

TEST(GoldenReplicas, RestoreAtEveryTransactionAndTime) {
  int count = 0;
  for (const fs::path& golden_case : GoldenCases("replica-file")) {
    if (golden_case.filename() == kLargeCase) continue;
    ExpectCaseRestores(golden_case);
    ++count;
  }
  EXPECT_GE(count, 30);
}

// Exactly the transactions that the reference restores are listed as points.
TEST(GoldenReplicas, RestorePointsAreWhatTheReferenceRestores) {
  int count = 0;
  for (const fs::path& golden_case : GoldenCases("replica-file")) {
    SCOPED_TRACE(golden_case.filename());
    const json expected = LoadJson(golden_case / "expected.json");
    if (expected.contains("correct_txids")) continue;  // The reference fails on what it listed.
    Replica replica(golden_case, expected);
    const auto listing = ListReplica(Context::Background(), replica.client(), true);
    ASSERT_TRUE(listing.ok());
    const RestorePoints found = FindRestorePoints(listing.value());
    std::vector<std::string> listed;
    for (const RestorePoint& point : found.points) listed.push_back(FormatTxid(point.txid));
    std::vector<std::string> restored;
    for (const json& want : expected.at("txids")) {
      if (!want.contains("error")) restored.push_back(want.at("txid").get<std::string>());
    }
    EXPECT_EQ(listed, restored);
    for (const RestoreHole& hole : found.holes) EXPECT_TRUE(hole.bridged_by);
    ++count;
  }
  EXPECT_GE(count, 30);
}

// After passes at all ages, everything but what is older than the window is restored as before.
TEST(GoldenReplicas, RetentionLeavesWhatItPromises) {
  int removed = 0;
  for (const fs::path& golden_case : GoldenCases("replica-file")) {
    const json expected = LoadJson(golden_case / "expected.json");
    if (expected.contains("correct_txids") || golden_case.filename() == kLargeCase) continue;
    SCOPED_TRACE(golden_case.filename());
    Replica replica(golden_case, expected);
    for (const int age : {0, 2, 5, 400, 100'000, 300'000}) {
      SCOPED_TRACE(age);
      const auto listing = ListReplica(Context::Background(), replica.client(), true);
      ASSERT_TRUE(listing.ok());
      const RetentionPolicy policy{.l0_retention = std::chrono::seconds(1),
                                   .snapshot_retention = std::chrono::seconds(3)};
      const auto plan = PlanRetention(listing.value(), policy,
                                      *listing.value().newest_time() + std::chrono::seconds(age));
      ASSERT_TRUE(plan.ok()) << plan.error().message();
      std::vector<FileId> ids;
      for (const RetentionVerdict& verdict : plan.value().remove) ids.push_back(verdict.file.id);
      removed += static_cast<int>(ids.size());
      ASSERT_TRUE(replica.client().Delete(Context::Background(), ids).ok());
      if (ids.empty()) continue;
      ExpectOutcome(replica, {}, expected.at("latest"), /*same_plan=*/false);
      const auto left = ListReplica(Context::Background(), replica.client(), true);
      for (const RestorePoint& point : FindRestorePoints(left.value()).points) {
        for (const json& want : expected.at("txids")) {
          if (want.at("txid") != FormatTxid(point.txid)) continue;
          ExpectOutcome(replica, {.txid = point.txid, .before = {}}, want, /*same_plan=*/false);
        }
      }
    }
  }
  EXPECT_GT(removed, 100);
}

TEST(GoldenReplicas, RestoreAcrossTheLockPage) {
  ExpectCaseRestores(GoldenDir() / "replica-file" / kLargeCase);
}

TEST(GoldenReplicas, DamagedVariants) {
  const fs::path golden_case = GoldenDir() / "replica-file/gap";
  const json expected = LoadJson(golden_case / "expected.json");
  int count = 0;
  for (const json& variant : expected.at("variants")) {
    const std::string name = variant.at("name").get<std::string>();
    SCOPED_TRACE(name);
    Replica replica(golden_case, expected);
    ApplyVariant(replica.root(), variant);
    ExpectOutcome(replica, {}, variant.at("latest"));
    if (name != "range-name-over-one-file") {
      ExpectAllOutcomes(replica, variant, "txids");
    } else {
      // The reference believes the name, and gives the state of TXID 5 as TXID 9.
      for (const json& want : variant.at("txids")) {
        const auto txid = ParseTxid(want.at("txid").get<std::string>());
        SCOPED_TRACE(FormatTxid(txid.value()));
        const RestoreTarget target{.txid = txid.value(), .before = {}};
        if (txid.value() == Txid{9}) {
          EXPECT_EQ(replica.Run(target).code, ErrorCode::kCorruption);
        } else {
          ExpectOutcome(replica, target, want);
        }
      }
    }
    ++count;
  }
  EXPECT_GE(count, 19);
}

TEST(GoldenReplicas, AClockThatJumpedBackLeavesAHoleThatThePlanNames) {
  const fs::path golden_case = GoldenDir() / "replica-file/gap";
  const json expected = LoadJson(golden_case / "expected.json");
  for (const json& variant : expected.at("variants")) {
    if (variant.at("name") != "clock-jumps-back") continue;
    Replica replica(golden_case, expected);
    ApplyVariant(replica.root(), variant);
    const auto listing = ListReplica(Context::Background(), replica.client(), true);
    ASSERT_TRUE(listing.ok());
    const WallTime time = TimeOf(variant.at("timestamps").at(1).at("timestamp").get<std::string>());
    const auto plan = PlanRestore(listing.value(), {.txid = {}, .before = time});
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(plan.value().max_txid(), Txid{4});
    EXPECT_EQ(plan.value().next_behind_hole, Txid{6});
    return;
  }
  FAIL() << "the variant is gone";
}

TEST(GoldenReplicas, VerifyFindsNothingInWhatIsRightAndSomethingInWhatIsNot) {
  for (const fs::path& golden_case : GoldenCases("replica-file")) {
    SCOPED_TRACE(golden_case.filename());
    const json expected = LoadJson(golden_case / "expected.json");
    Replica replica(golden_case, expected);
    const auto report = VerifyReplica(Context::Background(), replica.client(), {});
    ASSERT_TRUE(report.ok()) << report.error().message();
    for (const VerifyProblem& problem : report.value().problems) ADD_FAILURE() << problem.what;
    EXPECT_EQ(report.value().file_count, static_cast<int>(expected.at("files").size()));
    EXPECT_EQ(report.value().unproven_files, report.value().file_count);
    EXPECT_FALSE(report.value().proven);
    for (const json& variant : expected.value("variants", json::array())) {
      SCOPED_TRACE(variant.at("name").get<std::string>());
      Replica damaged(golden_case, expected);
      ApplyVariant(damaged.root(), variant);
      const auto verdict = VerifyReplica(Context::Background(), damaged.client(), {});
      ASSERT_TRUE(verdict.ok()) << verdict.error().message();
      const bool bad = variant.at("latest").contains("error");
      EXPECT_EQ(!verdict.value().problems.empty(), bad);
    }
  }
}

}  // namespace
}  // namespace litestream
