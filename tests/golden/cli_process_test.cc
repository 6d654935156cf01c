// The program as a process: signals, the program beside it, exit codes, several replicas.

#include "tests/golden/cli_process.h"

#include <nlohmann/json.hpp>

namespace litestream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TEST_F(CliProcessTest, ASignalCapturesTheLastCommit) {
  for (const int signal : {SIGTERM, SIGINT}) {
    SCOPED_TRACE(signal);
    Process process({"replicate", Path("db"), Url("r")});
    ASSERT_TRUE(process.WaitFor("ltx file uploaded"));
    app_.Exec("INSERT INTO t VALUES (1)");
    process.Signal(signal);
    EXPECT_EQ(process.Wait(), 0) << process.output();
    EXPECT_NE(process.output().find(signal == SIGINT ? "signal=interrupt" : "signal=terminated"),
              std::string::npos)
        << process.output();
    EXPECT_NE(process.output().find("litestream shut down"), std::string::npos);
    EXPECT_EQ(Restored("r"), app_.Int("SELECT count(*) FROM t"));
    fs::remove_all(Path("r"));
    fs::remove_all(Path(".db-litestream"));
  }
}

TEST_F(CliProcessTest, ExitCodeOfTheProgramBeside) {
  const struct {
    std::vector<std::string> arguments;
    int code;
    const char* says;
  } cases[] = {
      {{"replicate", "-exec", "true", Path("db"), Url("r")}, 0, "subprocess exited"},
      {{"replicate", "-exec", "sh -c 'exit 7'", Path("db"), Url("r")}, 7, "Error: exit status 7"},
      {{"replicate", "-exec", "sh -c 'kill -KILL $$'", Path("db"), Url("r")},
       137,
       "Error: signal: signal 9"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.says);
    std::string output;
    EXPECT_EQ(Run(c.arguments, &output), c.code) << output;
    EXPECT_NE(output.find(c.says), std::string::npos) << output;
    EXPECT_NE(output.find("litestream shut down"), std::string::npos) << output;
  }
}

TEST_F(CliProcessTest, RunTakesTheWordsAsTheyAre) {
  WriteFile("c.yml",
            "dbs:\n  - path: " + Path("db") + "\n    replica: {path: " + Path("r") + "}\n");
  std::string output;
  EXPECT_EQ(Run({"run", "-config", Path("c.yml"), "--", "sh", "-c", "echo \"[$1]\"; exit 5", "sh",
                 "a  'b' ; c"},
                &output),
            5);
  EXPECT_NE(output.find("[a  'b' ; c]"), std::string::npos) << output;
}

TEST_F(CliProcessTest, TheProgramKeepsStdin) {
  Process process({"replicate", "-exec", "cat", Path("db"), Url("r")});
  process.Write("through\n");
  EXPECT_TRUE(process.WaitFor("through\n"));
  process.CloseInput();
  EXPECT_EQ(process.Wait(), 0);
}

TEST_F(CliProcessTest, TheProgramGetsTheSignalAndIsWaitedFor) {
  const struct {
    const char* script;
    int code;
  } cases[] = {
      {"trap 'echo stopping; exit 0' TERM; echo ready; while :; do read x || sleep 0.01; done", 0},
      {"trap 'echo stopping; exit 3' TERM; echo ready; while :; do read x || sleep 0.01; done", 3},
      {"echo ready; exec cat", 0},  // Ends by the signal.
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.script);
    Process process(
        {"replicate", "-exec", std::string("sh -c \"") + c.script + "\"", Path("db"), Url("r")});
    ASSERT_TRUE(process.WaitFor("ready"));
    app_.Exec("INSERT INTO t VALUES (1)");
    ASSERT_TRUE(process.WaitFor("ltx file uploaded"));
    app_.Exec("INSERT INTO t VALUES (2)");
    process.Signal(SIGTERM);
    EXPECT_EQ(process.Wait(), c.code) << process.output();
    EXPECT_NE(process.output().find("waiting for exec process to close"), std::string::npos);
    EXPECT_EQ(Restored("r"), app_.Int("SELECT count(*) FROM t")) << "closed with a last sync";
  }
}

TEST_F(CliProcessTest, TheProgramEndsWhenWeAreKilled) {
  Process process({"replicate", "-exec",
                   "sh -c \"trap 'echo told; exit' TERM; echo ready; while :; do read x || sleep "
                   "0.01; done\"",
                   Path("db"), Url("r")});
  ASSERT_TRUE(process.WaitFor("ready"));
  process.Signal(SIGKILL);
  EXPECT_TRUE(process.WaitFor("told"));
  EXPECT_EQ(process.Wait(), 1000 + SIGKILL);
}

