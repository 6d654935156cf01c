// A directory with real files, events, threads and databases: the monitor and the store together.

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "db/directory_monitor.h"
#include "db/store.h"
#include "tests/support/db_fixture.h"
#include "tests/support/recorded_log.h"

namespace litestream {
namespace {

namespace fs = std::filesystem;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using Names = std::set<std::string>;

constexpr std::chrono::seconds kPatience{20};

class DirectoryStoreTest : public ::testing::Test {
 protected:
  DirectoryStoreTest() { fs::create_directory(Root()); }
  void TearDown() override {
    monitor_.reset();
    EXPECT_TRUE(store_.Close({}).ok());
  }
  std::string Root() const { return (dir_.path() / "root").string(); }
  std::string Path(const std::string& name) const { return Root() + "/" + name; }

  DirectoryMonitorOptions Options() {
    DirectoryMonitorOptions options;
    options.directory = Root();
    options.recursive = true;
    options.matches = [](const std::string& name) { return name.ends_with(".db"); };
    options.settle_time = 5ms;
    options.add = [this](const std::string& path) { return Add(path); };
    options.remove = [this](const std::string& path) {
      EXPECT_TRUE(store_.Remove(path).ok()) << path;
      Note(path, false);
    };
    return options;
  }
  Result<void> Add(const std::string& path) {
    DatabaseOptions options;
    options.path = path;
    options.monitor_interval = 20ms;
    options.replicas.resize(1);
    options.replicas[0].sync_interval = 20ms;
    {
      MutexLock lock(mu_);
      options.replicas[0].client = MakeMemoryClient(replicas_[path]);
    }
    auto added = store_.Add(options);
    EXPECT_TRUE(added.ok()) << added.error().message();
    Note(path, true);
    return added;
  }
  void Note(const std::string& path, bool here) {
    const std::string name = path.substr(Root().size() + 1);
    MutexLock lock(mu_);
    if (here) live_.insert(name);
    if (!here) live_.erase(name);
    changed_.NotifyAll();
  }
  void Start() {
    store_.Start();
    monitor_ = std::make_unique<DirectoryMonitor>(Env::Real(), *pools_, Options(), log_.logger());
    const auto started = monitor_->Start({});
    ASSERT_TRUE(started.ok()) << started.error().message();
  }
  bool Await(const Names& want) {
    MutexLock lock(mu_);
    return changed_.WaitFor(mu_, {}, kPatience, [&]() LS_REQUIRES(mu_) { return live_ == want; });
  }

  // A database in WAL mode with one table of that name; nobody has it open afterwards.
  void Make(const std::string& name, const std::string& table) {
    SqliteApp app(Path(name));
    app.Exec("CREATE TABLE " + table + " (x)");
  }
  // The schema that the newest state on the replica of a path has.
  std::string RestoredTables(const std::string& name) {
    std::unique_ptr<ReplicaClient> client;
    {
      MutexLock lock(mu_);
      client = MakeMemoryClient(replicas_[Path(name)]);
    }
    const TempDir out;
    const auto listing = ListReplica(Context::Background(), *client, true);
    const auto plan = PlanRestore(listing.value(), {});
    if (!plan.ok()) return plan.error().message();
    RestoreOptions options;
    options.output = out.path() / "restored";
    const auto report = Restore(Context::Background(), Env::Real(), *client, plan.value(), options);
    if (!report.ok()) return report.error().message();
    SqliteApp app(options.output);
    return app.Text("SELECT group_concat(name) FROM sqlite_schema");
  }
  void AwaitTables(const std::string& name, const std::string& want) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    for (std::string got; (got = RestoredTables(name)) != want; std::this_thread::yield()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << name << " has " << got << "\n"
                                                         << ::testing::PrintToString(log_.lines());
    }
  }

