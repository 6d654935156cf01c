#include "backend/gs/summed_source.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "backend/gs/object.h"
#include "base/try.h"
#include "http/curl_error.h"
#include "http/digest.h"

namespace litestream::gs {
namespace {

constexpr int kPartialContent = 206;

Error Damaged(std::string_view what, std::string_view is, std::string_view want) {
  return {ErrorCode::kCorruption,
          fmt::format("{}: the content has CRC32C {} instead of {}", what, is, http::Shown(want))};
}

class SummedSource final : public ByteSource {
 public:
  SummedSource(std::unique_ptr<ByteSource> source, Sum sum, std::string_view what)
      : source_(std::move(source)), sum_(std::move(sum)), what_(what) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    const std::size_t count = LS_TRY(source_->Read(ctx, out));
    crc_ = http::Crc32c({reinterpret_cast<const char*>(out.data()), count}, crc_);
    done_bytes_ += count;
    // A short body is an error of its own, and nobody need read on to the end.
    if (done_bytes_ >= sum_.size_bytes && http::Base64Crc(crc_) != sum_.crc32c) {
      return Damaged(what_, http::Base64Crc(crc_), sum_.crc32c);
    }
    return count;
  }

 private:
  const std::unique_ptr<ByteSource> source_;
  const Sum sum_;
  const std::string what_;
  std::uint32_t crc_ = 0;
  std::uint64_t done_bytes_ = 0;
};

// The header may come more than once: one for each kind of sum.
std::string Crc32cOf(const http::Headers& headers) {
  for (const http::Header& header : headers) {
    if (http::LowerCase(header.name) != "x-goog-hash") continue;
    std::string crc32c = Crc32cOfHeader(header.value);
    if (!crc32c.empty()) return crc32c;
  }
  return {};
}

}  // namespace

std::optional<Sum> SumOfAnswer(int status, const http::Headers& headers) {
  Sum sum{.crc32c = Crc32cOf(headers)};
  if (sum.crc32c.empty() || status >= 300) return std::nullopt;
  std::string size = http::HeaderValue(headers, "content-length");
  const std::string range = http::HeaderValue(headers, "content-range");
  if (size.empty()) size = http::HeaderValue(headers, "x-goog-stored-content-length");
  // "bytes 0-99/100"
  if (status == kPartialContent) size = range.substr(std::min(range.find('/') + 1, range.size()));
  const char* const end = size.data() + size.size();
  const auto parsed = std::from_chars(size.data(), end, sum.size_bytes);
  if (size.empty() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  const bool is_part = status == kPartialContent &&
                       range != fmt::format("bytes 0-{}/{}", sum.size_bytes - 1, sum.size_bytes);
  return is_part ? std::nullopt : std::optional(std::move(sum));
}

std::unique_ptr<ByteSource> MakeSummedSource(std::unique_ptr<ByteSource> source, Sum sum,
                                             std::string_view what) {
  return std::make_unique<SummedSource>(std::move(source), std::move(sum), what);
}

Result<void> CheckSum(const http::Response& answer, std::string_view what) {
  const std::string want = Crc32cOf(answer.headers);
  const std::string is = http::Base64Crc(http::Crc32c(answer.body));
  if (want.empty() || want == is) return {};
  return Damaged(what, is, want);
}

}  // namespace litestream::gs
