#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "format/wal.h"
#include "tests/simulation/process.h"

namespace litestream::sim {

// Another implementation of SQLite's file formats: appends commits to the WAL of a database that
// nobody has open. They are legal, and SQLite itself would not write them: it writes every page
// that a commit grows the database by, and checksums in its machine's byte order.
class WalByHand {
 public:
  WalByHand(Process& process, std::string database)
      : process_(process), database_(std::move(database)) {}

  // Reads the database as the next connection would see it. False: it is not there, not in WAL mode
  // or has pointer maps, or a call failed.
  bool Open(Random& dice);
  // One commit that appends a freelist trunk and `leaves` free pages behind it. What stands in a
  // free page means nothing, so those need not be written.
  bool Grow(std::uint32_t leaves, bool write_them, Random& dice);
  // One commit that cuts off what the last Grow appended.
  bool Cut();

 private:
  struct Frame {
    std::uint32_t number = 0;
    std::vector<std::byte> page;
  };
  bool ReadFiles();
  void TakeWal(std::span<const std::byte> wal);
  void BeginWal(Random& dice);
  std::vector<std::byte> Page(std::uint32_t number) const;
  // The first page, with a new size and freelist.
  Frame FirstPage(std::uint32_t trunk, std::uint32_t free_pages, std::uint32_t page_count) const;
  bool Commit(const std::vector<Frame>& frames, std::uint32_t page_count);

  Process& process_;
  const std::string database_;
  std::vector<std::byte> file_;
  std::map<std::uint32_t, std::vector<std::byte>> in_wal_;  // The newest committed version.
  std::uint32_t page_size_ = 0;
  std::uint32_t page_count_ = 0;
  // Where the next frame goes. No header: the WAL is to be begun.
  WalPoint end_;
  WalHeader header_;
  std::vector<std::byte> new_header_;
};

}  // namespace litestream::sim
