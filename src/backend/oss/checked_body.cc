#include "backend/oss/checked_body.h"

#include <charconv>
#include <span>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "cloud/bucket_session.h"
#include "http/crc64.h"

namespace litestream::oss {
namespace {

class Checked final : public ByteSource {
 public:
  Checked(std::unique_ptr<ByteSource> body, const ObjectSum& sum, std::string_view what)
      : body_(std::move(body)), sum_(sum), left_bytes_(sum.size_bytes), what_(what) {}

  Result<std::size_t> Read(const Context& ctx, std::span<std::byte> out) override {
    const std::size_t count = LS_TRY(body_->Read(ctx, out));
    crc_ = http::Crc64(crc_, {reinterpret_cast<const char*>(out.data()), count});
    left_bytes_ -= std::min<std::uint64_t>(left_bytes_, count);
    // Who knows the size does not read on to see the end.
    if (left_bytes_ > 0 || crc_ == sum_.crc64) return count;
    return Error(
        ErrorCode::kCorruption,
        fmt::format("{}: crc is inconsistent: {} instead of {}; it was damaged on its way, "
                    "or where it is kept",
                    what_, crc_, sum_.crc64));
  }

 private:
  const std::unique_ptr<ByteSource> body_;
  const ObjectSum sum_;
  std::uint64_t left_bytes_;
  std::uint64_t crc_ = 0;
  const std::string what_;
};

std::optional<std::uint64_t> Number(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || std::from_chars(text.data(), end, value).ptr != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<ObjectSum> SumOfWhole(int status, const http::Headers& headers) {
  const auto crc = cloud::CrcOf(headers);
  const auto size = Number(http::HeaderValue(headers, "content-length"));
  if (!crc || !size || *size == 0) return std::nullopt;
  if (status == 200) return ObjectSum{.size_bytes = *size, .crc64 = *crc};
  const std::string all = fmt::format("bytes 0-{}/{}", *size - 1, *size);
  if (status != 206 || http::HeaderValue(headers, "content-range") != all) return std::nullopt;
  return ObjectSum{.size_bytes = *size, .crc64 = *crc};
}

std::unique_ptr<ByteSource> CheckedBody(std::unique_ptr<ByteSource> body, const ObjectSum& sum,
                                        std::string_view what) {
  return std::make_unique<Checked>(std::move(body), sum, what);
}

}  // namespace litestream::oss
