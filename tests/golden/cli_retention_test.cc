// What can be restored from a replica, what retention would remove, and the listings of v0.3.

#include <nlohmann/json.hpp>

#include "format/names.h"
#include "tests/golden/cli_process.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::hours;
using std::chrono::minutes;

class CliRetentionTest : public CliProcessTest {
 protected:
  // A copy of a replica that the reference wrote.
  void CopyGolden(const std::string& section, const std::string& name, const std::string& to) {
    const fs::path source = GoldenDir() / section / name;
    CopyTreeWithTimes(source / "replica", dir_.path() / to,
                      LoadJson(source / "expected.json").at("files"));
  }
  // A file that is only listed, so old.
  void Put(const std::string& replica, int level, std::uint64_t min, std::uint64_t max,
           std::chrono::nanoseconds age) {
    const fs::path path = dir_.path() / replica / "ltx" / std::to_string(level) /
                          FormatLtxFilename({Txid{min}, Txid{max}});
    WriteWholeFile(path, std::vector<std::byte>(1000));
    SetMtime(path, (std::chrono::system_clock::now().time_since_epoch() - age).count());
  }
  json RunJson(const std::vector<std::string>& arguments, int code = 0) {
    std::string output;
    EXPECT_EQ(Run(arguments, &output), code) << output;
    const json parsed = json::parse(output, nullptr, false);
    EXPECT_TRUE(parsed.is_array()) << output;
    return parsed;
  }
  static std::vector<std::string> Names(const json& verdicts) {
    std::vector<std::string> names;
    for (const json& v : verdicts) {
      names.push_back(std::to_string(v.at("level").get<int>()) + " " +
                      v.at("min_txid").get<std::string>().substr(14) + "-" +
                      v.at("max_txid").get<std::string>().substr(14));
    }
    return names;
  }
};

TEST_F(CliRetentionTest, EveryPointThatIsListedIsRestored) {
  for (int i = 0; i < 3; ++i) {
    app_.Exec("INSERT INTO t VALUES (1)");
    ASSERT_EQ(Run({"replicate", "-once", Path("db"), Url("r")}), 0);
  }
  const json points = RunJson({"restore-points", "-list", "-proof", "-json", Url("r")});
  ASSERT_EQ(points.size(), 1U);
  const json& list = points[0].at("list");
  ASSERT_EQ(list.size(), 3U);
  int rows = 0;
  for (const json& point : list) {
    const std::string txid = point.at("txid").get<std::string>();
    const std::string out = Path("out-" + txid);
    EXPECT_EQ(Run({"restore", "-txid", txid, "-o", out, Url("r")}), 0);
    SqliteApp copy(out);
    EXPECT_EQ(copy.Int("SELECT count(*) FROM t"), ++rows);
    EXPECT_EQ(point.at("proof"), "carried");
    EXPECT_TRUE(point.at("by_time").get<bool>());
  }
  // A moment just behind a point's time leads to it.
  const auto time = ParseTimestamp(list[1].at("time").get<std::string>());
  ASSERT_TRUE(time.ok());
  std::string output;
  EXPECT_EQ(Run({"restore", "-dry-run", "-json", "-timestamp",
                 FormatTimestampMillis(time.value() + std::chrono::milliseconds(1)), "-o",
                 Path("x"), Url("r")},
                &output),
            0);
  EXPECT_EQ(json::parse(output).at("max_txid"), list[1].at("txid")) << output;
  // As a table: one stretch.
  EXPECT_EQ(Run({"restore-points", Url("r")}, &output), 0);
  EXPECT_NE(output.find("\n  0      3       0000000000000001  0000000000000003  "),
            std::string::npos)
      << output;
}

