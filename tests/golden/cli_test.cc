// Runs the program on every case of golden/cli (but the control socket's) and compares exit code,
// output and files with what the reference did.

#include <algorithm>
#include <filesystem>
#include <map>
#include <regex>
#include <sstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/golden/cli_differences.h"
#include "tests/support/golden.h"
#include "tests/support/sha256.h"
#include "tests/support/temp_dir.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr unsigned kTimeoutSeconds = 120;  // SIGALRM ends a run that hangs.

std::string Replace(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string ReadText(const fs::path& path) {
  const auto bytes = ReadWholeFile(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void WriteText(const fs::path& path, std::string_view text) {
  WriteWholeFile(path, std::as_bytes(std::span(text.data(), text.size())));
}

struct RunResult {
  int exit = -1;
  std::string out;
  std::string err;
};

// Starts the program in `dir` with nothing of our own environment, and waits.
RunResult RunProgram(const std::vector<std::string>& arguments, const fs::path& dir,
                     const std::map<std::string, std::string>& environment) {
  const TempDir output;
  const fs::path out = output.path() / "out";
  const fs::path err = output.path() / "err";
  std::vector<std::string> words = {LITESTREAM_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables;
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> out;
    for (std::string& s : strings) out.push_back(s.data());
    out.push_back(nullptr);
    return out;
  };
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(variables);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int null = ::open("/dev/null", O_RDONLY);
    const int out_fd = ::open(out.c_str(), O_WRONLY | O_CREAT, 0600);
    const int err_fd = ::open(err.c_str(), O_WRONLY | O_CREAT, 0600);
    const bool ready = ::dup2(null, 0) == 0 && ::dup2(out_fd, 1) == 1 && ::dup2(err_fd, 2) == 2 &&
                       ::chdir(dir.c_str()) == 0;
    ::alarm(kTimeoutSeconds);
    if (ready) ::execve(LITESTREAM_BINARY, argv.data(), envp.data());
    ::_exit(126);
  }
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) ADD_FAILURE() << "cannot wait for " << LITESTREAM_BINARY;
  return {.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status),
          .out = ReadText(out),
          .err = ReadText(err)};
}

// Path -> content hash, or "folder".
std::map<std::string, std::string> Snapshot(const fs::path& root) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = entry.path().lexically_relative(root).string();
    if (entry.is_directory()) {
      out[name + "/"] = "folder";
    } else {
      out[name] = Sha256HexOfFile(entry.path());
    }
  }
  return out;
}

json Changes(const std::map<std::string, std::string>& before,
             const std::map<std::string, std::string>& after) {
  json out = json::object();
  for (const auto& [name, content] : after) {
    const auto old = before.find(name);
    if (old == before.end() || old->second != content) out[name] = content;
  }
  for (const auto& [name, content] : before) {
    if (!after.contains(name)) out[name] = "gone";
  }
  return out;
}

// One case in a folder of its own.
class CliCase {
 public:
  CliCase(const fs::path& group_dir, const json& group, const json& entry)
      : group_dir_(group_dir), entry_(entry) {
    tmp_ = fs::canonical(dir_.path()).string();
    name_ = group_dir.filename().string() + "/" + entry.at("name").get<std::string>();
    for (const json& step : group.at("setup")) Prepare(step);
    if (entry.contains("extra_setup")) {
      for (const json& step : entry.at("extra_setup")) Prepare(step);
    }
  }

  const std::string& name() const { return name_; }
  std::string command() const {
    return entry_.at("args").empty() ? "" : entry_.at("args")[0].get<std::string>();
  }

  RunResult Execute() {
    std::vector<std::string> arguments;
    for (const std::string argument : entry_.at("args")) {
      arguments.push_back(Replace(argument, "$TMP", tmp_));
    }
    std::map<std::string, std::string> environment = {
        {"PATH", "/usr/local/bin:/usr/bin:/bin"}, {"TMP", tmp_}, {"HOME", tmp_}, {"TZ", "UTC"}};
    if (entry_.contains("env")) {
      for (const auto& [name, value] : entry_.at("env").items()) {
        environment[name] = Replace(value.get<std::string>(), "$TMP", tmp_);
      }
    }
    const auto before = Snapshot(tmp_);
    RunResult run = RunProgram(arguments, tmp_, environment);
    changes_ = Changes(before, Snapshot(tmp_));
    run.out = Normalise(run.out);
    run.err = Normalise(run.err);
    return run;
  }

  std::string Golden(const char* stream) const {
    return entry_.contains(stream) ? ReadText(group_dir_ / entry_.at(stream).get<std::string>())
                                   : "";
  }
  // Whether the reference printed a usage text.
  bool GoldenIsHelp() const {
    const std::string file = entry_.value("stdout", "");
    return file.ends_with("-help.stdout") || file == "version-unknown-flag.stdout";
  }
  bool GoldenIsMainHelp() const { return entry_.value("stdout", "") == "none.stdout"; }
  int golden_exit() const { return entry_.at("exit").get<int>(); }
  json golden_changes() const { return entry_.value("changes", json::object()); }
  const json& changes() const { return changes_; }

