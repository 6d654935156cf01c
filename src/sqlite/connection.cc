#include "sqlite/connection.h"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <sqlite3.h>

#include "base/endian.h"
#include "base/try.h"

namespace litestream {
namespace {

ErrorCode CodeOf(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return ErrorCode::kUnavailable;
    case SQLITE_FULL:
      return ErrorCode::kNoSpace;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return ErrorCode::kDenied;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kCorruption;
    case SQLITE_CANTOPEN:
      return ErrorCode::kNotFound;
    case SQLITE_INTERRUPT:
      return ErrorCode::kCancelled;
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_NOLFS:
      return ErrorCode::kIo;
    default:
      return ErrorCode::kInternal;
  }
}

std::uint32_t NativeU32(const unsigned char* p) {
  std::uint32_t v = 0;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// WalIndexHdr: 12 initialised, 14 page size (1 = 65536), 16 frames, 20 pages, 24 checksum of the
// last frame (native), 32 salts (as in the WAL file).
WalView ParseView(const sqlite3_snapshot& snapshot) {
  const unsigned char* h = snapshot.hidden;
  std::uint16_t page_size = 0;
  std::memcpy(&page_size, h + 14, sizeof page_size);
  WalView view;
  view.page_size = page_size == 1 ? 65536 : page_size;
  view.frames = NativeU32(h + 16);
  const auto* bytes = reinterpret_cast<const std::byte*>(h);
  view.salts = {LoadBe32(bytes + 32), LoadBe32(bytes + 36)};
  if (view.frames > 0) {
    view.pages = NativeU32(h + 20);
    view.checksum = {NativeU32(h + 24), NativeU32(h + 28)};
  }
  return view;
}

constexpr const char* kUnixVfs = "unix";
constexpr const char* kAsGivenVfs = "unix-path-as-given";

int PathAsGiven(sqlite3_vfs* /*vfs*/, const char* name, int size, char* out) {
  const std::size_t length = std::strlen(name);
  if (length >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
  std::memcpy(out, name, length + 1);
  return SQLITE_OK;
}

// SQLite's own, but for the search for links: a call for each directory of the path, at each open.
bool HasAsGivenVfs() {
  static const bool registered = [] {
    const sqlite3_vfs* unix_vfs = sqlite3_vfs_find(kUnixVfs);
    if (unix_vfs == nullptr) return false;
    static sqlite3_vfs as_given = *unix_vfs;
    as_given.zName = kAsGivenVfs;
    as_given.pNext = nullptr;
    as_given.xFullPathname = PathAsGiven;
    return sqlite3_vfs_register(&as_given, /*makeDflt=*/0) == SQLITE_OK;
  }();
  return registered;
}

// Null: the default one.
const char* VfsOf(const ConnectionOptions& options) {
  if (!options.vfs.empty()) return options.vfs.c_str();
  if (!options.path_is_resolved) return nullptr;
  // Whoever put another one in its place wants it to be used.
  const sqlite3_vfs* usual = sqlite3_vfs_find(nullptr);
  const bool is_unix = usual != nullptr && std::strcmp(usual->zName, kUnixVfs) == 0;
  return is_unix && HasAsGivenVfs() ? kAsGivenVfs : nullptr;
}

}  // namespace

std::string_view ToString(CheckpointMode mode) {
  switch (mode) {
    case CheckpointMode::kPassive:
      return "PASSIVE";
    case CheckpointMode::kRestart:
      return "RESTART";
    case CheckpointMode::kTruncate:
      return "TRUNCATE";
  }
  return "";
}

Result<Connection> Connection::Open(const std::filesystem::path& path,
                                    const ConnectionOptions& options) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (options.create) flags |= SQLITE_OPEN_CREATE;
  sqlite3* db = nullptr;
  // A plain path, not a URI: '?', '#' and '%' in it mean themselves.
  const int rc = sqlite3_open_v2(path.c_str(), &db, flags, VfsOf(options));
  Connection connection(db);
  if (rc != SQLITE_OK) return connection.LastError(rc, fmt::format("open {}", path.string()));
  // SQLite opens what it may not write for reading only, without a word.
  if (!options.read_only && sqlite3_db_readonly(db, "main") == 1) {
    return Error(ErrorCode::kDenied,
                 fmt::format("open {}: the database file may not be written", path.string()));
  }
  LS_TRY(connection.Setup(), "open {}", path.string());
  return connection;
}

Result<void> Connection::Setup() {
  sqlite3_busy_timeout(db_, 0);
  sqlite3_wal_autocheckpoint(db_, 0);
  int rc = sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (rc != SQLITE_OK) return LastError(rc, "set no checkpoint on close");
  int persist = 1;
  rc = sqlite3_file_control(db_, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
  // SQLITE_NOTFOUND: the VFS has no such thing (in-memory ones).
  if (rc != SQLITE_OK && rc != SQLITE_NOTFOUND) return LastError(rc, "keep the WAL at close");
  return {};
}

Connection::Connection(Connection&& other) noexcept
    : db_(std::exchange(other.db_, nullptr)),
      begin_(std::exchange(other.begin_, nullptr)),
      begin_immediate_(std::exchange(other.begin_immediate_, nullptr)),
      rollback_(std::exchange(other.rollback_, nullptr)),
      data_version_(std::exchange(other.data_version_, nullptr)) {}

Connection& Connection::operator=(Connection&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(begin_, other.begin_);
  std::swap(begin_immediate_, other.begin_immediate_);
  std::swap(rollback_, other.rollback_);
  std::swap(data_version_, other.data_version_);
  return *this;
}

Connection::~Connection() {
  sqlite3_finalize(begin_);
  sqlite3_finalize(begin_immediate_);
  sqlite3_finalize(rollback_);
  sqlite3_finalize(data_version_);
  sqlite3_close_v2(db_);
}

Error Connection::LastError(int code, std::string_view doing) const {
  const char* text = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  const int extended = db_ != nullptr ? sqlite3_extended_errcode(db_) : code;
  ErrorCode ours = CodeOf(code);
  std::string why;
  if ((code & 0xff) == SQLITE_CANTOPEN && db_ != nullptr) {
    // Of the database, its -wal or its -shm.
    const int system_error = sqlite3_system_errno(db_);
    if (system_error == EACCES || system_error == EPERM || system_error == EROFS) {
      ours = ErrorCode::kDenied;
      why = fmt::format(": {}", std::generic_category().message(system_error));
    }
  }
  return {ours, fmt::format("{}: {}{} (SQLite code {})", doing, text, why, extended)};
}

Result<void> Connection::Exec(const std::string& sql) {
  const int rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return LastError(rc, sql);
  return {};
}

Result<std::string> Connection::QueryText(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  int rc = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
  if (rc != SQLITE_OK) return LastError(rc, sql);
  rc = sqlite3_step(statement);
  std::string text;
  if (rc == SQLITE_ROW) {
    const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    if (p != nullptr) text = p;
  }
  const int final_rc = sqlite3_finalize(statement);
  if (rc != SQLITE_ROW && final_rc != SQLITE_OK) return LastError(final_rc, sql);
  return text;
}

Result<std::int64_t> Connection::QueryInt(const std::string& sql) {
  const std::string text = LS_TRY(QueryText(sql));
  return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
}

bool Connection::InReadTransaction() const {
  return sqlite3_txn_state(db_, "main") == SQLITE_TXN_READ;
}

bool Connection::InAnyTransaction() const {
  return sqlite3_get_autocommit(db_) == 0;
}

Result<void> Connection::Step(sqlite3_stmt*& statement, const char* sql) {
  if (statement == nullptr) {
    const int rc = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (rc != SQLITE_OK) return LastError(rc, sql);
  }
  int rc = sqlite3_step(statement);
  while (rc == SQLITE_ROW) rc = sqlite3_step(statement);
  if (rc != SQLITE_DONE) {
    Error error = LastError(rc, sql);
    sqlite3_reset(statement);
    return error;
  }
  sqlite3_reset(statement);
  return {};
}

Result<WalView> Connection::CurrentView() {
  sqlite3_snapshot* snapshot = nullptr;
  const int rc = sqlite3_snapshot_get(db_, "main", &snapshot);
  if (rc != SQLITE_OK) {
    // SQLITE_ERROR although the transaction is open: the WAL was never written since it was
    // created, and there is nothing to take a snapshot of.
    if (rc == SQLITE_ERROR && InReadTransaction()) return WalView{};
    return LastError(rc, "read the WAL's state");
  }
  const WalView view = ParseView(*snapshot);
  sqlite3_snapshot_free(snapshot);
  return view;
}

Result<WalView> Connection::BeginRead() {
  LS_TRY(Step(begin_, "BEGIN"));
  auto view = CurrentView();
  if (!view.ok()) (void)EndTransaction().ok();
  return view;
}

Result<WalView> Connection::BeginReadAnyMark() {
  LS_TRY(Step(begin_, "BEGIN"));
  auto began = Step(data_version_, "PRAGMA data_version");
  if (!began.ok()) {
    (void)EndTransaction().ok();
    return std::move(began).error();
  }
  auto view = CurrentView();
  if (!view.ok()) (void)EndTransaction().ok();
  return view;
}

Result<void> Connection::BeginWrite() {
  return Step(begin_immediate_, "BEGIN IMMEDIATE");
}

Result<void> Connection::EndTransaction() {
  if (!InAnyTransaction()) return {};
  return Step(rollback_, "ROLLBACK");
}

Result<CheckpointResult> Connection::Checkpoint(CheckpointMode mode,
                                                std::chrono::milliseconds busy_limit) {
  int sqlite_mode = SQLITE_CHECKPOINT_PASSIVE;
  if (mode == CheckpointMode::kRestart) sqlite_mode = SQLITE_CHECKPOINT_RESTART;
  if (mode == CheckpointMode::kTruncate) sqlite_mode = SQLITE_CHECKPOINT_TRUNCATE;
  sqlite3_busy_timeout(db_, static_cast<int>(busy_limit.count()));
  int wal_frames = 0;
  int backfilled = 0;
  const int rc = sqlite3_wal_checkpoint_v2(db_, "main", sqlite_mode, &wal_frames, &backfilled);
  sqlite3_busy_timeout(db_, 0);
  CheckpointResult result;
  result.busy = (rc & 0xff) == SQLITE_BUSY;
  if (rc != SQLITE_OK && !result.busy) {
    return LastError(rc, fmt::format("checkpoint {}", ToString(mode)));
  }
  result.wal_frames = wal_frames > 0 ? static_cast<std::uint32_t>(wal_frames) : 0;
  result.backfilled_frames = backfilled > 0 ? static_cast<std::uint32_t>(backfilled) : 0;
  return result;
}

}  // namespace litestream
