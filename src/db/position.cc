#include "db/position.h"

#include <charconv>
#include <map>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/try.h"
#include "format/crc64.h"
#include "format/names.h"

namespace litestream {
namespace {

constexpr std::size_t kMaxNoteBytes = 4096;

std::uint64_t Join(std::uint32_t high, std::uint32_t low) {
  return (std::uint64_t{high} << 32) | low;
}
std::uint32_t High(std::uint64_t v) {
  return static_cast<std::uint32_t>(v >> 32);
}
std::uint32_t Low(std::uint64_t v) {
  return static_cast<std::uint32_t>(v);
}

std::uint64_t CrcOf(std::string_view text) {
  return Crc64(0, std::as_bytes(std::span(text)));
}

NanoTime TimeOf(std::uint64_t count) {
  return NanoTime(std::chrono::nanoseconds(static_cast<std::int64_t>(count)));
}
std::uint64_t CountOf(NanoTime time) {
  return static_cast<std::uint64_t>(time.time_since_epoch().count());
}

}  // namespace

FileStamp StampOf(const FileStat& stat) {
  return {.size_bytes = stat.size_bytes,
          .modified_at = stat.modified_at,
          .changed_at = stat.changed_at};
}

// The kernel's clock for times of files ticks every 10 ms at most; some file systems keep seconds,
// or two.
std::chrono::nanoseconds GrainOf(NanoTime modified_at) {
  constexpr std::chrono::milliseconds kFine{100};
  constexpr std::chrono::seconds kCoarse{3};
  const bool fine = modified_at.time_since_epoch() % std::chrono::microseconds(100) !=
                    std::chrono::nanoseconds(0);
  return fine ? std::chrono::nanoseconds(kFine) : std::chrono::nanoseconds(kCoarse);
}

Position PositionFromHeader(const LtxHeader& header) {
  Position p;
  p.txid = header.txids.max;
  p.page_size = header.page_size;
  p.commit_pages = header.commit_pages;
  p.salts = header.wal_salts;
  p.end.offset_bytes = static_cast<std::uint64_t>(header.wal_offset + header.wal_size);
  p.end.checksum = {High(header.node_id), Low(header.node_id)};
  if (const auto proof = header.Proof()) p.after = proof->after;
  return p;
}

void SetPosition(LtxHeader& header, std::uint64_t start_offset, const WalSalts& salts,
                 const WalPoint& end) {
  header.wal_offset = static_cast<std::int64_t>(start_offset);
  header.wal_size = static_cast<std::int64_t>(end.offset_bytes - start_offset);
  header.wal_salts = salts;
  header.node_id = Join(end.checksum[0], end.checksum[1]);
}

std::uint64_t HashOfBoot(Env& env) {
  const std::string id = env.BootId();
  return id.empty() ? 0 : CrcOf(id);
}

Result<std::optional<PositionNote>> ReadPositionNote(Env& env, const std::filesystem::path& path) {
  auto read = ReadSmallFile(env, path, kMaxNoteBytes);
  if (!read.ok()) {
    if (read.error().Is(ErrorCode::kNotFound) || read.error().Is(ErrorCode::kCorruption)) {
      return std::optional<PositionNote>();
    }
    return std::move(read).error();
  }
  // "key value" lines, values 16 hex digits; the last is the CRC-64 of all lines before it.
  const std::string text = std::move(read).value();
  std::map<std::string, std::uint64_t, std::less<>> values;
  std::size_t at = 0;
  std::uint64_t crc = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    const std::size_t space = text.find(' ', at);
    if (end == std::string::npos || space == std::string::npos || space > end) break;
    const auto value = ParseHex64(std::string_view(text).substr(space + 1, end - space - 1));
    if (!value.ok()) break;
    const std::string key = text.substr(at, space - at);
    if (key == "crc") crc = CrcOf(std::string_view(text).substr(0, at));
    values[key] = value.value();
    at = end + 1;
  }
  for (const char* key : {"txid", "db-device", "db-inode", "wal-device", "wal-inode", "salts",
                          "end", "checksum", "crc"}) {
    if (!values.contains(key)) return std::optional<PositionNote>();
  }
  if (values["crc"] != crc) return std::optional<PositionNote>();
  PositionNote note;
  note.txid = Txid{values["txid"]};
  note.database = {values["db-device"], values["db-inode"]};
  note.wal = {values["wal-device"], values["wal-inode"]};
  note.boot = values["boot"];  // 0 in notes that were written before it was in them.
  note.salts = {High(values["salts"]), Low(values["salts"])};
  note.end.offset_bytes = values["end"];
  note.end.checksum = {High(values["checksum"]), Low(values["checksum"])};
  if (values.contains("parked-size")) {
    note.parked = FileStamp{.size_bytes = values["parked-size"],
                            .modified_at = TimeOf(values["parked-modified"]),
                            .changed_at = TimeOf(values["parked-changed"])};
  }
  return std::optional<PositionNote>(note);
}

Result<void> WritePositionNote(Env& env, const std::filesystem::path& path,
                               const PositionNote& note, const FileOwner& owner) {
  std::string text;
  const auto line = [&text](std::string_view key, std::uint64_t value) {
    text += fmt::format("{} {}\n", key, FormatHex64(value));
  };
  line("txid", note.txid.value);
  line("db-device", note.database.device);
  line("db-inode", note.database.inode);
  line("wal-device", note.wal.device);
  line("wal-inode", note.wal.inode);
  line("boot", note.boot);
  line("salts", Join(note.salts[0], note.salts[1]));
  line("end", note.end.offset_bytes);
  line("checksum", Join(note.end.checksum[0], note.end.checksum[1]));
  if (note.parked) {
    line("parked-size", note.parked->size_bytes);
    line("parked-modified", CountOf(note.parked->modified_at));
    line("parked-changed", CountOf(note.parked->changed_at));
  }
  line("crc", CrcOf(text));
  return WriteFileAtomically(env, path, std::as_bytes(std::span(text)), owner);
}

}  // namespace litestream