TEST_F(CliRetentionTest, PointsOfTheReference) {
  CopyGolden("replica-file", "levels", "r");
  const json points = RunJson({"restore-points", "-proof", "-json", Url("r")})[0];
  EXPECT_EQ(points.at("points"), 14);
  ASSERT_EQ(points.at("stretches").size(), 3U);
  EXPECT_EQ(points.at("stretches")[0].at("level"), 9);
  EXPECT_EQ(points.at("stretches")[0].at("newest").at("proof"), "none");
  EXPECT_EQ(points.at("stretches")[2].at("level"), 0);
  EXPECT_EQ(points.at("stretches")[2].at("points"), 10);
  EXPECT_EQ(points.at("stretches")[2].at("newest").at("txid"), "0000000000000052");

  // Without snapshots there is no beginning.
  fs::remove_all(Path("r/ltx/9"));
  std::string output;
  EXPECT_EQ(Run({"restore-points", Url("r")}, &output), 1);
  EXPECT_NE(output.find("nothing can be restored\n  hole: 0000000000000001 to "), std::string::npos)
      << output;
  EXPECT_NE(output.find("; a restore of everything fails"), std::string::npos) << output;
  EXPECT_EQ(RunJson({"restore-points", "-json", Url("none")}, 1)[0].at("points"), 0);
}

TEST_F(CliRetentionTest, DryRunShowsWhatWouldGo) {
  Put("r", 9, 1, 0x10, hours(60));
  Put("r", 9, 1, 0x20, hours(40));
  Put("r", 9, 1, 0x30, hours(12));
  Put("r", 1, 0x01, 0x0f, hours(61));
  Put("r", 1, 0x10, 0x20, hours(40));
  Put("r", 1, 0x21, 0x30, hours(12));
  Put("r", 0, 0x2f, 0x2f, hours(13));
  Put("r", 0, 0x30, 0x30, hours(12));
  Put("r", 0, 0x31, 0x31, minutes(1));
  std::string output;
  const json report = RunJson({"retention", "-dry-run", "-json", Url("r")})[0];
  EXPECT_EQ(Names(report.at("remove")),
            (std::vector<std::string>{"0 2f-2f", "1 01-0f", "9 01-10"}));
  EXPECT_EQ(report.at("keep").size(), 6U);
  EXPECT_EQ(report.at("base_txid"), "0000000000000020");
  EXPECT_EQ(report.at("remove_bytes"), 3000);
  EXPECT_EQ(report.at("restorable").at("stretches")[0].at("oldest").at("txid"), "0000000000000020");
  EXPECT_EQ(Run({"retention", "-dry-run", Url("r")}, &output), 0);
  for (const char* const text :
       {"would remove: 3 files, 3.0 kB\n", "a snapshot older than the window needs",
        "base: snapshot 0000000000000020 of ", "the snapshot that the window begins with",
        "restorable afterwards: 3 points\n"}) {
    EXPECT_NE(output.find(text), std::string::npos) << text << " in " << output;
  }
  EXPECT_TRUE(fs::exists(Path("r/ltx/9/0000000000000001-0000000000000010.ltx")));

  // As configured.
  const auto remove = [&](const std::string& keys) {
    WriteFile("c.yml", keys + "dbs:\n  - path: " + Path("db") +
                           "\n    replica: {path: " + Path("r") + "}\n");
    return Names(
        RunJson({"retention", "-dry-run", "-json", "-config", Path("c.yml"), Path("db")})[0].at(
            "remove"));
  };
  using Removed = std::vector<std::string>;
  EXPECT_EQ(remove(""), (Removed{"0 2f-2f", "1 01-0f", "9 01-10"}));
  EXPECT_EQ(remove("retention: {enabled: false}\n"), Removed());
  EXPECT_EQ(remove("retention: {keep: {hourly: 3}}\n"), (Removed{"0 2f-2f", "1 01-0f"}));
  EXPECT_EQ(remove("snapshot: {retention: 48h}\nl0-retention: 0s\n"), Removed());
  EXPECT_EQ(remove("snapshot: {retention: 50h}\n"), (Removed{"0 2f-2f"}));
  EXPECT_EQ(Names(RunJson({"retention", "-dry-run", "-json", "-snapshot-retention", "50h",
                           "-l0-retention", "0s", Url("r")})[0]
                      .at("remove")),
            Removed());
}