TEST_F(CliProcessTest, AClosedStdoutDoesNotEndTheReplication) {
  Process process({"replicate", Path("db"), Url("r")});
  ASSERT_TRUE(process.WaitFor("ltx file uploaded"));
  process.CloseOutput();
  app_.Exec("INSERT INTO t VALUES (1)");
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_EQ(Restored("r"), 1);
}

// D17: nothing is deleted under a running engine.
TEST_F(CliProcessTest, ResetRefusesWhileItRuns) {
  Process process({"replicate", Path("db"), Url("r")});
  ASSERT_TRUE(process.WaitFor("ltx file uploaded"));
  std::string output;
  EXPECT_EQ(Run({"reset", Path("db")}, &output), 1);
  EXPECT_NE(output.find("a running litestream replicates"), std::string::npos) << output;
  EXPECT_TRUE(fs::exists(Path(".db-litestream/ltx/0")));
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_EQ(Run({"reset", Path("db")}), 0);
  EXPECT_FALSE(fs::exists(Path(".db-litestream/ltx")));
  EXPECT_FALSE(fs::exists(Path(".db-litestream/pages.sum")));
  app_.Exec("INSERT INTO t VALUES (1)");
  EXPECT_EQ(Run({"replicate", "-once", Path("db"), Url("r")}), 0);
  EXPECT_EQ(Restored("r"), 1);
}

// Without -config the default file says where the state is, as for every other command.
TEST_F(CliProcessTest, ResetReadsTheDefaultConfiguration) {
  WriteFile("c.yml", "dbs:\n  - path: " + Path("db") + "\n    meta-path: " + Path("state") +
                         "\n    replica: {path: " + Path("r") + "}\n");
  ASSERT_EQ(Run({"replicate", "-once", "-config", Path("c.yml")}), 0);
  ASSERT_TRUE(fs::exists(Path("state/ltx")));
  ::setenv("LITESTREAM_CONFIG", Path("c.yml").c_str(), 1);
  EXPECT_EQ(Run({"reset", Path("db")}), 0);
  EXPECT_FALSE(fs::exists(Path("state/ltx")));
  WriteFile("c.yml", "dbs: [\n");
  std::string output;
  EXPECT_EQ(Run({"reset", Path("db")}, &output), 1);
  EXPECT_NE(output.find("Error: cannot read config"), std::string::npos) << output;
  ::unsetenv("LITESTREAM_CONFIG");
}

// The second signal, or the first behind the program's end, ends the waiting for a replica that is
// away; the exit code tells.
TEST_F(CliProcessTest, ASecondSignalSkipsTheLastSync) {
  WriteFile("r", "not a directory");
  WriteFile("c.yml", "shutdown-sync-timeout: 1h\nshutdown-sync-interval: 10ms\ndbs:\n  - path: " +
                         Path("db") + "\n    replica: {path: " + Path("r") + "}\n");
  for (const bool child : {false, true}) {
    SCOPED_TRACE(child);
    std::vector<std::string> arguments = {"replicate", "-config", Path("c.yml")};
    if (child) arguments = {"replicate", "-config", Path("c.yml"), "-exec", "sh -c 'exit 0'"};
    Process process(arguments);
    if (!child) {
      ASSERT_TRUE(process.WaitFor("is not a directory"));
      process.Signal(SIGTERM);
    }
    ASSERT_TRUE(process.WaitFor("shutdown sync failed, retrying"));
    process.Signal(SIGTERM);
    EXPECT_EQ(process.Wait(), 1) << process.output();
    EXPECT_NE(process.output().find("Error: the last sync did not complete"), std::string::npos)
        << process.output();
  }
}