 private:
  void Prepare(const json& step) const {
    const fs::path to = Replace(step.at("to").get<std::string>(), "$TMP", tmp_);
    if (step.contains("copy")) {
      Copy(step.at("copy").get<std::string>(), to);
    } else if (step.contains("write")) {
      const std::string text = step.at("write").get<std::string>();
      // Otherwise the program expands the variable.
      const bool verbatim = entry_.at("args").dump().find("-no-expand-env") != std::string::npos;
      WriteText(to, verbatim ? Replace(text, "$TMP", tmp_) : text);
    } else if (step.contains("zeros")) {
      WriteText(to, std::string(step.at("zeros").get<std::size_t>(), '\0'));
    } else if (step.contains("mkdir")) {
      fs::create_directories(to);
    } else if (step.contains("edit")) {
      ApplyVariant(to, step.at("edit"));
    } else {
      ADD_FAILURE() << "unknown setup " << step.dump();
    }
  }
  static void Copy(const std::string& from, const fs::path& to) {
    const fs::path source = GoldenDir() / from;
    if (fs::is_directory(source)) {
      CopyTreeWithTimes(source, to, LoadJson(source.parent_path() / "expected.json").at("files"));
    } else {
      WriteWholeFile(to, ReadWholeFile(source));
    }
  }
  std::string Normalise(std::string text) const {
    static const std::regex time(R"re((time=|"time":")[0-9]{4}-[0-9T:.+-]+Z?)re");
    static const std::regex json_version(R"re("version":"[^"]*")re");
    static const std::regex text_version(R"re( version=("[^"]*"|[^ ]+))re");
    text = Replace(std::move(text), tmp_, "$TMP");
    text = std::regex_replace(text, time, "$1$$TIME");
    text = std::regex_replace(text, json_version, "\"version\":\"(development build)\"");
    return std::regex_replace(text, text_version, " version=\"(development build)\"");
  }

  TempDir dir_;
  fs::path group_dir_;
  json entry_;
  std::string tmp_;
  std::string name_;
  json changes_;
};

const CliDifference* FindDifference(const std::string& name) {
  for (const CliDifference& difference : kCliDifferences) {
    if (difference.name == name) return &difference;
  }
  return nullptr;
}

template <typename Table>
bool Contains(const Table& table, std::string_view value) {
  return std::find(std::begin(table), std::end(table), value) != std::end(table);
}

// Columns are padded to the real length of paths.
std::string Squeeze(const std::string& text) {
  static const std::regex blanks("  +");
  return std::regex_replace(text, blanks, "  ");
}

// Everything of `want` is in `got`; objects may have more keys.
void ExpectJsonHolds(const json& want, const json& got) {
  ASSERT_EQ(want.type_name(), std::string(got.type_name()));
  if (want.is_object()) {
    for (const auto& [key, value] : want.items()) {
      ASSERT_TRUE(got.contains(key)) << key;
      if (key != "duration_ms") ExpectJsonHolds(value, got.at(key));
    }
  } else if (want.is_array()) {
    ASSERT_EQ(want.size(), got.size());
    for (std::size_t i = 0; i < want.size(); ++i) ExpectJsonHolds(want[i], got[i]);
  } else {
    EXPECT_EQ(want, got);
  }
}

void ExpectStdout(const std::string& want, const std::string& got) {
  const json expected = json::parse(Replace(want, "$N", "0"), nullptr, false);
  if (expected.is_structured()) {
    const json actual = json::parse(got, nullptr, false);
    ASSERT_TRUE(actual.is_structured()) << got;
    ExpectJsonHolds(expected, actual);
    EXPECT_EQ(got.front(), want.front());
    EXPECT_TRUE(got.ends_with("\n"));
  } else {
    EXPECT_EQ(Squeeze(got), Squeeze(want));
  }
}

// The lines that count are there, in their order.
void ExpectReplicateLog(const std::string& want, const std::string& got) {
  std::istringstream lines(want);
  std::string line;
  std::size_t at = 0;
  while (std::getline(lines, line)) {
    const bool log = line.find("time") <= 2;
    const bool counts = std::any_of(
        std::begin(kReplicateMessages), std::end(kReplicateMessages),
        [&](std::string_view message) { return line.find(message) != std::string::npos; });
    if (log && !counts) continue;
    const std::size_t found = got.find(line + "\n", at);
    EXPECT_NE(found, std::string::npos) << "missing, or not in its place: " << line << "\n" << got;
    if (found != std::string::npos) at = found + line.size();
  }
}

