#pragma once

#include <cstdint>

#include "cli/common.h"

namespace litestream::cli {

// Both ends included.
struct LevelRange {
  std::uint8_t first = 0;
  std::uint8_t last = 0;
};

// Prints the files of the source's replicas on these levels, as a table or as JSON. With several
// replicas one more column names them.
Result<void> PrintLtxFiles(Env& env, const Source& source, const LevelRange& levels, bool json);

// For commands that showed backups of Litestream v0.3, too: kUnsupported if a replica holds nothing
// else, a warning on stderr if it holds both.
Result<void> CheckOldBackups(Env& env, const Source& source);

// The first argument of "snapshots list" and "wal list" may be left out: the rest. A database of
// that name is ./list.
std::vector<std::string> WithoutList(const std::vector<std::string>& arguments);

// -replica NAME, and -generation, which is refused: it chose among backups of v0.3.
class OldFlags {
 public:
  void Register(FlagSet& flags);
  const std::string& replica() const { return replica_; }

 private:
  std::string replica_;
};

}  // namespace litestream::cli
