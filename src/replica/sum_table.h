#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "format/ltx.h"
#include "format/page_sum.h"
#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/types.h"

namespace litestream {

// The page sums of a database while LTX files are laid over each other. 8 bytes a page.
class SumTable {
 public:
  // The last transaction in the table; 0: nothing is known.
  Txid txid() const { return txid_; }
  std::uint32_t page_count() const { return static_cast<std::uint32_t>(sums_.size()); }
  DatabaseChecksum checksum() const { return checksum_; }
  // 0 for a page that no file had, and for the lock page.
  std::uint64_t SumOf(Pgno pgno) const;
  // The first page that no file had.
  std::optional<Pgno> FirstMissing() const;

  // Whether a file with these transactions leads on from here.
  bool Continues(const TxidRange& txids) const;
  // Lays a file over the table: Begin, then Set for each page. A snapshot, and a file with another
  // page size, must hold every page: what was before is forgotten.
  void Begin(const LtxHeader& header);
  void Set(Pgno pgno, std::uint64_t sum);
  void Clear();

 private:
  Txid txid_;
  std::uint32_t page_size_ = 0;
  DatabaseChecksum checksum_;
  std::vector<std::uint64_t> sums_;
};

// Sees a file go by. Nothing is to be trusted before ReadVerified returns.
struct FileVisitor {
  std::function<void(const LtxHeader& header)> on_header;
  std::function<void(Pgno pgno, std::uint64_t page_sum)> on_page;
};

// Reads a file front to back and checks everything about it: LtxDecoder's checks, its size, and
// that it holds the transactions of its name. kCorruption says what is wrong, without the file's
// name.
Result<LtxHeader> ReadVerified(const Context& ctx, ReplicaClient& client, const FileInfo& info,
                               const FileVisitor& visitor);

// What a file's proof says that is not so: `before` is checked if the table stands where the file
// begins, `after` when the file has been laid over the table. Unset: nothing.
std::optional<std::string> CheckProofBefore(const SumTable& table, const LtxHeader& header);
std::optional<std::string> CheckProofAfter(const SumTable& table, const LtxHeader& header);

// Says which file of a plan is to blame when the result was wrong: reads all of them whole and
// follows their proofs. kCorruption naming the first broken file; success if nothing is wrong.
Result<void> FindBrokenFile(const Context& ctx, ReplicaClient& client,
                            const std::vector<FileInfo>& files);

}  // namespace litestream
