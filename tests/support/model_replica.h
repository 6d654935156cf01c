#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "format/ltx.h"
#include "format/ltx_encoder.h"
#include "format/page_sum.h"
#include "litestream/replica_client.h"
#include "tests/support/byte_streams.h"

namespace litestream::testing {

using Bytes = std::vector<std::byte>;

// A database at one transaction, a page being its content or (lock page) empty.
struct ModelState {
  std::uint32_t page_size = 0;
  std::vector<Bytes> pages;
  std::set<std::uint32_t> changed;  // By the last transaction.

  bool IsLockPage(std::uint32_t pgno) const { return Pgno{pgno} == LockPage(page_size); }
  std::uint64_t Checksum() const {
    DatabaseChecksum checksum;
    for (std::uint32_t pgno = 1; pgno <= pages.size(); ++pgno) {
      if (!IsLockPage(pgno)) checksum.Toggle(PageSum(Pgno{pgno}, pages[pgno - 1]));
    }
    return checksum.value();
  }
  Bytes File() const {
    Bytes file;
    for (const Bytes& page : pages) {
      file.insert(file.end(), page.begin(), page.end());
      if (page.empty()) file.resize(file.size() + page_size);
    }
    return file;
  }
};

// A database that random transactions change, with all its states, and the LTX files that a correct
// writer makes of any range of them.
class ModelReplica {
 public:
  // Pages begin with up to `random_bytes` (default: the whole page) that do not compress.
  ModelReplica(std::uint64_t seed, std::uint32_t page_size, std::uint32_t random_bytes = 0)
      : rng_(seed), page_size_(page_size), random_bytes_(random_bytes) {
    states_.push_back({.page_size = page_size, .pages = {}, .changed = {}});
  }

  std::mt19937_64& rng() { return rng_; }
  Txid newest() const { return Txid{states_.size() - 1}; }
  const ModelState& at(Txid txid) const { return states_[txid.value]; }

  Bytes RandomPage() {
    Bytes page(page_size_);
    const std::size_t random_bytes =
        rng_() % ((random_bytes_ == 0 ? page_size_ : random_bytes_) + 1);
    for (std::size_t i = 0; i < random_bytes; ++i) page[i] = static_cast<std::byte>(rng_());
    return page;
  }

  // A transaction that leaves `page_count` pages and changes up to `changes` others.
  void Commit(std::uint32_t page_count, std::uint32_t changes) {
    ModelState next = states_.back();
    next.page_size = page_size_;
    next.changed.clear();
    const auto old_count = static_cast<std::uint32_t>(next.pages.size());
    next.pages.resize(page_count);
    for (std::uint32_t pgno = old_count + 1; pgno <= page_count; ++pgno) next.changed.insert(pgno);
    for (std::uint32_t i = 0; i < changes && page_count > 0; ++i) {
      next.changed.insert(static_cast<std::uint32_t>(1 + rng_() % page_count));
    }
    std::erase_if(next.changed, [&](std::uint32_t pgno) { return next.IsLockPage(pgno); });
    for (const std::uint32_t pgno : next.changed) next.pages[pgno - 1] = RandomPage();
    states_.push_back(std::move(next));
  }

  // A transaction that rebuilds the database with another page size.
  void ChangePageSize(std::uint32_t page_size, std::uint32_t page_count) {
    page_size_ = page_size;
    states_.push_back({.page_size = page_size, .pages = {}, .changed = {}});
    Commit(page_count, 0);
    states_.erase(states_.end() - 2);
  }

  // Commits of all kinds: growing, shrinking, and mostly neither.
  void CommitRandomly(int count, std::uint32_t max_pages) {
    for (int i = 0; i < count; ++i) {
      const auto now = static_cast<std::uint32_t>(states_.back().pages.size());
      std::uint32_t next = now == 0 ? static_cast<std::uint32_t>(1 + rng_() % max_pages) : now;
      if (rng_() % 3 == 0) next = static_cast<std::uint32_t>(1 + rng_() % max_pages);
      Commit(next, static_cast<std::uint32_t>(rng_() % 6));
    }
  }