TEST_F(CliProcessTest, SeveralReplicas) {
  const std::string head = "dbs:\n  - path: " + Path("db") + "\n    replicas:\n";
  const std::string first = "      - {path: " + Path("r1") + ", name: first}\n";
  const std::string second = "      - {url: '" + Url("r2") + "', name: second}\n";
  WriteFile("both.yml", head + first + second);
  WriteFile("second.yml", head + second);
  ASSERT_EQ(Run({"replicate", "-once", "-config", Path("both.yml")}), 0);
  EXPECT_EQ(Restored("r1"), 0);
  EXPECT_EQ(Restored("r2"), 0);
  app_.Exec("INSERT INTO t VALUES (1)");
  ASSERT_EQ(Run({"replicate", "-once", "-config", Path("second.yml")}), 0);

  const auto rows = [&](const std::vector<std::string>& more) {
    const std::string out = Path("out");
    fs::remove(out);
    std::vector<std::string> arguments = {"restore", "-config", Path("both.yml"), "-o", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back(Path("db"));
    EXPECT_EQ(Run(arguments), 0);
    SqliteApp copy(out);
    return copy.Int("SELECT count(*) FROM t");
  };
  EXPECT_EQ(rows({}), 1) << "the one that reaches furthest";
  EXPECT_EQ(rows({"-replica", "first"}), 0);
  EXPECT_EQ(rows({"-replica", "second"}), 1);
  std::string output;
  EXPECT_EQ(Run({"restore", "-config", Path("both.yml"), "-replica", "third", Path("db")}, &output),
            1);
  EXPECT_NE(output.find("there is first, second"), std::string::npos) << output;

  EXPECT_EQ(Run({"ltx", "-config", Path("both.yml"), Path("db")}, &output), 0);
  EXPECT_NE(output.find("  replica\n"), std::string::npos) << output;
  EXPECT_NE(output.find("Z  second\n"), std::string::npos) << output;
  EXPECT_EQ(Run({"verify", "-json", "-config", Path("both.yml"), Path("db")}, &output), 0);
  const json report = json::parse(output);
  ASSERT_EQ(report.size(), 2U);
  EXPECT_EQ(report[1].at("replica"), "second");
  EXPECT_EQ(report[1].at("verdict"), "proven");
}

TEST_F(CliProcessTest, ForceSnapshot) {
  const std::vector<std::string> command = {"replicate", "-once", "-force-snapshot", Path("db"),
                                            Url("r")};
  const std::string snapshot = Path("r/ltx/9/0000000000000001-0000000000000001.ltx");
  std::string output;
  ASSERT_EQ(Run(command, &output), 0);
  EXPECT_NE(output.find("msg=\"taking snapshot\" path=" + Path("db")), std::string::npos) << output;
  ASSERT_TRUE(fs::exists(snapshot));
  WriteFile("r/ltx/9/0000000000000001-0000000000000001.ltx", "not a snapshot");
  ASSERT_EQ(Run(command), 0);
  EXPECT_EQ(Run({"verify", Url("r")}), 0);
  // What cannot be written is said to be the snapshot.
  fs::remove_all(Path("r/ltx/9"));
  WriteFile("r/ltx/9", "in the way");
  EXPECT_EQ(Run(command, &output), 1);
  EXPECT_NE(output.find("Error: snapshot " + Path("db") + ": replica file: "), std::string::npos)
      << output;
}

TEST_F(CliProcessTest, VerifyFindsADamagedFile) {
  app_.Exec("INSERT INTO t VALUES (randomblob(10000))");
  ASSERT_EQ(Run({"replicate", "-once", Path("db"), Url("r")}), 0);
  std::string output;
  EXPECT_EQ(Run({"verify", Url("r")}, &output), 0);
  EXPECT_NE(output.find("verdict: proven"), std::string::npos) << output;
  ApplyVariant(Path("r"), json::parse(R"({"flip": {"ltx/0/0000000000000001-0000000000000001.ltx":
                                                   [300, 1]}})"));
  EXPECT_EQ(Run({"verify", Url("r")}, &output), 1);
  EXPECT_NE(output.find("verdict: broken"), std::string::npos) << output;
  EXPECT_NE(output.find("problem: level 0 0000000000000001-0000000000000001.ltx: "),
            std::string::npos)
      << output;
  EXPECT_EQ(Run({"verify", Url("nothing")}, &output), 1);
}

// What is wrong, where, and what to do about it.
TEST_F(CliProcessTest, Mistakes) {
  const std::string url = Url("r");
  fs::create_directory(Path("directory"));
  const struct {
    std::vector<std::string> arguments;
    std::string says;
  } cases[] = {
      {{"restroe", url}, "unknown command\nTry: litestream restore\n"},
      {{"replicate", Path("db"), "s3:bucket/x"}, "replica url scheme required: s3:bucket/x"},
      {{"replicate", Path("db"), Path("db")}, "is the database " + Path("db")},
      {{"replicate", Path("db"), Path(".db-litestream/x")}, "lies in the local state of "},
      {{"replicate", Path("db"), "file:///"}, "needs a directory of its own"},
      {{"verify", "-config", Path("c.yml"), Path("directory")},
       "if it is a replica, write file://" + Path("directory")},
      {{"restore", "-o", Path("out"), Url("none")},
       "no matching backup files available in " + Path("none")},
      {{"restore", "-o", Path("out/"), Url("none")}, "output path is a directory"},
  };
  WriteFile("c.yml", "dbs: []\n");
  for (const auto& c : cases) {
    SCOPED_TRACE(c.says);
    std::string output;
    EXPECT_EQ(Run(c.arguments, &output), 1);
    EXPECT_NE(output.find(c.says), std::string::npos) << output;
    EXPECT_FALSE(fs::exists(Path(".db-litestream")));
    EXPECT_FALSE(fs::exists(Path("r")));
  }
}

