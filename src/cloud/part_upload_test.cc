#include "cloud/part_upload.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/byte_streams.h"

namespace litestream::cloud {
namespace {

const Context kNever = Context::Background();

// Notes what happens: "begin 3 3 2! complete".
class NotingSink final : public PartSink {
 public:
  std::uint64_t PieceBytes(std::uint64_t number) const override {
    return number < 3 ? 3 : 2 * number;
  }
  Result<void> PutWhole(const Context&, Piece whole) override {
    return Note("whole " + *whole, *whole);
  }
  Result<void> Begin(const Context&) override { return Note("begin", ""); }
  Result<void> Add(const Context&, Piece piece, bool is_last) override {
    return Note(std::to_string(piece->size()) + (is_last ? "!" : ""), *piece);
  }
  Result<void> Complete(const Context&) override { return Note("complete", ""); }
  void Abort() override { notes += " abort"; }

  std::string notes;
  std::string content;
  std::string fails_at;

 private:
  Result<void> Note(const std::string& what, const std::string& bytes) {
    notes += (notes.empty() ? "" : " ") + what;
    content += bytes;
    if (what == fails_at) return Error(ErrorCode::kDenied, "no");
    return {};
  }
};

std::string Upload(NotingSink& sink, const std::string& text,
                   std::optional<std::uint64_t> size = std::nullopt) {
  testing::SpanSource body(std::as_bytes(std::span(text)), 2);
  const auto bytes = UploadInParts(kNever, body, size, sink, "x");
  return bytes.ok() ? std::to_string(bytes.value()) : std::string(ToString(bytes.error().code()));
}

TEST(PartUploadTest, WhatFitsIntoOnePieceIsNoUploadInParts) {
  for (const char* text : {"", "a", "abc"}) {
    NotingSink sink;
    EXPECT_EQ(Upload(sink, text), std::to_string(std::string_view(text).size()));
    EXPECT_EQ(sink.notes, std::string("whole ") + text);
  }
}

TEST(PartUploadTest, OnlyTheLastPieceIsMarkedAndSmaller) {
  const std::pair<std::size_t, std::string> cases[] = {{4, "begin 3 1! complete"},
                                                       {6, "begin 3 3! complete"},
                                                       {7, "begin 3 3 1! complete"},
                                                       {12, "begin 3 3 6! complete"},
                                                       {13, "begin 3 3 6 1! complete"}};
  for (const auto& [size, notes] : cases) {
    NotingSink sink;
    const std::string text = std::string("0123456789abcdef").substr(0, size);
    EXPECT_EQ(Upload(sink, text, size), std::to_string(size));
    EXPECT_EQ(sink.notes, notes);
    EXPECT_EQ(sink.content, text);
  }
}

TEST(PartUploadTest, AnotherSizeThanAnnouncedStoresNothing) {
  for (const std::uint64_t size : {0, 1, 3}) {
    NotingSink sink;
    EXPECT_EQ(Upload(sink, "ab", size), "corruption") << size;
    EXPECT_EQ(sink.notes, "");
  }
  for (const std::uint64_t size : {2, 3, 4, 6, 8, 100}) {
    NotingSink sink;
    EXPECT_EQ(Upload(sink, "0123456", size), "corruption") << size;
    EXPECT_EQ(sink.notes.find("complete"), std::string::npos);
    EXPECT_TRUE(sink.notes.ends_with("abort")) << sink.notes;
    EXPECT_LE(sink.content.size(), size) << "no more than announced is sent";
  }
}

TEST(PartUploadTest, WhatFailsIsAborted) {
  for (const char* at : {"begin", "3", "1!", "complete"}) {
    NotingSink sink;
    sink.fails_at = at;
    EXPECT_EQ(Upload(sink, "0123456"), "denied") << at;
    EXPECT_TRUE(sink.notes.ends_with("abort")) << sink.notes;
  }
}

}  // namespace
}  // namespace litestream::cloud
