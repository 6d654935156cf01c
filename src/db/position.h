#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/env.h"
#include "format/ltx.h"
#include "format/wal.h"
#include "litestream/types.h"

namespace litestream {

// Where capture stands: the end of the last batch in the WAL, and the database's state there.
struct Position {
  Txid txid;  // Of the last durable level-0 file. 0: none yet.
  std::uint32_t page_size = 0;
  std::uint32_t commit_pages = 0;      // Database size.
  WalSalts salts = {};                 // The generation that `end` lies in.
  WalPoint end;                        // Everything before it, in this generation, is captured.
  std::optional<std::uint64_t> after;  // Database checksum (format/page_sum.h), if known.
};

// The position stands in the header of the newest level-0 file, so it is atomic with the file: the
// WAL range and salts are stock fields, the cumulative checksum at the end is in the node field.
Position PositionFromHeader(const LtxHeader& header);
// Sets the header's fields for a batch that begins at `start_offset` and ends at `end`.
void SetPosition(LtxHeader& header, std::uint64_t start_offset, const WalSalts& salts,
                 const WalPoint& end);

// Tells whether a file was written: no write leaves all of this as it was, if `modified_at` was old
// enough for the file system's clock when it was noted.
struct FileStamp {
  std::uint64_t size_bytes = 0;
  NanoTime modified_at;
  NanoTime changed_at;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};
FileStamp StampOf(const FileStat& stat);
// How long after `modified_at` the next write is sure to get another time.
std::chrono::nanoseconds GrainOf(NanoTime modified_at);

// <meta>/position: what the newest level-0 file cannot say. docs/formats/position.md.
struct PositionNote {
  Txid txid;  // The note belongs to this file's position; otherwise only `database` counts.
  FileIdentity database;  // The files that the position speaks of.
  FileIdentity wal;
  std::uint64_t boot = 0;  // When it was written (HashOfBoot); 0: not known.
  // A position that is newer than the header's, for the same database state: nothing but the WAL's
  // generation changed.
  WalSalts salts = {};
  WalPoint end;
  // Of the database file when it was parked: all of `txid` was in it, and the WAL was empty. As
  // long as it is still so, and the machine was not started anew, every commit since is in the WAL,
  // from its front on. (A power failure may take the times of a write and leave its data.)
  std::optional<FileStamp> parked;
  friend bool operator==(const PositionNote&, const PositionNote&) = default;
};

// 0 if the machine does not say when it was started.
std::uint64_t HashOfBoot(Env& env);

// Unset if there is none, or it is damaged.
Result<std::optional<PositionNote>> ReadPositionNote(Env& env, const std::filesystem::path& path);
Result<void> WritePositionNote(Env& env, const std::filesystem::path& path,
                               const PositionNote& note, const FileOwner& owner);

}  // namespace litestream
