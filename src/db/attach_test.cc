// What is attached, and what is refused: links, a file under two names, what is no database.

#include <filesystem>
#include <fstream>

#include "tests/support/db_fixture.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;

class AttachTest : public DbFixture {
 protected:
  // An engine for another path, with a replica of its own.
  std::unique_ptr<Database> EngineFor(const fs::path& path) {
    DatabaseOptions options = Options();
    options.path = path;
    options.replicas[0].client = MakeMemoryClient(other_store_);
    return std::make_unique<Database>(*env_, scheduler_, options, log_);
  }

  MemoryStore other_store_;
};

// SQLite puts the WAL beside the file that a link leads to, and so must we look for it.
TEST_F(AttachTest, ADatabaseBehindALink) {
  const fs::path real = dir_.path() / "elsewhere" / "real";
  fs::create_directory(real.parent_path());
  fs::create_symlink("elsewhere/real", Path());
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (x)");
  EXPECT_EQ(Sync(), Txid{1});
  app.Exec("INSERT INTO t VALUES (1)");
  EXPECT_EQ(Sync(), Txid{2});
  EXPECT_TRUE(Restored() == CheckpointedCopy(real));
  // In the background too, where events tell of commits.
  Run(std::chrono::seconds(2));
  app.Exec("INSERT INTO t VALUES (2)");
  Run(std::chrono::seconds(40));
  EXPECT_TRUE(Restored() == CheckpointedCopy(real));
  EXPECT_TRUE(fs::exists(Meta())) << "the state is beside the link";
}

TEST_F(AttachTest, ALinkThatIsPointedElsewhereIsNotMixed) {
  for (const char* const name : {"first", "second"}) {
    SqliteApp app(dir_.path() / name);
    app.Exec("CREATE TABLE t (x)");
    app.Exec(std::string("INSERT INTO t VALUES ('") + name + "')");
  }
  fs::create_symlink("first", Path());
  Sync();
  EXPECT_TRUE(Restored() == CheckpointedCopy(dir_.path() / "first"));
  fs::remove(Path());
  fs::create_symlink("second", Path());
  Sync();
  EXPECT_TRUE(Restored() == CheckpointedCopy(dir_.path() / "second"));
}

// Two attachments of one file in one process would drop each other's locks.
TEST_F(AttachTest, OneFileUnderTwoNamesIsRefused) {
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (x)");
  Sync();
  const fs::path link = dir_.path() / "link";
  const fs::path hard = dir_.path() / "hard";
  fs::create_symlink("db", link);
  fs::create_hard_link(Path(), hard);
  for (const fs::path& path : {link, hard}) {
    const auto second = EngineFor(path);
    const auto synced = second->SyncOnce(ctx_);
    ASSERT_FALSE(synced.ok());
    EXPECT_EQ(synced.error().message(), path.string() + " is the same file as " + Path().string() +
                                            ", which is being replicated; list it once, with as "
                                            "many replicas as needed");
    EXPECT_FALSE(fs::exists(DefaultMetaPath(path)));
  }
  Stop();
  const auto second = EngineFor(link);
  EXPECT_TRUE(second->SyncOnce(ctx_).ok()) << "once the first let go of it";
}

TEST_F(AttachTest, WhatIsNoDatabaseIsLeftAlone) {
  const struct {
    const char* why;
    std::string content;
  } cases[] = {
      {"text", "These are my notes.\n"},
      {"shorter than a header", "SQLite format"},
      {"zeros", std::string(8192, '\0')},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    std::ofstream(Path()) << c.content;
    const auto synced = engine().SyncOnce(ctx_);
    ASSERT_FALSE(synced.ok());
    EXPECT_NE(synced.error().message().find("file is not a database"), std::string::npos)
        << synced.error().message();
    EXPECT_EQ(synced.error().message().find("EXCLUSIVE"), std::string::npos);
    EXPECT_FALSE(fs::exists(Meta()));
    EXPECT_EQ(fs::file_size(Path()), c.content.size());
  }
  // It becomes one.
  fs::remove(Path());
  SqliteApp app(Path());
  app.Exec("CREATE TABLE t (x)");
  Sync();
  ExpectRestores();
}

}  // namespace
}  // namespace litestream
