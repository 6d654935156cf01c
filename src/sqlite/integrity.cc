#include "sqlite/integrity.h"

#include <memory>
#include <string>

#include <fmt/core.h>
#include <sqlite3.h>

namespace litestream {
namespace {

// file: URI of a path, with everything escaped that a URI gives a meaning to.
std::string ImmutableUri(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%') {
      uri += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

struct CloseDb {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct Finalize {
  void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
};

}  // namespace

Result<void> CheckIntegrity(const std::filesystem::path& path, bool full) {
  sqlite3* raw = nullptr;
  int rc = sqlite3_open_v2(ImmutableUri(path).c_str(), &raw,
                           SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  const std::unique_ptr<sqlite3, CloseDb> db(raw);
  const auto error = [&](const char* doing) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("{} {}: {}", doing, path.string(), sqlite3_errmsg(db.get())));
  };
  if (rc != SQLITE_OK) return error("open database for integrity check:");
  const char* sql = full ? "PRAGMA integrity_check" : "PRAGMA quick_check";
  sqlite3_stmt* raw_statement = nullptr;
  rc = sqlite3_prepare_v2(db.get(), sql, -1, &raw_statement, nullptr);
  const std::unique_ptr<sqlite3_stmt, Finalize> statement(raw_statement);
  if (rc != SQLITE_OK) return error("integrity check:");
  std::string findings;
  while ((rc = sqlite3_step(statement.get())) == SQLITE_ROW) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 0));
    if (!findings.empty()) findings += "; ";
    findings += text != nullptr ? text : "";
  }
  if (rc != SQLITE_DONE) return error("integrity check:");
  if (findings != "ok") {
    return Error(ErrorCode::kCorruption,
                 fmt::format("integrity check failed: {}: {}", path.string(), findings));
  }
  return {};
}

}  // namespace litestream