// A hole in the newest state and before a moment: an error that says how far one gets.
TEST_F(CliProcessTest, AHoleIsSaid) {
  for (int i = 0; i < 4; ++i) {
    app_.Exec("INSERT INTO t VALUES (1)");
    ASSERT_EQ(Run({"replicate", "-once", Path("db"), Url("r")}), 0);
  }
  const std::string third = Path("r/ltx/0/0000000000000003-0000000000000003.ltx");
  const std::string fourth = Path("r/ltx/0/0000000000000004-0000000000000004.ltx");
  fs::remove(third);
  WriteFile("c.yml",
            "dbs:\n  - path: " + Path("db") + "\n    replica: {path: " + Path("r") + "}\n");
  const std::vector<std::string> base = {"restore", "-config", Path("c.yml"), "-o", Path("out")};
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, {"-timestamp", "2100-01-01T00:00:00Z"}}) {
    std::vector<std::string> arguments = base;
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.push_back(Path("db"));
    std::string output;
    EXPECT_EQ(Run(arguments, &output), 1);
    EXPECT_NE(
        output.find("have up to 0000000000000002 but next file starts at 0000000000000004; to "
                    "restore what is before the hole, use -txid 0000000000000002"),
        std::string::npos)
        << output;
    EXPECT_FALSE(fs::exists(Path("out")));
  }
  EXPECT_EQ(Run({"restore", "-txid", "0000000000000002", "-o", Path("out"), Url("r")}), 0);
}

// The database is what the link leads to.
TEST_F(CliProcessTest, RestoreFollowsALink) {
  ASSERT_EQ(Run({"replicate", "-once", Path("db"), Url("r")}), 0);
  fs::create_symlink("real", Path("link"));
  for (const char* const flag : {"-force=false", "-force"}) {
    EXPECT_EQ(Run({"restore", flag, "-o", Path("link"), Url("r")}), 0);
    EXPECT_TRUE(fs::is_symlink(Path("link")));
    EXPECT_TRUE(fs::is_regular_file(Path("real")));
    WriteFile("real", "old");
  }
  WriteFile("real", "");
  WriteFile("real-wal", "old");
  std::string output;
  EXPECT_EQ(Run({"restore", "-o", Path("link"), Url("r")}, &output), 1);
  EXPECT_NE(output.find("sidecar path already exists: " + Path("real-wal")), std::string::npos)
      << output;
}

// A replica that is away fails a single sync at once, whatever shutdown-sync-timeout says.
TEST_F(CliProcessTest, OnceDoesNotRetry) {
  WriteFile("r", "not a directory");
  WriteFile("c.yml", "shutdown-sync-timeout: 1h\ndbs:\n  - path: " + Path("db") +
                         "\n    replica: {path: " + Path("r") + "}\n");
  std::string output;
  EXPECT_EQ(Run({"replicate", "-once", "-config", Path("c.yml")}, &output), 1);
  EXPECT_NE(output.find("Error: sync database " + Path("db") + ": replica file: "),
            std::string::npos)
      << output;
  EXPECT_EQ(output.find("retrying"), std::string::npos) << output;
}

TEST_F(CliProcessTest, RefusedBeforeAnythingStarts) {
  const std::string database =
      "dbs:\n  - path: " + Path("db") + "\n    replica: {path: " + Path("r") + "}\n";
  const struct {
    const char* why;
    std::string text;
    const char* says;
  } cases[] = {
      {"unknown key", "dbbs: []\n" + database,
       "c.yml:1: unknown key \"dbbs\"; did you mean \"dbs\""},
      {"not in this build", "mcp-addr: ':9090'\n" + database, "c.yml:1: mcp-addr is not available"},
      {"no such port", "addr: ':99999'\n" + database, "no such port, the last is 65535"},
      {"nothing to do", "dbs: []\n", "no databases specified in configuration"},
      {"one replica for two",
       database + "  - path: " + Path("db2") + "\n    replica: {path: " + Path("r") + "}\n",
       "have the same file replica"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    WriteFile("c.yml", c.text);
    std::string output;
    EXPECT_EQ(Run({"replicate", "-config", Path("c.yml")}, &output), 1);
    EXPECT_NE(output.find(c.says), std::string::npos) << output;
    EXPECT_FALSE(fs::exists(Path("r")));
    EXPECT_FALSE(fs::exists(Path(".db-litestream")));
  }
}

}  // namespace
}  // namespace litestream