  TempDir dir_;
  RecordedLog log_{LogLevel::kInfo};
  Mutex mu_{LockRank::kLeaf};
  CondVar changed_;
  Names live_ LS_GUARDED_BY(mu_);
  std::map<std::string, MemoryStore> replicas_ LS_GUARDED_BY(mu_);
  std::unique_ptr<Scheduler> pools_ = MakePoolScheduler({.capture_threads = 2, .io_threads = 2});
  Store store_{Env::Real(), *pools_, {}, log_.logger()};
  std::unique_ptr<DirectoryMonitor> monitor_;
};

TEST_F(DirectoryStoreTest, ComesAndGoes) {
  Make("first.db", "one");
  Start();
  ASSERT_TRUE(Await({"first.db"}));
  fs::create_directories(Path("a/b/c"));
  Make("a/b/c/deep.db", "deep");
  Make("second.db", "two");
  fs::copy_file(Path("second.db"), Path("text"));
  ASSERT_TRUE(Await({"first.db", "second.db", "a/b/c/deep.db"}));
  AwaitTables("a/b/c/deep.db", "deep");
  AwaitTables("second.db", "two");
  fs::rename(Path("a/b"), Path("moved"));
  ASSERT_TRUE(Await({"first.db", "second.db", "moved/c/deep.db"}));
  AwaitTables("moved/c/deep.db", "deep");
  fs::remove(Path("first.db"));
  ASSERT_TRUE(Await({"second.db", "moved/c/deep.db"}));
  fs::rename(Path("moved"), dir_.path() / "outside");
  ASSERT_TRUE(Await({"second.db"}));
}

// By another database, as an atomic restore does it: it is the same path, with another content.
TEST_F(DirectoryStoreTest, ReplacedByRename) {
  Make("a.db", "old");
  Start();
  AwaitTables("a.db", "old");
  Make("fresh", "young");
  fs::remove(Path("a.db-wal"));
  fs::remove(Path("a.db-shm"));
  fs::rename(Path("fresh"), Path("a.db"));
  AwaitTables("a.db", "young");
  EXPECT_TRUE(Await({"a.db"}));
  EXPECT_EQ(log_.Count("removed database"), 0);
}

TEST_F(DirectoryStoreTest, RemovedAndMadeAgainAtOnce) {
  Start();
  for (int round = 0; round < 20; ++round) {
    const std::string table = "t" + std::to_string(round);
    Make("a.db", table);
    AwaitTables("a.db", table);
    for (const char* const suffix : {"", "-wal", "-shm"}) fs::remove(Path("a.db") + suffix);
  }
  EXPECT_TRUE(Await({}));
  EXPECT_EQ(log_.Count("another process"), 0);
  EXPECT_EQ(log_.Count("failed to close"), 0);
}

TEST_F(DirectoryStoreTest, TheDirectoryGoesAndComesBack) {
  Make("a.db", "one");
  Start();
  AwaitTables("a.db", "one");
  fs::rename(Root(), dir_.path() / "away");
  ASSERT_TRUE(Await({}));
  fs::rename(dir_.path() / "away", Root());
  ASSERT_TRUE(Await({"a.db"}));
  Make("b.db", "two");
  ASSERT_TRUE(Await({"a.db", "b.db"}));
  AwaitTables("b.db", "two");
}

// What is linked is followed for files, and not for directories.
TEST_F(DirectoryStoreTest, Links) {
  fs::create_directory(dir_.path() / "else");
  fs::create_directory_symlink(dir_.path() / "else", Path("linked"));
  Start();
  Make("../else/b.db", "other");
  fs::create_symlink("../else/b.db", Path("link.db"));
  fs::create_symlink("loop.db", Path("loop.db"));
  fs::create_directory_symlink(dir_.path() / "else", Path("later"));
  Make("a.db", "one");
  ASSERT_TRUE(Await({"a.db", "link.db"}));
  AwaitTables("link.db", "other");
}

}  // namespace
}  // namespace litestream
