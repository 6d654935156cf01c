#include "replica/planned_file.h"

#include <algorithm>
#include <utility>

#include "base/try.h"
#include "format/names.h"
#include "replica/parallel.h"
#include "storage/resumable_source.h"

namespace litestream {
namespace {

Result<void> ReadRange(const Context& ctx, ReplicaClient& client, const FileId& id,
                       std::uint64_t offset_bytes, std::span<std::byte> out) {
  const auto source = MakeResumableSource(client, id, offset_bytes, out.size());
  const std::size_t n = LS_TRY(ReadFull(ctx, *source, out));
  if (n == out.size()) return {};
  return Error(ErrorCode::kCorruption, fmt::format("ends at byte {}, the listing says {}",
                                                   offset_bytes + n, offset_bytes + out.size()));
}

Result<void> OpenOne(const Context& ctx, ReplicaClient& client, PlannedFile& file,
                     std::atomic<std::uint64_t>& read_bytes) {
  const std::uint64_t size = file.info.size_bytes;
  file.held_offset = size - std::min(size, kHeldBytesPerFile);
  file.held.resize(size - file.held_offset);
  LS_TRY(ReadRange(ctx, client, file.info.id, file.held_offset, file.held));
  if (file.held_offset == 0) {
    std::copy_n(file.held.begin(), kLtxHeaderSize, file.header_bytes.begin());
  } else {
    LS_TRY(ReadRange(ctx, client, file.info.id, 0, file.header_bytes));
    read_bytes += file.header_bytes.size();
  }
  read_bytes += file.held.size();

  file.header = LS_TRY(ParseLtxHeader(file.header_bytes), "decode header");
  LS_TRY(CheckHeaderFitsName(file.header, file.info.id));
  file.tail = LS_TRY(ParseLtxTail(file.held, size), "read page index");
  LS_TRY(ValidateLtxTrailer(file.header, file.tail.trailer), "validate trailer");
  return {};
}

std::string RangeText(const TxidRange& range) {
  return fmt::format("({},{})", FormatTxid(range.min), FormatTxid(range.max));
}

Result<void> CheckNeighbours(const std::vector<PlannedFile>& files) {
  if (!files.front().header.IsSnapshot()) {
    return Error(ErrorCode::kCorruption,
                 fmt::format("cannot decode non-snapshot LTX file to SQLite database: {}",
                             FileLabel(files.front().info.id)));
  }
  for (std::size_t i = 1; i < files.size(); ++i) {
    const TxidRange& before = files[i - 1].header.txids;
    const TxidRange& after = files[i].header.txids;
    if (after.min > before.max.Next() || after.max <= before.max) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("non-contiguous transaction ids in input files: {} -> {}",
                               RangeText(before), RangeText(after)));
    }
  }
  return {};
}

}  // namespace

std::string FileLabel(const FileId& id) {
  return fmt::format("{}/{}", id.level.value, FormatLtxFilename(id.txids));
}

std::span<const std::byte> PlannedFile::Held(std::uint64_t offset_bytes,
                                             std::uint64_t size_bytes) const {
  if (held.empty() || offset_bytes < held_offset) return {};
  if (offset_bytes + size_bytes > held_offset + held.size()) return {};
  return std::span(held).subspan(offset_bytes - held_offset, size_bytes);
}

Result<void> CheckHeaderFitsName(const LtxHeader& header, const FileId& id) {
  if (header.txids == id.txids) return {};
  return Error(ErrorCode::kCorruption, fmt::format("holds transactions {}, its name says otherwise",
                                                   RangeText(header.txids)));
}

Result<void> CheckFileSize(const FileInfo& info) {
  if (info.size_bytes >= kLtxMinFileSize) return {};
  return Error(
      ErrorCode::kCorruption,
      fmt::format("invalid ltx file: level={} min={} max={} has size {} bytes (minimum {})",
                  info.id.level.value, FormatTxid(info.id.txids.min), FormatTxid(info.id.txids.max),
                  info.size_bytes,
                  info.size_bytes < kLtxHeaderSize ? kLtxHeaderSize : kLtxMinFileSize));
}

Result<std::vector<PlannedFile>> OpenPlannedFiles(const Context& ctx, ReplicaClient& client,
                                                  const RestorePlan& plan, int threads,
                                                  std::atomic<std::uint64_t>& read_bytes) {
  if (plan.files.empty()) {
    return Error(ErrorCode::kInvalidArgument, "the restore plan has no files");
  }
  std::vector<PlannedFile> files(plan.files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    LS_TRY(CheckFileSize(plan.files[i]));
    files[i].info = plan.files[i];
  }
  std::atomic<std::uint64_t> held_bytes = 0;
  LS_TRY(ForEachParallel(
      ctx, threads, files.size(), [&](const Context& inner, std::size_t i) -> Result<void> {
        PlannedFile& file = files[i];
        LS_TRY(OpenOne(inner, client, file, read_bytes), "ltx file {}", FileLabel(file.info.id));
        held_bytes += file.held.size();
        if (held_bytes > kHeldBytesInAll) {
          held_bytes -= file.held.size();
          file.held = {};
        }
        return {};
      }));
  LS_TRY(CheckNeighbours(files));
  return files;
}

}  // namespace litestream
