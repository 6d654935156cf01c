#include "format/ltx.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "base/endian.h"
#include "base/try.h"
#include "format/ltx_page_order.h"
#include "format/page_sum.h"

namespace litestream {
namespace {

constexpr std::string_view kMagic = "LTX1";
constexpr std::string_view kProofMagic = "PRF1";

Error Corruption(std::string message) {
  return Error(ErrorCode::kCorruption, std::move(message));
}

bool StartsWith(std::span<const std::byte> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// What else the file may be, for the message.
std::string_view GuessContent(std::span<const std::byte> bytes) {
  if (StartsWith(bytes, "age-encryption.org/")) {
    return " (it is encrypted with age; configure the identity)";
  }
  if (StartsWith(bytes, "SQLite format 3")) return " (it is a SQLite database)";
  return "";
}

Result<void> ValidatePreApplyChecksum(const LtxHeader& header) {
  const std::uint64_t checksum = header.pre_apply_checksum;
  if (header.IsSnapshot()) {
    if (checksum != 0) return Corruption("pre-apply checksum must be zero on snapshots");
  } else if (!header.HasChecksums()) {
    if (checksum != 0) return Corruption("pre-apply checksum not allowed");
  } else if (checksum == 0) {
    return Corruption("pre-apply checksum required on non-snapshot files");
  } else if ((checksum & kLtxChecksumFlag) == 0) {
    return Corruption("invalid pre-apply checksum format");
  }
  return {};
}

}  // namespace

std::optional<LtxProof> LtxHeader::Proof() const {
  if (!StartsWith(reserved, kProofMagic)) return std::nullopt;
  return LtxProof{.before = LoadBe64(reserved.data() + 4), .after = LoadBe64(reserved.data() + 12)};
}

void LtxHeader::SetProof(const std::optional<LtxProof>& proof) {
  reserved = {};
  if (proof) reserved = ProofBytes(*proof);
}

std::array<std::byte, kLtxProofSize> ProofBytes(const LtxProof& proof) {
  std::array<std::byte, kLtxProofSize> bytes;
  std::memcpy(bytes.data(), kProofMagic.data(), kProofMagic.size());
  StoreBe64(bytes.data() + 4, proof.before);
  StoreBe64(bytes.data() + 12, proof.after);
  return bytes;
}

Result<LtxHeader> ParseLtxHeader(std::span<const std::byte> bytes) {
  if (bytes.empty()) return Corruption("EOF (the file is empty)");
  if (bytes.size() < kLtxHeaderSize) return Corruption("unexpected EOF");
  if (!StartsWith(bytes, kMagic)) {
    return Corruption(fmt::format("unmarshal header: invalid LTX file{}", GuessContent(bytes)));
  }
  const std::byte* p = bytes.data();
  LtxHeader header;
  header.flags = LoadBe32(p + 4);
  header.page_size = LoadBe32(p + 8);
  header.commit_pages = LoadBe32(p + 12);
  header.txids = {.min = Txid{LoadBe64(p + 16)}, .max = Txid{LoadBe64(p + 24)}};
  header.timestamp_ms = static_cast<std::int64_t>(LoadBe64(p + 32));
  header.pre_apply_checksum = LoadBe64(p + 40);
  header.wal_offset = static_cast<std::int64_t>(LoadBe64(p + 48));
  header.wal_size = static_cast<std::int64_t>(LoadBe64(p + 56));
  header.wal_salts = {LoadBe32(p + 64), LoadBe32(p + 68)};
  header.node_id = LoadBe64(p + 72);
  std::memcpy(header.reserved.data(), p + kLtxProofOffset, kLtxProofSize);
  LS_TRY(ValidateLtxHeader(header));
  return header;
}

Result<void> ValidateLtxHeader(const LtxHeader& header) {
  if ((header.flags & ~kLtxFlagNoChecksum) != 0) {
    // The first generation had bit 0: the page block is one LZ4 frame.
    const bool old = (header.flags & ~kLtxFlagNoChecksum) == 1;
    return Corruption(
        fmt::format("invalid flags: 0x{:08x}{}", header.flags, old ? kPreReleaseNote : ""));
  }
  if (!IsValidPageSize(header.page_size)) {
    return Corruption(fmt::format("invalid page size: {}", header.page_size));
  }
  const auto& [min, max] = header.txids;
  if (min == Txid{0}) return Corruption("minimum transaction id required");
  if (max == Txid{0}) return Corruption("maximum transaction id required");
  if (min > max) {
    return Corruption(fmt::format("transaction ids out of order: ({},{})", min.value, max.value));
  }
  if (header.wal_offset < 0) {
    return Corruption(fmt::format("wal offset cannot be negative: {}", header.wal_offset));
  }
  if (header.wal_size < 0) {
    return Corruption(fmt::format("wal size cannot be negative: {}", header.wal_size));
  }
  if (header.wal_offset == 0) {
    if (header.wal_salts[0] != 0 || header.wal_salts[1] != 0) {
      return Corruption("wal offset required if salt exists");
    }
    if (header.wal_size != 0) return Corruption("wal offset required if wal size exists");
  }
  return ValidatePreApplyChecksum(header);
}

std::array<std::byte, kLtxHeaderSize> FormatLtxHeader(const LtxHeader& header) {
  std::array<std::byte, kLtxHeaderSize> bytes;
  std::byte* p = bytes.data();
  std::memcpy(p, kMagic.data(), kMagic.size());
  StoreBe32(p + 4, header.flags);
  StoreBe32(p + 8, header.page_size);
  StoreBe32(p + 12, header.commit_pages);
  StoreBe64(p + 16, header.txids.min.value);
  StoreBe64(p + 24, header.txids.max.value);
  StoreBe64(p + 32, static_cast<std::uint64_t>(header.timestamp_ms));
  StoreBe64(p + 40, header.pre_apply_checksum);
  StoreBe64(p + 48, static_cast<std::uint64_t>(header.wal_offset));
  StoreBe64(p + 56, static_cast<std::uint64_t>(header.wal_size));
  StoreBe32(p + 64, header.wal_salts[0]);
  StoreBe32(p + 68, header.wal_salts[1]);
  StoreBe64(p + 72, header.node_id);
  std::memcpy(p + kLtxProofOffset, header.reserved.data(), kLtxProofSize);
  return bytes;
}

Result<void> ValidateLtxTrailer(const LtxHeader& header, const LtxTrailer& trailer) {
  const std::uint64_t post_apply = trailer.post_apply_checksum;
  if (!header.HasChecksums()) {
    if (post_apply != 0) return Corruption("post-apply checksum not allowed");
  } else if (post_apply == 0) {
    return Corruption("post-apply checksum required");
  } else if ((post_apply & kLtxChecksumFlag) == 0) {
    return Corruption("invalid post-apply checksum format");
  }
  if (trailer.file_checksum == 0) return Corruption("file checksum required");
  if ((trailer.file_checksum & kLtxChecksumFlag) == 0) {
    return Corruption("invalid file checksum format");
  }
  if (header.commit_pages == 0 && header.HasChecksums() && post_apply != kLtxChecksumFlag) {
    return Corruption("post-apply checksum must be empty for zero-length database");
  }
  return {};
}

}  // namespace litestream
