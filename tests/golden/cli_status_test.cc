// What `status` says: locally, and with -v of the replicas.

#include <nlohmann/json.hpp>

#include "tests/golden/cli_process.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class CliStatusTest : public CliProcessTest {
 protected:
  // Three transactions, on two replicas.
  void SetUp() override {
    WriteFile("c.yml", "dbs:\n  - path: " + Path("db") +
                           "\n    replicas:\n      - {path: " + Path("r1") +
                           ", name: one}\n      - {path: " + Path("r2") + ", name: two}\n");
    for (int i = 0; i < 3; ++i) {
      app_.Exec("INSERT INTO t VALUES (1)");
      ASSERT_EQ(Run({"replicate", "-once", "-config", Path("c.yml")}), 0);
    }
  }
  std::string Status(std::vector<std::string> arguments, int code = 0) {
    arguments.insert(arguments.begin(), {"status", "-config", Path("c.yml")});
    std::string output;
    EXPECT_EQ(Run(arguments, &output), code) << output;
    return output;
  }
  json StatusJson(std::vector<std::string> arguments, int code = 0) {
    arguments.insert(arguments.begin(), "-json");
    json parsed = json::parse(Status(std::move(arguments), code), nullptr, false);
    EXPECT_TRUE(parsed.is_array() && parsed.size() == 1);
    return parsed[0];
  }
  fs::path File(const std::string& replica, int txid) const {
    const std::string name = "000000000000000" + std::to_string(txid);
    return dir_.path() / replica / "ltx/0" / (name + "-" + name + ".ltx");
  }
  // Flips a bit of a file.
  static void Damage(const fs::path& path, std::size_t offset) {
    auto bytes = ReadWholeFile(path);
    bytes.at(offset) ^= std::byte{1};
    WriteWholeFile(path, bytes);
  }
};

TEST_F(CliStatusTest, ThePlainFormIsThatOfLitestream) {
  const std::string path = Path("db");
  const std::string blanks(path.size() - std::string("database").size(), ' ');
  const std::string plain = "database" + blanks + "  status  local txid        wal size\n" + path +
                            "  ok      0000000000000003  0 B\n";
  app_.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  EXPECT_EQ(Status({}), plain);
  EXPECT_TRUE(Status({"-v"}).starts_with(plain + "\n" + path + ": can be restored now to "));
}

TEST_F(CliStatusTest, SaysToWhenItCanBeRestored) {
  const json status = StatusJson({"-v"});
  EXPECT_EQ(status.at("restorable"), true);
  EXPECT_EQ(status.at("restorable_txid"), "0000000000000003");
  EXPECT_EQ(status.at("restorable_until"), status.at("local_time"));
  EXPECT_EQ(status.at("proof"), "carried");
  for (const json& replica : status.at("replicas")) {
    EXPECT_EQ(replica.at("state"), "ok");
    EXPECT_EQ(replica.at("oldest_txid"), "0000000000000001");
    EXPECT_EQ(replica.at("points"), 3);
    EXPECT_EQ(replica.at("behind_txids"), 0);
    EXPECT_EQ(replica.at("behind_ms"), 0);
  }
  // What it names is what a restore gets.
  std::string output;
  EXPECT_EQ(Run({"restore", "-txid", status.at("restorable_txid"), "-o", Path("out"), Url("r1")},
                &output),
            0)
      << output;
  EXPECT_EQ(StatusJson({"-verify"}).at("proof"), "proven");
}

TEST_F(CliStatusTest, AReplicaThatIsBehind) {
  fs::remove(File("r1", 3));
  const json status = StatusJson({"-v"});
  EXPECT_EQ(status.at("restorable_from"), "two");
  const json& one = status.at("replicas")[0];
  EXPECT_EQ(one.at("newest_txid"), "0000000000000002");
  EXPECT_EQ(one.at("behind_txids"), 1);
  EXPECT_GT(one.at("behind_ms").get<int>(), 0);
  fs::remove(File("r2", 3));
  EXPECT_NE(Status({"-v"}).find("; 1 captured since then are not there"), std::string::npos);
}

TEST_F(CliStatusTest, AReplicaThatCannotBeReadHidesNoOther) {
  fs::remove_all(Path("r1"));
  WriteFile("r1", "no directory");
  const json status = StatusJson({"-v"});
  EXPECT_EQ(status.at("restorable_from"), "two");
  EXPECT_EQ(status.at("replicas")[0].at("state"), "unreachable");
  EXPECT_NE(status.at("replicas")[0].at("error"), "");
  EXPECT_EQ(status.at("replicas")[1].at("state"), "ok");

  fs::remove_all(Path("r2"));
  const json none = StatusJson({"-v"}, 1);
  EXPECT_EQ(none.at("restorable"), false);
  EXPECT_EQ(none.at("replicas")[1].at("state"), "empty");
  EXPECT_NE(Status({"-v"}, 1).find("cannot be restored now"), std::string::npos);
  // Litestream's form is about the local files.
  Status({});
}