  struct FileOptions {
    bool proof = true;
    bool all_pages = false;                      // Even if the range does not start at 1.
    bool builds_on_nothing = false;              // What the proof says; with all_pages.
    std::set<std::uint32_t> without = {};        // Pages left out.
    std::optional<TxidRange> header_txids = {};  // Other than the true ones.
  };

  Bytes File(const TxidRange& txids, const FileOptions& options) const {
    const ModelState& before = states_[txids.min.value - 1];
    const ModelState& after = states_[txids.max.value];
    LtxHeader header{.page_size = after.page_size,
                     .commit_pages = static_cast<std::uint32_t>(after.pages.size()),
                     .txids = options.header_txids.value_or(txids),
                     .timestamp_ms = TimeOf(txids.max).time_since_epoch().count()};
    if (options.proof) {
      header.SetProof(LtxProof{.before = options.builds_on_nothing ? 0 : before.Checksum(),
                               .after = after.Checksum()});
    }
    VectorSink sink;
    LtxEncoder encoder(sink);
    EXPECT_TRUE(encoder.Begin(header).ok());
    for (const std::uint32_t pgno : PagesOf(txids, options)) {
      const auto added = encoder.AddPage(Pgno{pgno}, after.pages[pgno - 1]);
      EXPECT_TRUE(added.ok()) << (added.ok() ? "" : added.error().message());
    }
    const auto trailer = encoder.Finish(std::nullopt);
    EXPECT_TRUE(trailer.ok()) << (trailer.ok() ? "" : trailer.error().message());
    return sink.Take();
  }

  // Writes a file of these transactions. Returns its content.
  Bytes Put(ReplicaClient& client, Level level, const TxidRange& txids,
            const FileOptions& options) const {
    Bytes content = File(txids, options);
    PutBytes(client, FileId{level, txids}, content);
    return content;
  }
  Bytes Put(ReplicaClient& client, int level, std::uint64_t min, std::uint64_t max,
            const FileOptions& options) const {
    return Put(client, Level{static_cast<std::uint8_t>(level)}, TxidRange{Txid{min}, Txid{max}},
               options);
  }
  static void PutBytes(ReplicaClient& client, const FileId& id,
                       std::span<const std::byte> content) {
    SpanSource body(content);
    const auto written =
        client.Write(Context::Background(), id, body,
                     {.created_at = TimeOf(id.txids.max), .size_bytes = {}, .if_absent = false});
    EXPECT_TRUE(written.ok()) << (written.ok() ? "" : written.error().message());
  }

  static WallTime TimeOf(Txid txid) {
    return WallTime(std::chrono::milliseconds(1'700'000'000'000 + 1000 * txid.value));
  }

 private:
  std::set<std::uint32_t> PagesOf(const TxidRange& txids, const FileOptions& options) const {
    const ModelState& after = states_[txids.max.value];
    const auto count = static_cast<std::uint32_t>(after.pages.size());
    std::set<std::uint32_t> pages;
    for (std::uint64_t t = txids.min.value; t <= txids.max.value; ++t) {
      if (states_[t].page_size != after.page_size) continue;
      pages.insert(states_[t].changed.begin(), states_[t].changed.end());
    }
    if (txids.min == Txid{1} || options.all_pages) {
      for (std::uint32_t pgno = 1; pgno <= count; ++pgno) pages.insert(pgno);
    }
    std::erase_if(pages, [&](std::uint32_t pgno) {
      return pgno > count || after.IsLockPage(pgno) || options.without.contains(pgno);
    });
    return pages;
  }

  std::mt19937_64 rng_;
  std::uint32_t page_size_;
  std::uint32_t random_bytes_;
  std::vector<ModelState> states_;
};

}  // namespace litestream::testing
