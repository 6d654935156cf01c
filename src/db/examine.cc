// The strict rule: may capture go on where it stopped? (design 4.4, spec engine 9.3; D1, D1b, D5)

#include <vector>

#include <fmt/core.h>

#include "base/try.h"
#include "db/capture.h"

namespace litestream {

Result<Decision> Capture::Examine(Attachment& attachment, const WalView& view) {
  const auto doubt = [](std::string why) { return Decision{Continuation::kDoubt, std::move(why)}; };
  if (position_.txid == Txid{}) return Decision{Continuation::kFirst, ""};
  if (position_.page_size == 0) return doubt("the last local file tells no position");
  if (position_.page_size != attachment.page_size()) return doubt("the page size changed");
  if (!note_) return doubt("it is not known which files the position belongs to");
  if (note_->database != attachment.database_identity()) {
    return doubt("the database file was replaced");
  }
  if (LS_TRY(IsAsParked(attachment))) return Decision{Continuation::kRestarted, "parked"};
  if (view.salts != position_.salts) return ExamineRestart(attachment, view);
  if (position_.end.offset_bytes == kWalHeaderSize) {
    // At the front of an empty WAL there is no frame that proves anything.
    return doubt("the WAL was empty at the last position");
  }
  if (view.end_offset() < position_.end.offset_bytes)
    return doubt("the WAL is shorter than before");
  if (!LS_TRY(SealedEndIntact(attachment))) return doubt("the last captured frame was overwritten");
  return Decision{Continuation::kSame, ""};
}

// Looked at when the read transaction has begun: nobody has backfilled until then, and what is in
// the WAL now stays.
Result<bool> Capture::IsAsParked(Attachment& attachment) const {
  if (!note_->parked || note_->txid != position_.txid) return false;
  if (note_->boot == 0 || note_->boot != HashOfBoot(env_)) return false;
  return StampOf(LS_TRY(attachment.DatabaseStat())) == *note_->parked;
}

Result<bool> Capture::SealedEndIntact(Attachment& attachment) const {
  const std::uint64_t frame_size = WalFrameSize(position_.page_size);
  std::array<std::byte, kWalFrameHeaderSize> bytes = {};
  const std::size_t got =
      LS_TRY(attachment.ReadWal(bytes, position_.end.offset_bytes - frame_size), "read WAL");
  if (got < bytes.size()) return false;
  const WalFrameHeader frame = ParseWalFrameHeader(bytes);
  return frame.salts == position_.salts && frame.checksum == position_.end.checksum;
}

// The WAL has other salts than at the position. Nothing is lost only if it was restarted exactly
// once, right at the position's end, in this life of the machine, and the evidence is still there:
// the sealed end, and behind it either the end of the file or a whole frame that does not continue
// it.
Result<Decision> Capture::ExamineRestart(Attachment& attachment, const WalView& view) {
  const auto doubt = [](std::string why) { return Decision{Continuation::kDoubt, std::move(why)}; };
  const std::uint64_t end = position_.end.offset_bytes;
  if (end == kWalHeaderSize) return doubt("the WAL was empty at the last position");
  if (note_->wal != attachment.wal_identity()) return doubt("the WAL file was replaced");
  // A power failure takes frames that were not synced, from the middle too, while the last ones may
  // stay. SQLite goes on from the hole, and what stands at the sealed end proves nothing.
  if (note_->boot == 0 || note_->boot != HashOfBoot(env_)) {
    return doubt("the machine was started anew");
  }
  if (view.salts[0] != position_.salts[0] + 1) return doubt("the WAL was restarted more than once");
  if (!LS_TRY(SealedEndIntact(attachment))) return doubt("the last captured frame was overwritten");
  const std::uint64_t file_size = LS_TRY(attachment.WalFileSize());
  if (file_size == end) return Decision{Continuation::kRestarted, "WAL restarted"};

  std::vector<std::byte> next(WalFrameSize(position_.page_size));
  const std::size_t got = LS_TRY(attachment.ReadWal(next, end), "read WAL");
  if (got < next.size()) return doubt("the WAL was cut behind the last captured frame");
  const auto frame = std::span<const std::byte>(next);
  const WalFrameHeader header = ParseWalFrameHeader(frame.first<kWalFrameHeaderSize>());
  // The header that said in which order the old WAL was summed is overwritten.
  for (const bool big_endian : {false, true}) {
    WalChecksum checksum = ContinueWalChecksum(position_.end.checksum, frame.first(8), big_endian);
    checksum = ContinueWalChecksum(checksum, frame.subspan(kWalFrameHeaderSize), big_endian);
    if (header.salts == position_.salts && header.checksum == checksum) {
      return doubt("frames behind the last captured one were never captured");
    }
  }
  return Decision{Continuation::kRestarted, "WAL restarted"};
}

}  // namespace litestream
