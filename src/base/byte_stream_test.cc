#include "litestream/byte_stream.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace litestream {
namespace {

// Hands out at most `step` bytes a call, and fails behind `fail_at`.
class SlowSource final : public ByteSource {
 public:
  SlowSource(std::string_view text, std::size_t step, std::size_t fail_at = std::string::npos)
      : text_(text), step_(step), fail_at_(fail_at) {}
  Result<std::size_t> Read(const Context& /*ctx*/, std::span<std::byte> out) override {
    if (at_ >= fail_at_) return Error(ErrorCode::kIo, "broken");
    const std::size_t n = std::min({out.size(), step_, text_.size() - at_});
    std::memcpy(out.data(), text_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  std::string_view text_;
  std::size_t step_;
  std::size_t fail_at_;
  std::size_t at_ = 0;
};

TEST(ReadFull, FillsTheBufferOrReachesTheEnd) {
  const struct {
    const char* why;
    std::size_t step;
    std::size_t want_bytes;
    std::string_view got;
  } cases[] = {
      {"byte by byte", 1, 5, "01234"},
      {"in one go", 100, 5, "01234"},
      {"exactly to the end", 3, 10, "0123456789"},
      {"behind the end", 3, 11, "0123456789"},
      {"nothing wanted", 3, 0, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    SlowSource source("0123456789", c.step);
    std::string buffer(c.want_bytes, '?');
    const auto n =
        ReadFull(Context::Background(), source, std::as_writable_bytes(std::span(buffer)));
    ASSERT_TRUE(n.ok());
    EXPECT_EQ(buffer.substr(0, n.value()), c.got);
  }
}

TEST(ReadFull, PassesTheErrorOn) {
  SlowSource source("0123456789", 2, 4);
  std::string buffer(8, '?');
  const auto n = ReadFull(Context::Background(), source, std::as_writable_bytes(std::span(buffer)));
  ASSERT_FALSE(n.ok());
  EXPECT_TRUE(n.error().Is(ErrorCode::kIo));
}

}  // namespace
}  // namespace litestream
