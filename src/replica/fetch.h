#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/env.h"
#include "base/sync.h"
#include "format/page_sum.h"
#include "litestream/context.h"
#include "litestream/replica_client.h"
#include "replica/page_index.h"
#include "replica/parallel.h"
#include "replica/planned_file.h"

namespace litestream {

// What the pieces of a restore add up to. Safe for concurrent calls.
class RestoreTotals {
 public:
  explicit RestoreTotals(std::size_t file_count) : file_crcs_(file_count) {}

  struct PieceSums {
    std::uint64_t crc = 0;         // CRC-64 of the piece as the file checksum sees it (expanded).
    std::uint64_t crc_bytes = 0;   // How many bytes that covers.
    std::uint64_t page_sums = 0;   // XOR of the sums of the wanted pages.
    std::uint64_t mixed_sums = 0;  // The same of MixPageSum: their part of the database checksum.
  };
  void Add(const Piece& piece, const PieceSums& sums);

  // XOR over the pages that were written.
  DatabaseChecksum database_checksum() const;
  std::uint64_t page_sums() const;
  // Continues `crc` with all pieces of a file.
  std::uint64_t FoldFile(std::size_t file, std::uint64_t crc) const;

  std::atomic<std::uint64_t> written_bytes = 0;
  std::atomic<std::uint64_t> read_bytes = 0;

 private:
  struct CrcPart {
    std::uint64_t crc = 0;
    std::uint64_t bytes = 0;
  };
  mutable Mutex mu_{LockRank::kLeaf};
  std::vector<std::vector<CrcPart>> file_crcs_ LS_GUARDED_BY(mu_);
  std::uint64_t page_sums_ LS_GUARDED_BY(mu_) = 0;
  std::uint64_t mixed_sums_ LS_GUARDED_BY(mu_) = 0;
};

// Reads one piece after another, expands its pages and writes the wanted ones to their place. Owns
// its buffers; not safe for concurrent calls. Borrows everything.
class PieceFetcher {
 public:
  // `checksums`: fold the file checksum too.
  PieceFetcher(ReplicaClient& client, const std::vector<PlannedFile>& files, File& output,
               bool checksums, RestoreTotals& totals);
  // kCorruption names the file.
  Result<void> Fetch(const Context& ctx, const Piece& piece);

 private:
  class Input;
  class Checksum;
  Result<void> FetchFrom(const Context& ctx, const Piece& piece, Input& input);
  // Room for the page at its place among the pages to be written together.
  Result<std::span<std::byte>> Place(std::uint32_t pgno, std::uint32_t page_size);
  Result<void> Flush();

  ReplicaClient& client_;
  const std::vector<PlannedFile>& files_;
  File& output_;
  const bool checksums_;
  RestoreTotals& totals_;
  // Not touched before they are needed: zeroing them would cost more than a small restore.
  std::unique_ptr<std::byte[]> in_;
  std::unique_ptr<std::byte[]> out_;
  std::unique_ptr<std::byte[]> unwanted_;
  std::uint64_t out_offset_ = 0;  // Where the first byte of out_ belongs.
  std::size_t out_size_ = 0;
};

// Fetchers on `threads` threads behind a short queue; in the caller's thread if that is 1. One
// caller.
class FetchPool {
 public:
  // Calls make_fetcher once for each thread, and `tick` now and then in the caller's thread.
  FetchPool(const Context& ctx, int threads, const std::function<PieceFetcher()>& make_fetcher,
            std::function<void()> tick);
  ~FetchPool();  // Stops what is not done.
  FetchPool(const FetchPool&) = delete;
  FetchPool& operator=(const FetchPool&) = delete;

  // Waits while the queue is full. Returns the first error of any piece.
  Result<void> Submit(Piece piece);
  // Waits until every piece is done.
  Result<void> Finish();

 private:
  void Work(PieceFetcher& fetcher);

  StopGroup group_;
  const std::size_t queue_limit_;
  std::function<void()> tick_;
  std::vector<PieceFetcher> fetchers_;
  std::atomic<std::size_t> next_fetcher_ = 0;
  Mutex mu_{LockRank::kTask};
  CondVar changed_;
  std::deque<Piece> queue_ LS_GUARDED_BY(mu_);
  bool closed_ LS_GUARDED_BY(mu_) = false;
  std::size_t ended_ LS_GUARDED_BY(mu_) = 0;  // Threads that are done.
  std::vector<std::jthread> threads_;
};

}  // namespace litestream