TEST_F(CliRetentionTest, EnforceRetention) {
  WriteFile("c.yml", "dbs:\n  - path: " + Path("db") +
                         "\n    replicas:\n      - {path: " + Path("r1") +
                         ", name: first}\n      - {path: " + Path("r2") + ", name: second}\n");
  const std::vector<std::string> once = {"replicate", "-once", "-force-snapshot"};
  const std::vector<std::string> configured = {"-config", Path("c.yml")};
  for (int i = 0; i < 4; ++i) {
    app_.Exec("INSERT INTO t VALUES (1)");
    std::vector<std::string> arguments = once;
    arguments.insert(arguments.end(), configured.begin(), configured.end());
    ASSERT_EQ(Run(arguments), 0);
  }
  // As if it had taken days.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  for (const char* const replica : {"r1", "r2"}) {
    for (int txid = 1; txid <= 4; ++txid) {
      const auto at = (now - hours(20 * (5 - txid))).count();
      const std::string max = "000000000000000" + std::to_string(txid) + ".ltx";
      SetMtime(Path(std::string(replica) + "/ltx/9/0000000000000001-" + max), at);
      SetMtime(
          Path(std::string(replica) + "/ltx/0/000000000000000" + std::to_string(txid) + "-" + max),
          at);
    }
  }
  for (const auto& entry : fs::directory_iterator(Path(".db-litestream"))) {
    if (entry.path().filename().string().starts_with("catalogue-")) fs::remove(entry.path());
  }
  const json reports =
      RunJson({"retention", "-dry-run", "-json", "-config", Path("c.yml"), Path("db")});
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_GE(reports[0].at("remove").size(), 3U) << reports[0].dump(2);
  EXPECT_EQ(reports[0].at("base_txid"), "0000000000000003");
  // Nothing of it happens by itself.
  std::string output;
  EXPECT_EQ(Run({"replicate", "-once", "-config", Path("c.yml")}, &output), 0);
  EXPECT_TRUE(fs::exists(Path("r1/ltx/9/0000000000000001-0000000000000001.ltx")));
  EXPECT_EQ(Run({"replicate", "-once", "-enforce-retention", "-config", Path("c.yml")}, &output),
            0);
  EXPECT_NE(output.find("msg=\"enforcing retention\" path=" + Path("db")), std::string::npos)
      << output;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string replica = i == 0 ? "r1" : "r2";
    SCOPED_TRACE(replica);
    for (const char* const kept : {"remove", "keep"}) {
      for (const json& verdict : reports[i].at(kept)) {
        const std::string file = replica + "/ltx/" +
                                 std::to_string(verdict.at("level").get<int>()) + "/" +
                                 verdict.at("name").get<std::string>();
        EXPECT_EQ(fs::exists(Path(file)), std::string(kept) == "keep") << file;
      }
    }
    EXPECT_EQ(Restored(replica), 4);
    const json points = RunJson({"restore-points", "-json", Url(replica)})[0];
    EXPECT_EQ(points.at("stretches"), reports[i].at("restorable").at("stretches"));
  }
  // The next run builds on what is left.
  app_.Exec("INSERT INTO t VALUES (1)");
  EXPECT_EQ(Run({"replicate", "-once", "-enforce-retention", "-config", Path("c.yml")}, &output),
            0);
  EXPECT_EQ(Restored("r1"), 5);
}

TEST_F(CliRetentionTest, SeveralReplicas) {
  Put("r1", 9, 1, 3, hours(1));
  Put("r2", 9, 1, 5, hours(1));
  WriteFile("c.yml", "dbs:\n  - path: " + Path("db") +
                         "\n    replicas:\n      - {path: " + Path("r1") +
                         ", name: first}\n      - {path: " + Path("r2") + ", name: second}\n");
  const std::vector<std::string> rest = {"-json", "-config", Path("c.yml"), Path("db")};
  for (const std::vector<std::string>& start :
       std::vector<std::vector<std::string>>{{"restore-points"},
                                             {"retention", "-dry-run"},
                                             {"snapshots"},
                                             {"snapshots", "list"},
                                             {"generations"}}) {
    SCOPED_TRACE(start.back());
    std::vector<std::string> arguments = start;
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    EXPECT_EQ(RunJson(arguments).size(), 2U);
    arguments.insert(arguments.end() - 1, {"-replica", "second"});
    EXPECT_EQ(RunJson(arguments).size(), 1U);
  }
}