TEST_F(CliStatusTest, ADamagedReplicaIsNoneToRestoreFrom) {
  fs::remove_all(Path("r2"));
  Damage(File("r1", 3), 0);
  const json status = StatusJson({"-v"}, 1);
  EXPECT_EQ(status.at("restorable"), false);
  EXPECT_EQ(status.at("replicas")[0].at("state"), "damaged");
  EXPECT_EQ(status.at("replicas")[0].at("proof"), "unreadable");
  Damage(File("r1", 3), 0);
  // Of what stands behind the header only -verify knows.
  Damage(File("r1", 3), 110);
  EXPECT_EQ(StatusJson({"-v"}).at("proof"), "carried");
  const json verified = StatusJson({"-verify"}, 1);
  EXPECT_EQ(verified.at("restorable"), false);
  EXPECT_EQ(verified.at("replicas")[0].at("proof"), "broken");
  EXPECT_EQ(verified.at("replicas")[0].at("problems").size(), 1U) << verified.dump(2);
}

TEST_F(CliStatusTest, AHoleIsSaid) {
  fs::remove(File("r1", 2));
  fs::remove_all(Path("r2"));
  const json status = StatusJson({"-v"});
  EXPECT_EQ(status.at("replicas")[0].at("state"), "hole");
  EXPECT_EQ(status.at("restorable_txid"), "0000000000000001");
  EXPECT_EQ(status.at("replicas")[0].at("behind_txids"), 2);
  const std::string text = Status({"-v"});
  EXPECT_NE(text.find("(with -txid only: a hole follows)"), std::string::npos) << text;
  EXPECT_NE(text.find("one: hole: 0000000000000002"), std::string::npos) << text;
  fs::remove(File("r1", 1));
  EXPECT_EQ(StatusJson({"-v"}, 1).at("replicas")[0].at("state"), "useless");
}

TEST_F(CliStatusTest, WhetherSomebodyReplicates) {
  EXPECT_NE(StatusJson({}).at("replicator"), "running");
  {
    Process process({"replicate", "-config", Path("c.yml")});
    ASSERT_TRUE(process.WaitFor("replicating to"));
    app_.Exec("INSERT INTO t VALUES (1)");
    ASSERT_TRUE(process.WaitFor("ltx file uploaded"));
    EXPECT_EQ(StatusJson({}).at("replicator"), "running");
  }
  // Killed.
  EXPECT_EQ(StatusJson({}).at("replicator"), "none");
  fs::remove_all(Path(".db-litestream"));
  const json status = StatusJson({"-v"});
  EXPECT_EQ(status.at("replicator"), "none");
  EXPECT_EQ(status.at("status"), "not initialized");
  EXPECT_EQ(status.at("local_txid"), "-");
  EXPECT_EQ(status.at("restorable"), true);
}

TEST_F(CliStatusTest, ALostDatabaseInADirectory) {
  WriteFile("c.yml", "dbs:\n  - dir: " + Path("dbs") +
                         "\n    pattern: '*.db'\n    replica: {path: " + Path("r") + "}\n");
  fs::create_directory(Path("dbs"));
  for (const char* const name : {"dbs/a.db", "dbs/b.db"}) {
    SqliteApp(Path(name)).Exec("CREATE TABLE t (x)");
  }
  ASSERT_EQ(Run({"replicate", "-once", "-config", Path("c.yml")}), 0);
  const std::string all = Status({"-v"});
  EXPECT_NE(all.find(Path("dbs/a.db") + ": can be restored now"), std::string::npos) << all;
  EXPECT_NE(all.find(Path("dbs/b.db") + ": can be restored now"), std::string::npos) << all;
  fs::remove(Path("dbs/a.db"));
  // The argument is expanded as the file's paths are.
  const std::string relative = fs::relative(Path("dbs/../dbs/a.db"));
  const json lost = StatusJson({"-v", relative});
  EXPECT_EQ(lost.at("database"), Path("dbs/a.db"));
  EXPECT_EQ(lost.at("status"), "no database");
  EXPECT_EQ(lost.at("restorable"), true);
  Status({"-v", Path("dbs/c.txt")}, 1);
}

}  // namespace
}  // namespace litestream
