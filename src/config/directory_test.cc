#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "config/config.h"
#include "tests/support/temp_dir.h"

namespace litestream::config {
namespace {

constexpr std::string_view kMagic("SQLite format 3\0", 16);

class DirectoryTest : public ::testing::Test {
 protected:
  void Make(const std::string& name, std::string_view content = kMagic) {
    const auto path = dir_.path() / "dbs" / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  std::string Path(const std::string& name) const { return (dir_.path() / name).string(); }

  Result<std::vector<DatabaseConfig>> Expand(const std::string& more,
                                             const std::string& replica = "path: /r") {
    const std::string text =
        "dbs:\n  - dir: " + Path("dbs") + "\n" + more + "    replica: {" + replica + "}\n";
    auto config = ParseConfig(Env::Real(), text, "f.yml", {});
    EXPECT_TRUE(config.ok());
    if (!config.ok()) return std::move(config).error();
    config_ = std::move(config).value();
    return ExpandDirectories(Env::Real(), config_, Logger());
  }
  static std::string Paths(const std::vector<DatabaseConfig>& databases) {
    std::string out;
    for (const auto& database : databases) {
      out += std::filesystem::path(database.path).filename().string() + " -> " +
             database.replicas[0].path + "\n";
    }
    return out;
  }

  TempDir dir_;
  Config config_;
};

TEST_F(DirectoryTest, OnlyDatabasesThatMatch) {
  Make("b.db");
  Make("a.db");
  Make("c.sqlite");
  Make("empty.db", "");
  Make("text.db", "this is not a database at all");
  Make("old.db", std::string_view("SQLite format 2\0", 16));
  Make("sub/d.db");
  const auto got = Expand("    pattern: '*.db'\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(Paths(got.value()), "a.db -> /r/a.db\nb.db -> /r/b.db\n");
}

TEST_F(DirectoryTest, RecursiveSkipsStateDirectoriesAndLinks) {
  Make("a.db");
  Make("sub/d.db");
  Make("sub/.d.db-litestream/x.db");
  std::filesystem::create_directory_symlink(Path("dbs/sub"), Path("dbs/link"));
  const auto got = Expand("    pattern: '*.db'\n    recursive: true\n");
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(Paths(got.value()), "a.db -> /r/a.db\nd.db -> /r/sub/d.db\n");
}

TEST_F(DirectoryTest, StateDirectories) {
  Make("sub/d.db");
  const struct {
    const char* key;
    std::string want;
  } cases[] = {
      {"", Path("dbs/sub/.d.db-litestream")},
      {"    meta-dir: /m\n", "/m/sub/d.db-litestream"},
      {"    meta-path: /m\n", "/m/sub/.d.db-litestream"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.key);
    const auto got = Expand(std::string("    pattern: '*.db'\n    recursive: true\n") + c.key);
    ASSERT_TRUE(got.ok()) << got.error().message();
    ASSERT_EQ(got.value().size(), 1U);
    EXPECT_EQ(MetaPath(got.value()[0]), c.want);
  }
}

TEST_F(DirectoryTest, ReplicaByUrlKeepsTheNameAndKnowsTheEncodedOne) {
  Make("sub dir/d e.db");
  const auto got = Expand("    pattern: '*.db'\n    recursive: true\n", "url: 'file:///r'");
  ASSERT_TRUE(got.ok()) << got.error().message();
  ASSERT_EQ(got.value().size(), 1U);
  EXPECT_EQ(got.value()[0].replicas[0].path, "/r/sub dir/d e.db");
  EXPECT_EQ(got.value()[0].replicas[0].encoded_path, "/r/sub%20dir/d%20e.db");
}

TEST_F(DirectoryTest, NothingFound) {
  Make("a.db");
  const struct {
    const char* why;
    std::string more;
    std::string says;
  } cases[] = {
      {"no match", "    pattern: '*.none'\n",
       "no SQLite databases found in directory " + Path("dbs") + " with pattern *.none"},
      {"bad pattern", "    pattern: '[a'\n",
       "failed to scan directory " + Path("dbs") + ": syntax error in pattern"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto got = Expand(c.more);
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().message(), c.says);
  }
  const auto watched = Expand("    pattern: '*.none'\n    watch: true\n");
  ASSERT_TRUE(watched.ok());
  EXPECT_TRUE(watched.value().empty());
  std::filesystem::remove_all(Path("dbs"));
  const auto gone = Expand("    pattern: '*.db'\n");
  ASSERT_FALSE(gone.ok());
  EXPECT_NE(gone.error().message().find("failed to scan directory " + Path("dbs")),
            std::string::npos);
}

TEST_F(DirectoryTest, FindDatabase) {
  Make("a.db");
  ASSERT_TRUE(Expand("    pattern: '*.db'\n").ok());
  const auto found = FindDatabase(config_, Path("dbs/gone.db"));
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found.value().path, Path("dbs/gone.db"));
  EXPECT_EQ(found.value().replicas[0].path, "/r/gone.db");
  for (const char* const other : {"dbs/x.sqlite", "dbs/sub/a.db", "other.db"}) {
    const auto got = FindDatabase(config_, Path(other));
    ASSERT_FALSE(got.ok()) << other;
    EXPECT_EQ(got.error().message(), "database not found in config: " + Path(other));
  }
}

TEST_F(DirectoryTest, ReplicasAreNotLookedInto) {
  Make("a.db");
  Make("sub/d.db");
  Make("backup/a.db/x.db");
  const auto got =
      Expand("    pattern: '*.db'\n    recursive: true\n", "path: " + Path("dbs/backup"));
  ASSERT_TRUE(got.ok()) << got.error().message();
  EXPECT_EQ(got.value().size(), 2U);
}

// Whatever two entries say of one database, one of them would be ignored.
TEST_F(DirectoryTest, CoveredByTwoEntries) {
  Make("a.db");
  Make("sub/d.db");
  const std::string d = Path("dbs");
  const auto entry = [](const std::string& more) { return "  - {" + more + "}\n"; };
  const std::string all =
      entry("dir: " + d + ", pattern: '*.db', recursive: true, replica: {path: /r1}");
  const std::string watched =
      entry("dir: " + d + ", pattern: '*.db', watch: true, replica: {path: /r1}");
  const auto path = [&](const std::string& name) {
    return entry("path: " + d + "/" + name + ", replica: {path: /r2}");
  };
  const struct {
    const char* why;
    std::string entries;
    std::string twice;  // Empty: fine.
  } cases[] = {
      {"path and directory", path("a.db") + all, "a.db"},
      {"directory and path", all + path("sub/d.db"), "sub/d.db"},
      {"the path is not there, and nobody would find it", all + path("later.db"), ""},
      {"it would be found", path("later.db") + watched, "later.db"},
      {"in a subdirectory that is not read", path("sub/later.db") + watched, ""},
      {"it does not match", path("later.sqlite") + watched, ""},
      {"two directories", all + entry("dir: " + d + "/sub, pattern: 'd*', replica: {path: /r2}"),
       "sub/d.db"},
      {"two patterns that differ",
       watched + entry("dir: " + d + ", pattern: '*.sqlite', watch: true, replica: {path: /r2}"),
       ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto config = ParseConfig(Env::Real(), "dbs:\n" + c.entries, "f.yml", {});
    ASSERT_TRUE(config.ok()) << config.error().message();
    const auto got = ExpandDirectories(Env::Real(), config.value(), Logger());
    ASSERT_EQ(got.ok(), c.twice.empty()) << got.error().message();
    if (got.ok()) continue;
    EXPECT_TRUE(got.error().message().starts_with("two entries cover the database " + d + "/" +
                                                  c.twice + " (f.yml:2: "))
        << got.error().message();
  }
}

// Found while it runs: the first entry has it.
TEST_F(DirectoryTest, FirstToCover) {
  const std::string text =
      "dbs:\n  - {dir: /d, pattern: '*.db', recursive: true, watch: true, replica: {path: /r1}}\n"
      "  - {dir: /d/sub, pattern: '*', watch: true, replica: {path: /r2}}\n";
  const auto config = ParseConfig(Env::Real(), text, "f.yml", {});
  ASSERT_TRUE(config.ok());
  const auto& entries = config.value().databases;
  EXPECT_TRUE(CheckFirstToCover(config.value(), entries[0], "/d/sub/a.db").ok());
  EXPECT_TRUE(CheckFirstToCover(config.value(), entries[1], "/d/sub/a.sqlite").ok());
  const auto second = CheckFirstToCover(config.value(), entries[1], "/d/sub/a.db");
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(second.error().Is(ErrorCode::kAlreadyExists));
  EXPECT_EQ(second.error().message(),
            "two entries cover the database /d/sub/a.db (f.yml:2: dir: /d, pattern: *.db; f.yml:3: "
            "dir: /d/sub, pattern: *): give it one entry, with as many replicas as needed");
  EXPECT_TRUE(IsBelow(entries[0], "/d/x/y/a.db"));
  for (const char* const path : {"/d", "/d2/a.db", "/d/a.sqlite", "/d/.a.db-litestream/a.db"}) {
    EXPECT_FALSE(IsBelow(entries[0], path)) << path;
  }
  EXPECT_FALSE(IsBelow(entries[1], "/d/sub/deep/a.db"));
  EXPECT_EQ(DatabaseBelow(entries[0], "/d/x/y/a.db").replicas[0].path, "/r1/x/y/a.db");
}

TEST_F(DirectoryTest, SharedStateDirectoryIsRefused) {
  const auto config = ParseConfig(Env::Real(),
                                  "dbs:\n"
                                  "  - {path: /a, meta-path: /m, replica: {path: /r1}}\n"
                                  "  - {path: /b, meta-path: /m, replica: {path: /r2}}\n",
                                  "f.yml", {});
  ASSERT_TRUE(config.ok());
  const auto got = ExpandDirectories(Env::Real(), config.value(), Logger());
  ASSERT_FALSE(got.ok());
  EXPECT_NE(got.error().message().find("meta-path collision: databases /a and /b"),
            std::string::npos);
}

}  // namespace
}  // namespace litestream::config
