#pragma once

#include <cstdint>
#include <span>

#include "format/crc64.h"
#include "format/ltx.h"
#include "format/page_sum.h"

namespace litestream {

// The file checksum of an LTX file as it grows: CRC-64 over all bytes but the last eight, with the
// pages as they are uncompressed. A page that has been hashed already is folded in by its sum,
// because with K = x^(8 * page size)
//
//   CRC(before || page) = CRC(before) * K ^ CRC(page)
//   PageSum             = CRC(be32(pgno)) * K ^ CRC(page)
class LtxFileChecksum {
 public:
  explicit LtxFileChecksum(std::uint32_t page_size) : page_size_(page_size), by_page_(page_size) {}

  void Add(std::span<const std::byte> bytes) {
    crc_ = Crc64(crc_, bytes);
    hashed_bytes_ += bytes.size();
  }
  void AddPage(Pgno pgno, std::uint64_t page_sum) {
    crc_ = by_page_.Combine(crc_ ^ PgnoSum(pgno), page_sum);
    hashed_bytes_ += page_size_;
  }
  // The stretch that ends `end_bytes` from the start had `difference` xored into it.
  void Patch(std::span<const std::byte> difference, std::uint64_t end_bytes) {
    crc_ ^= Crc64Shift(hashed_bytes_ - end_bytes).Apply(Crc64Linear(difference));
  }
  // As stored.
  std::uint64_t value() const { return crc_ | kLtxChecksumFlag; }

 private:
  std::uint32_t page_size_;
  Crc64Shift by_page_;
  std::uint64_t crc_ = 0;
  std::uint64_t hashed_bytes_ = 0;
};

}  // namespace litestream