// Messages may say more behind what the reference says. Our report of a restore is not compared.
void ExpectStderr(const std::string& want, const std::string& got) {
  static const std::regex report("time=\\$TIME level=INFO msg=restored [^\n]*\n");
  const std::string ours = std::regex_replace(got, report, "");
  if (want.starts_with("Error: ") && ours.starts_with(want.substr(0, want.size() - 1))) return;
  EXPECT_EQ(ours, want);
}

void ExpectMainHelp(const std::string& got) {
  EXPECT_TRUE(
      got.starts_with("litestream is a tool for replicating SQLite databases.\n\n"
                      "Usage:\n\n\tlitestream <command> [arguments]\n\n"
                      "The commands are:\n\n"
                      "\tcheck        tries whether replicas can be used as configured\n"
                      "\tdatabases    list databases specified in config file\n"))
      << got;
}

std::string OwnHelp(const std::string& command) {
  const RunResult run = RunProgram({command, "-h"}, fs::temp_directory_path(), {});
  EXPECT_EQ(run.exit, 0);
  EXPECT_NE(run.out.find("Usage:\n"), std::string::npos);
  EXPECT_NE(run.out.find("litestream " + (command == "wal" ? "ltx" : command)), std::string::npos);
  return run.out;
}

void ExpectDifferent(const CliCase& c, const CliDifference& difference, const RunResult& run,
                     bool replicate) {
  EXPECT_EQ(run.exit, difference.exit);
  if (difference.out == kOwnHelp) {
    EXPECT_EQ(run.out, OwnHelp(c.command()));
  } else if (difference.out == kEmpty) {
    EXPECT_EQ(run.out, "");
  } else if (difference.out != kEqual) {
    EXPECT_NE(run.out.find(difference.out), std::string::npos) << run.out;
  } else if (replicate) {
    ExpectReplicateLog(c.Golden("stdout"), run.out);
  } else {
    ExpectStdout(c.Golden("stdout"), run.out);
  }
  if (difference.err == kEqual) {
    ExpectStderr(c.Golden("stderr"), run.err);
  } else {
    EXPECT_NE(run.err.find(difference.err), std::string::npos) << run.err;
  }
}

void ExpectLikeReference(const CliCase& c, const RunResult& run, bool replicate) {
  EXPECT_EQ(run.exit, c.golden_exit());
  if (c.GoldenIsMainHelp()) {
    ExpectMainHelp(run.out);
  } else if (c.GoldenIsHelp()) {
    EXPECT_EQ(run.out, OwnHelp(c.command()));
  } else if (c.command() == "version") {
    EXPECT_FALSE(run.out.empty());
  } else if (replicate) {
    ExpectReplicateLog(c.Golden("stdout"), run.out);
  } else {
    ExpectStdout(c.Golden("stdout"), run.out);
  }
  ExpectStderr(c.Golden("stderr"), run.err);
}

class GoldenCli : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenCli, Cases) {
  const std::string group = GetParam();
  const fs::path dir = GoldenDir() / "cli" / group;
  const json expected = LoadJson(dir / "expected.json");
  const bool replicate = group == "replicate";
  ASSERT_FALSE(expected.at("commands").empty());
  for (const json& entry : expected.at("commands")) {
    CliCase c(dir, expected, entry);
    SCOPED_TRACE(c.name() + ": litestream " + entry.at("args").dump());
    if (Contains(kCliNotRun, c.name())) continue;
    const RunResult run = c.Execute();
    if (Contains(kCliUnknownCommands, c.command())) {
      EXPECT_EQ(run.exit, 1);
      EXPECT_EQ(run.err, "Error: litestream " + c.command() + ": unknown command\n");
      EXPECT_EQ(run.out, "");
      continue;
    }
    const CliDifference* const difference = FindDifference(c.name());
    if (difference != nullptr) {
      ExpectDifferent(c, *difference, run, replicate);
    } else {
      ExpectLikeReference(c, run, replicate);
    }
    if (replicate) continue;  // Its files are the business of other tests.
    const bool same = difference == nullptr || difference->changes == kEqual;
    EXPECT_EQ(c.changes(), same ? c.golden_changes() : json::parse(difference->changes));
  }
}

INSTANTIATE_TEST_SUITE_P(Groups, GoldenCli,
                         ::testing::Values("config", "databases", "help", "ltx", "replicate",
                                           "reset", "restore", "status", "usage"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(GoldenCliDifferences, NameCasesThatExist) {
  for (const CliDifference& difference : kCliDifferences) {
    const std::string name(difference.name);
    const std::size_t slash = name.find('/');
    const json group = LoadJson(GoldenDir() / "cli" / name.substr(0, slash) / "expected.json");
    const auto& cases = group.at("commands");
    EXPECT_TRUE(std::any_of(cases.begin(), cases.end(), [&](const json& c) {
      return c.at("name") == name.substr(slash + 1);
    })) << name;
  }
}

}  // namespace
}  // namespace litestream
