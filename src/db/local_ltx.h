#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/env.h"
#include "base/file_stream.h"
#include "format/ltx.h"
#include "litestream/byte_stream.h"
#include "litestream/types.h"

namespace litestream {

// The level-0 files that capture has made and that are kept locally until every replica has them:
// <meta>/ltx/0/<txid>-<txid>.ltx.
//
// Invariants:
// 1. A file has its final name only when its content is whole and synced; Commit returns only when
//    the name is durable too.
// 2. The files form a contiguous run of TXIDs that ends with the last captured one. Remove takes
//    them only from the front.
class LocalLtx {
 public:
  // `meta` is the database's state directory. Owners for new directories and files.
  LocalLtx(Env& env, std::filesystem::path meta, FileOwner directories, FileOwner files);

  // Creates the directories, removes what a dead process was staging, lists the files.
  Result<void> Open();

  // Oldest and newest file; unset if there is none.
  std::optional<TxidRange> range() const;
  Result<LtxHeader> ReadHeader(Txid txid);
  // kNotFound if it is not here.
  Result<std::unique_ptr<ByteSource>> OpenFile(Txid txid);
  Result<FileStat> Stat(Txid txid);
  // Of all files; of many that were there at the start, an estimate.
  Result<std::uint64_t> TotalBytes();
  std::filesystem::path Path(Txid txid) const;

  // A file being written. Destroyed without Commit, it leaves nothing.
  class Staged : public ByteSink {
   public:
    Staged(LocalLtx& owner, Txid txid, std::unique_ptr<File> file, std::filesystem::path path);
    ~Staged() override;
    Result<void> Write(std::span<const std::byte> bytes) override { return sink_.Write(bytes); }
    // Overwrites bytes that were written before.
    Result<void> Patch(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
    // fsync, rename, fsync of the directory. On an error after the rename the file may be there.
    Result<void> Commit();
    std::uint64_t size_bytes() const { return sink_.size_bytes(); }

   private:
    LocalLtx& owner_;
    Txid txid_;
    std::unique_ptr<File> file_;
    std::filesystem::path path_;
    FileSink sink_;
    bool committed_ = false;
  };
  // `txid` must be the one after the newest (any, if there is none), or the newest itself: then the
  // staged file takes its place.
  Result<std::unique_ptr<Staged>> Stage(Txid txid);

  // Removes the files before `keep_from`, and those before a hole; the newest always stays.
  Result<void> RemoveBefore(Txid keep_from);
  // Forgets everything: the chain starts anew elsewhere.
  Result<void> Clear();

 private:
  Result<void> MakeDirectory();
  void Count(Txid txid, std::uint64_t new_bytes);
  Env& env_;
  std::filesystem::path meta_;
  std::filesystem::path directory_;
  FileOwner directory_owner_;
  FileOwner file_owner_;
  std::optional<TxidRange> range_;
  // Before a hole. A power failure leaves them, that keeps one removal and loses that before it.
  std::vector<Txid> strays_;
  std::optional<std::uint64_t> total_bytes_;  // Once it was asked for.
};

}  // namespace litestream
