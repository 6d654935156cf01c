#include "cloud/ranged_body.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "http/curl_error.h"

namespace litestream::cloud {
namespace {

constexpr int kPartialContent = 206;

class Body final : public ByteSource {
 public:
  Body(std::unique_ptr<http::Exchange> exchange, std::uint64_t limit_bytes, std::string_view what)
      : exchange_(std::move(exchange)), left_bytes_(limit_bytes), what_(what) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    if (exchange_ == nullptr || left_bytes_ == 0) return std::size_t{0};
    out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), left_bytes_)));
    const std::size_t count = LS_TRY(exchange_->Read(ctx, out), "{}", what_);
    left_bytes_ -= count;
    if (count == 0 && !out.empty()) exchange_.reset();
    return count;
  }

 private:
  std::unique_ptr<http::Exchange> exchange_;  // Null: nothing (more) to read.
  std::uint64_t left_bytes_;
  const std::string what_;
};

// Of the last byte; unset if the range goes to the end.
std::optional<std::uint64_t> LastByte(const ByteRange& range) {
  const std::uint64_t last = range.offset_bytes + (range.length_bytes - 1);
  if (range.length_bytes == 0 || last < range.offset_bytes) return std::nullopt;
  return last;
}

}  // namespace

std::optional<http::Header> RangeHeader(const ByteRange& range, std::string_view name) {
  if (range.offset_bytes == 0 && range.length_bytes == 0) return std::nullopt;
  const auto last = LastByte(range);
  return http::Header{std::string(name), last
                                             ? fmt::format("bytes={}-{}", range.offset_bytes, *last)
                                             : fmt::format("bytes={}-", range.offset_bytes)};
}

Result<std::unique_ptr<ByteSource>> RangedBody(std::unique_ptr<http::Exchange> answer,
                                               const ByteRange& range, std::string_view what) {
  const std::uint64_t limit = range.length_bytes == 0 ? ~std::uint64_t{0} : range.length_bytes;
  const int status = answer->status();
  if (status == kRangeNotSatisfiable) return std::make_unique<Body>(nullptr, 0, what);
  const std::string said = http::HeaderValue(answer->headers(), "content-range");
  const bool right = status == kPartialContent
                         ? said.starts_with(fmt::format("bytes {}-", range.offset_bytes))
                         : range.offset_bytes == 0;
  if (!right) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("{}: asked for bytes from {}, the server sends others ({} {})", what,
                             range.offset_bytes, status, http::Shown(said)));
  }
  return std::make_unique<Body>(std::move(answer), limit, what);
}

}  // namespace litestream::cloud
