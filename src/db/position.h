#pragma once

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
  friend bool operator==(const PositionNote&, const PositionNote&) = default;
};

// 0 if the machine does not say when it was started.
std::uint64_t HashOfBoot(Env& env);

// Unset if there is none, or it is damaged.
Result<std::optional<PositionNote>> ReadPositionNote(Env& env, const std::filesystem::path& path);
Result<void> WritePositionNote(Env& env, const std::filesystem::path& path,
                               const PositionNote& note, const FileOwner& owner);

}  // namespace litestream