TEST_F(CliRetentionTest, CommandsOfVersion03) {
  CopyGolden("replica-file", "levels", "r");
  std::string output;
  std::string level9;
  EXPECT_EQ(Run({"ltx", "-level", "9", Url("r")}, &level9), 0);
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"snapshots", Url("r")}, {"snapshots", "list", Url("r")}}) {
    EXPECT_EQ(Run(arguments, &output), 0);
    EXPECT_EQ(output, level9);
  }
  std::string level0;
  EXPECT_EQ(Run({"ltx", Url("r")}, &level0), 0);
  EXPECT_EQ(Run({"wal", "list", "-replica", "file", Url("r")}, &output), 0);
  EXPECT_EQ(output, "Warning: 'wal' command is deprecated, please use 'ltx' instead\n" + level0);
  const json generation = RunJson({"generations", "-json", Url("r")})[0];
  EXPECT_EQ(generation.at("name"), "file");
  EXPECT_EQ(generation.at("start"), "2026-11-21T10:54:13Z");
  EXPECT_EQ(generation.at("end"), "2026-11-21T10:54:28Z");
  EXPECT_EQ(Run({"generations", Url("none")}, &output), 0);
  EXPECT_EQ(output, "name  generation  lag  start  end\n");

  CopyGolden("v03", "one-generation", "old");
  CopyGolden("v03", "one-generation", "r");  // Beside the newer files.
  for (const char* const command : {"generations", "snapshots", "wal"}) {
    SCOPED_TRACE(command);
    EXPECT_EQ(Run({command, Url("old")}, &output), 1);
    EXPECT_NE(output.find("old holds a backup of Litestream v0.3 (generations/), which is not "
                          "supported yet\n"),
              std::string::npos)
        << output;
    EXPECT_EQ(Run({command, Url("r")}, &output), 0);
    EXPECT_NE(output.find("not supported yet; only what was written since is shown\n"),
              std::string::npos)
        << output;
  }
  EXPECT_EQ(Run({"snapshots", "-generation", "a234ebf953c836fe", Url("r")}, &output), 1);
  EXPECT_NE(output.find("backups of Litestream v0.3 are not supported yet"), std::string::npos);
}

TEST_F(CliRetentionTest, Mistakes) {
  const struct {
    std::vector<std::string> arguments;
    std::string says;
  } cases[] = {
      {{"restore-points"},
       "Error: database path or replica URL required\nTry: litestream restore-points "
       "/path/to/db\n"},
      {{"retention"},
       "Error: database path or replica URL required\n"
       "Try: litestream retention -dry-run /path/to/db\n"},
      {{"snapshots", "list"}, "Try: litestream snapshots /path/to/db\n"},
      {{"generations", ""}, "Try: litestream generations /path/to/db\n"},
      {{"restore-points", Url("r"), Url("r")}, "Error: too many arguments\n"},
      {{"retention", Url("r")},
       "Error: this command removes nothing; to see which files would go, use -dry-run; litestream "
       "replicate -once -enforce-retention removes them"},
      {{"retention", "-dry-run", "-snapshot-retention", "0s", Url("r")},
       "invalid value \"0s\" for flag -snapshot-retention: must be greater than 0"},
      {{"retention", "-dry-run", "-l0-retention", "-1s", Url("r")},
       "invalid value \"-1s\" for flag -l0-retention: must not be negative"},
      {{"restore-points", "-replica", "x", Url("r")}, "Error: replica \"x\" not found"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.says);
    std::string output;
    EXPECT_EQ(Run(c.arguments, &output), 1);
    EXPECT_NE(output.find(c.says), std::string::npos) << output;
  }
  EXPECT_EQ(Run({"retention", "-h"}), 0);
  EXPECT_EQ(Run({"help", "restore-points"}), 0);
}

}  // namespace
}  // namespace litestream
