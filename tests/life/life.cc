#include "tests/life/life.h"

#include <string_view>
#include <utility>

#include "db/close.h"
#include "replica/restore.h"
#include "tests/contract/bodies.h"

namespace litestream::life {
namespace {

std::uint64_t Hash(const std::vector<std::byte>& bytes) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace

class EventsEnv::Watch final : public FileWatch {
 public:
  Watch(std::set<Watch*>& watches, FileEventCallback callback)
      : watches_(watches), callback_(std::move(callback)) {
    watches_.insert(this);
  }
  ~Watch() override { watches_.erase(this); }
  Result<void> Rearm() override { return {}; }
  void Fire() { callback_(FileEvent::kModified, ""); }

 private:
  std::set<Watch*>& watches_;
  const FileEventCallback callback_;
};

void EventsEnv::Fire() {
  for (Watch* const watch : watches_) watch->Fire();
}

Result<std::unique_ptr<FileWatch>> EventsEnv::WatchFile(const std::filesystem::path&,
                                                        FileEventCallback callback) {
  return std::make_unique<Watch>(watches_, std::move(callback));
}

Result<std::unique_ptr<FileWatch>> EventsEnv::WatchDirectory(const std::filesystem::path&,
                                                             FileEventCallback callback) {
  return std::make_unique<Watch>(watches_, std::move(callback));
}

Life::Life(const LifeOptions& options)
    : env_(DefaultMetaPath(dir_.path() / "db"), memory_),
      options_(options),
      app_(std::make_unique<SqliteApp>(dir_.path() / "db")) {
  EXPECT_TRUE(CreateDirectories(memory_, dir_.path(), {}).ok());
  store_.SetFaults([this](StorageCall call, const FileId& id) {
    return asking_ || !faults_ ? StorageFault::kNone : faults_(call, id);
  });
  // Nobody cuts the power of the application here.
  app_->Exec("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = off");
}

// The engine's: notes how much it writes.
class Life::Client final : public contract::ForwardingClient {
 public:
  explicit Client(Life& life) : ForwardingClient(*life.client_), life_(life) {}
  // When a level has its turn depends on the place.
  std::string Describe() const override { return "the replica"; }
  Result<FileInfo> Write(const Context& ctx, const FileId& id, ByteSource& body,
                         const WriteOptions& options) override {
    auto written = ForwardingClient::Write(ctx, id, body, options);
    if (written.ok()) life_.written_bytes_[id.level.value] += written.value().size_bytes;
    return written;
  }

 private:
  Life& life_;
};

// What the test itself asks of the replica neither fails nor counts.
class Life::Aside {
 public:
  explicit Aside(Life& life) : life_(life), before_(life.Counted()) { life_.asking_ = true; }
  ~Aside() {
    const Requests asked = life_.Counted() - before_;
    life_.own_.lists += asked.lists;
    life_.own_.gets += asked.gets;
    life_.asking_ = false;
  }

 private:
  Life& life_;
  const Requests before_;
};

Life::~Life() {
  Kill();
}

void Life::Commit(const std::string& sql) {
  app_->Exec(sql);
  content_.reset();
  if (engine_) env_.Fire();
}

void Life::Run(std::chrono::nanoseconds duration) {
  scheduler_.RunFor(duration);
  Record();
}

void Life::Record() {
  if (!engine_ || !options_.record) return;
  const Txid captured = engine_->Status().txid;
  for (Txid txid = states_.empty() ? Txid{1} : states_.rbegin()->first.Next(); txid <= captured;
       txid = txid.Next()) {
    if (!content_) content_ = ContentNow();
    states_[txid] = *content_;
  }
}

void Life::Start() {
  DatabaseOptions options;
  options.path = dir_.path() / "db";
  options.upkeep = options_.upkeep;
  options.local_retention = {};
  ReplicaOptions replica;
  replica.client = std::make_unique<Client>(*this);
  replica.sync_interval = options_.sync_interval;
  options.replicas = {replica};
  engine_ = std::make_unique<Database>(env_, scheduler_, options, log_.logger());
  engine_->Start();
}

void Life::Kill() {
  engine_.reset();
}

void Life::Stop() {
  Database* const database = engine_.get();
  const Context ctx(std::stop_token(), clock_.Monotonic() + std::chrono::seconds(30), clock_);
  // A replica that is away makes it fail; what was captured stays.
  (void)CloseDatabases(ctx, {&database, 1}, std::chrono::milliseconds(500));
  Record();
  engine_.reset();
}

std::uint64_t Life::database_bytes() const {
  return static_cast<std::uint64_t>(app_->Int("PRAGMA page_count") * app_->Int("PRAGMA page_size"));
}

std::uint64_t Life::ContentNow() const {
  return Hash(CheckpointedCopy(dir_.path() / "db"));
}

Requests Life::Counted() const {
  return {.lists = store_.calls(StorageCall::kList),
          .gets = store_.calls(StorageCall::kOpen) + store_.calls(StorageCall::kGetObject),
          .puts = store_.calls(StorageCall::kWrite) + store_.calls(StorageCall::kPutObject),
          .deletes = store_.calls(StorageCall::kDelete) + store_.calls(StorageCall::kDeleteObject)};
}

Requests Life::requests() const {
  return Counted() - own_;
}

ReplicaListing Life::Listing() {
  const Aside aside(*this);
  auto listing = ListReplica(Context::Background(), *client_, true);
  EXPECT_TRUE(listing.ok());
  return listing.value();
}

std::uint64_t Life::Restored(const RestorePlan& plan) {
  const Aside aside(*this);
  RestoreOptions options;
  options.output = "/restored/db";
  options.parallelism = 1;
  options.replace = true;
  const auto report =
      Restore(Context(std::stop_token(), std::nullopt, clock_), memory_, *client_, plan, options);
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message());
  if (!report.ok()) return 0;
  EXPECT_EQ(report.value().proof, ProofState::kProven);
  auto file = memory_.Open(options.output, {});
  EXPECT_TRUE(file.ok());
  std::vector<std::byte> bytes(file.value()->Stat().value().size_bytes);
  EXPECT_EQ(file.value()->ReadAt(bytes, 0).value(), bytes.size());
  return Hash(bytes);
}

}  // namespace litestream::life
