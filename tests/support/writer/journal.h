#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "tests/support/writer/database.h"

namespace litestream::writer {

// An append-only text file beside the database, a line for each commit:
//
//   <counter> <checksum, 16 hex digits> <commit time, ns since 1970>
//
// A line is written after the commit has returned, so a state of the database is in the journal,
// or it is the one right behind its last line, whose commit was in flight when the writer died.
class Journal {
 public:
  // Opens to append; a last line that was cut off by a crash is dropped.
  explicit Journal(const std::string& path);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void Append(const State& state);
  // Of the last whole line; 0 if there is none.
  std::int64_t last_counter() const { return last_counter_; }

 private:
  int descriptor_ = -1;
  std::int64_t last_counter_ = 0;
};

struct JournalLookup {
  std::optional<std::uint64_t> checksum;  // Of the counter asked for, if it is there.
  std::int64_t last_counter = 0;
};
JournalLookup LookUp(const std::string& path, std::int64_t counter);

}  // namespace litestream::writer
