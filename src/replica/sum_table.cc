#include "replica/sum_table.h"

#include <algorithm>
#include <string>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "format/names.h"
#include "replica/planned_file.h"
#include "storage/resumable_source.h"

namespace litestream {
namespace {

std::string Difference(std::string_view which, std::uint64_t computed, std::uint64_t stated) {
  return fmt::format("the database checksum {} it is {}, its proof says {}", which,
                     FormatHex64(computed), FormatHex64(stated));
}

}  // namespace

std::uint64_t SumTable::SumOf(Pgno pgno) const {
  return pgno.value == 0 || pgno.value > sums_.size() ? 0 : sums_[pgno.value - 1];
}

std::optional<Pgno> SumTable::FirstMissing() const {
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const Pgno pgno{static_cast<std::uint32_t>(i + 1)};
    if (sums_[i] == 0 && pgno != LockPage(page_size_)) return pgno;
  }
  return std::nullopt;
}

bool SumTable::Continues(const TxidRange& txids) const {
  return txids.min <= txid_.Next() && txids.max > txid_;
}

void SumTable::Begin(const LtxHeader& header) {
  if (header.IsSnapshot() || header.page_size != page_size_) Clear();
  page_size_ = header.page_size;
  txid_ = header.txids.max;
  for (std::size_t i = header.commit_pages; i < sums_.size(); ++i) checksum_.Toggle(sums_[i]);
  sums_.resize(header.commit_pages);
}

void SumTable::Set(Pgno pgno, std::uint64_t sum) {
  if (pgno.value == 0 || pgno.value > sums_.size()) return;
  std::uint64_t& entry = sums_[pgno.value - 1];
  checksum_.Replace(entry, sum);
  entry = sum;
}

void SumTable::Clear() {
  txid_ = Txid{};
  page_size_ = 0;
  checksum_ = DatabaseChecksum();
  sums_.clear();
}

Result<LtxHeader> ReadVerified(const Context& ctx, ReplicaClient& client, const FileInfo& info,
                               const FileVisitor& visitor) {
  LS_TRY(CheckFileSize(info));
  const auto source = MakeResumableSource(client, info.id, 0, info.size_bytes);
  LtxDecoder decoder(*source);
  const LtxHeader header = LS_TRY(decoder.ReadHeader(ctx), "decode header");
  LS_TRY(CheckHeaderFitsName(header, info.id));
  if (visitor.on_header) visitor.on_header(header);
  while (const auto page = LS_TRY(decoder.ReadPage(ctx), "decode page {}", decoder.page_count())) {
    if (visitor.on_page) visitor.on_page(page->pgno, page->page_sum);
  }
  LS_TRY(decoder.Finish(ctx), "close reader");
  return header;
}

std::optional<std::string> CheckProofBefore(const SumTable& table, const LtxHeader& header) {
  const auto proof = header.Proof();
  if (!proof) return std::nullopt;
  const bool first = header.IsSnapshot();
  if (!first && BuildsOnNothing(*proof)) return std::nullopt;
  if (!first && table.txid().Next() != header.txids.min) return std::nullopt;
  const std::uint64_t before = first ? 0 : table.checksum().value();
  if (before == proof->before) return std::nullopt;
  return Difference("before", before, proof->before);
}

std::optional<std::string> CheckProofAfter(const SumTable& table, const LtxHeader& header) {
  const auto proof = header.Proof();
  if (!proof || table.checksum().value() == proof->after) return std::nullopt;
  return Difference("after", table.checksum().value(), proof->after);
}

Result<void> FindBrokenFile(const Context& ctx, ReplicaClient& client,
                            const std::vector<FileInfo>& files) {
  SumTable table;
  for (const FileInfo& info : files) {
    std::optional<std::string> broken;
    const FileVisitor visitor{
        .on_header =
            [&](const LtxHeader& header) {
              broken = CheckProofBefore(table, header);
              table.Begin(header);
            },
        .on_page = [&](Pgno pgno, std::uint64_t sum) { table.Set(pgno, sum); }};
    const LtxHeader header =
        LS_TRY(ReadVerified(ctx, client, info, visitor), "ltx file {}", FileLabel(info.id));
    if (!broken) broken = CheckProofAfter(table, header);
    if (broken) {
      return Error(ErrorCode::kCorruption,
                   fmt::format("ltx file {}: {}", FileLabel(info.id), *broken));
    }
  }
  return {};
}

}  // namespace litestream
