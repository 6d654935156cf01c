#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "litestream/types.h"
#include "replica/planned_file.h"

namespace litestream {

// One page frame to read.
struct PieceFrame {
  std::uint64_t offset_bytes = 0;
  std::uint32_t pgno = 0;
  std::uint32_t size_bytes : 31 = 0;
  std::uint32_t wanted : 1 = 0;  // This is the newest version of a page of the database.
};

// A stretch of one file that is read with one request.
struct Piece {
  std::size_t file = 0;     // Index in the plan.
  std::size_t ordinal = 0;  // Among the file's pieces, in order of offset.
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  bool has_end_marker = false;  // Ends with the zeros behind the last frame.
  std::vector<PieceFrame> frames;
};

struct PieceLimits {
  std::uint64_t piece_bytes = std::uint64_t{8} << 20;
  // Frames that nobody wants are read along if that saves a request.
  std::uint64_t hole_bytes = std::uint64_t{128} << 10;
  std::size_t frames = 16384;
  // Pages that are decided at a time, with a bit for each.
  std::uint32_t stripe_pages = 1U << 28;
};

// Decides for every page of the database which file has its newest version, and cuts what must be
// read into pieces. Goes through the page indexes from the newest file to the oldest, reading them
// in small blocks, and remembers one bit a page; databases of more pages than a stripe take another
// round for each stripe. So memory does not depend on the size of the database.
//
// An older file counts for a page only if no newer file cut the database off below it, nor changed
// the page size: such a page must stand in a newer file, or it is missing.
class PageIndex {
 public:
  // `whole`: every frame of every file goes into a piece; otherwise only wanted ones. Borrows both
  // until destroyed.
  PageIndex(ReplicaClient& client, const std::vector<PlannedFile>& files, bool whole,
            const PieceLimits& limits);

  // Calls `emit` for each piece, the newest file's first. Errors: kCorruption (the message names
  // the file), those of the client and of `emit`.
  Result<void> Run(const Context& ctx, const std::function<Result<void>(Piece)>& emit);

  // After Run: the first page of the database that is in none of the files.
  std::optional<Pgno> missing() const { return missing_; }
  // After Run with `whole`: the CRC-64 of a file's index bytes.
  std::uint64_t index_crc(std::size_t file) const { return index_crcs_[file]; }
  std::uint64_t read_bytes() const { return read_bytes_; }

 private:
  class Cutter;
  struct Stripe {
    std::uint32_t first = 0;
    std::uint32_t last = 0;              // Included.
    std::uint64_t open = 0;              // Pages of the database for which no file was found yet.
    std::vector<std::uint64_t> claimed;  // A bit for each.
  };

  Stripe MakeStripe(std::uint64_t first) const;
  Result<void> RunStripe(const Context& ctx, Stripe& stripe,
                         const std::function<Result<void>(Piece)>& emit);
  Result<void> RunFile(const Context& ctx, std::size_t index, std::uint32_t limit_pages,
                       Stripe& stripe, Cutter& cutter);
  Result<void> ForEachIndexBlock(
      const Context& ctx, const PlannedFile& file,
      const std::function<Result<void>(std::span<const std::byte>)>& take);
  void NoteMissing(const Stripe& stripe);

  ReplicaClient& client_;
  const std::vector<PlannedFile>& files_;
  const bool whole_;
  const PieceLimits limits_;
  std::uint32_t page_size_;
  std::uint32_t page_count_;
  std::vector<std::uint64_t> index_crcs_;
  std::vector<std::size_t> next_ordinal_;
  std::optional<Pgno> missing_;
  std::uint64_t read_bytes_ = 0;
};

}  // namespace litestream
