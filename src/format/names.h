#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "litestream/replica_client.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// Text forms that users and file names show.

// 16 lower-case hex digits.
std::string FormatHex64(std::uint64_t value);
// Exactly 16 hex digits, either case; kInvalidArgument otherwise.
Result<std::uint64_t> ParseHex64(std::string_view text);
std::string FormatTxid(Txid txid);
Result<Txid> ParseTxid(std::string_view text);

// "<min>-<max>.ltx". Only lower-case digits are a name; min and max may be in any order.
std::string FormatLtxFilename(const TxidRange& range);
std::optional<TxidRange> ParseLtxFilename(std::string_view name);

// Go's RFC3339Nano in UTC: trailing zeros of the fraction, or all of it, are left out.
std::string FormatTimestamp(WallTime time);
// RFC 3339 with seconds, UTC: "2026-01-02T03:04:05Z".
std::string FormatTimestampSeconds(WallTime time);
// "2026-01-02T03:04:05.678Z", 24 characters in the years 0 to 9999.
std::string FormatTimestampMillis(WallTime time);
// What Go's time.RFC3339Nano parser takes: "T" and a zone are required, a fraction of any length
// after "." or ",", an hour of one digit. Truncated to milliseconds.
Result<WallTime> ParseTimestamp(std::string_view text);

}  // namespace litestream
