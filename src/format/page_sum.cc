#include "format/page_sum.h"

#include <array>

#include "base/endian.h"
#include "format/crc64.h"

namespace litestream {

std::uint64_t PgnoSum(Pgno pgno) {
  std::array<std::byte, 4> bytes;
  StoreBe32(bytes.data(), pgno.value);
  return Crc64(0, bytes);
}

std::uint64_t PageSum(Pgno pgno, std::span<const std::byte> page) {
  return Crc64(PgnoSum(pgno), page);
}

}  // namespace litestream
