// Damaged files get the verdict that a careful reader has to give.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "format/ltx_decoder.h"
#include "tests/golden/ltx_golden.h"
#include "tests/support/byte_streams.h"
#include "tests/support/golden.h"
#include "tests/support/sha256.h"

namespace litestream {
namespace {

using testing::SpanSource;
using Json = nlohmann::json;

Json Expected(const char* name) {
  return LoadJson(GoldenDir() / "ltx-corrupt" / name);
}

std::vector<std::byte> ReadCase(const std::string& name) {
  return ReadWholeFile(GoldenDir() / "ltx-corrupt" / name);
}

// The error, or nothing. The pieces that the source gives must not matter.
std::optional<Error> Verify(std::span<const std::byte> file) {
  const Context ctx = Context::Background();
  SpanSource source(file);
  auto verified = VerifyLtx(ctx, source);
  SpanSource small_pieces(file, 7);
  const auto again = VerifyLtx(ctx, small_pieces);
  EXPECT_EQ(verified.ok(), again.ok());
  if (verified.ok()) return std::nullopt;
  EXPECT_EQ(verified.error().message(), again.ok() ? "" : again.error().message());
  EXPECT_EQ(verified.error().code(), ErrorCode::kCorruption);
  return std::move(verified).error();
}

// `item` has the reference's error and, where it is not the last word, what is correct.
void ExpectVerdict(std::span<const std::byte> file, const Json& item) {
  const auto error = Verify(file);
  const std::string correct =
      item.value("correct", item["verify_error"].is_null() ? "accept" : "reject");
  if (correct == "accept") {
    EXPECT_FALSE(error.has_value()) << error->message();
  } else if (correct == "reject") {
    EXPECT_TRUE(error.has_value());
  } else {
    EXPECT_EQ(correct, "either");
  }
}

// Random access must survive everything, and see no page that streaming would not accept.
void ReadAtRandom(std::span<const std::byte> file) {
  const auto index = ReadIndexFromEnd(file, 5);
  if (!index.ok()) {
    EXPECT_EQ(index.error().code(), ErrorCode::kCorruption);
    return;
  }
  std::vector<std::byte> page(512);
  for (const LtxIndexEntry& entry : index.value()) {
    ASSERT_LE(entry.offset_bytes + entry.size_bytes, file.size());
    const auto frame = ParseLtxFrame(file.subspan(entry.offset_bytes, entry.size_bytes), 512);
    if (frame.ok()) (void)DecodeLtxFrame(frame.value(), page).ok();
  }
}

TEST(LtxCorruptGolden, Cases) {
  const Json all = Expected("expected.json");
  ASSERT_TRUE(all.contains("cases"));
  EXPECT_GE(all["cases"].size(), 100U);
  for (const Json& item : all["cases"]) {
    SCOPED_TRACE(item["name"].get<std::string>());
    const auto file = ReadCase(item["file"]);
    ASSERT_EQ(Sha256Hex(file), item["sha256"]);
    ExpectVerdict(file, item);
    ReadAtRandom(file);
  }
}

// Where the reference has a message of its own (and not its runtime's), ours says as much.
TEST(LtxCorruptGolden, MessagesSayAsMuchAsTheReference) {
  // What we find earlier, or in our own words.
  const std::map<std::string, std::string> ours = {
      {"empty", "decode header: EOF (the file is empty)"},
      {"block-long", "decode page 0: decompress block: lz4: invalid source"},
      {"data-size-4g", "decode page 0: invalid data size: 4294967295 for a page of 512 bytes"},
      {"data-size-64k", "decode page 0: invalid data size: 65536 for a page of 512 bytes"},
      {"legacy-flag-1", "decode page 0: invalid data size: "},
      {"index-varint-11-bytes", "close reader: read page index: "},
      {"index-unterminated", "close reader: read page index: "},
      {"index-bytes-after-terminator", "close reader: read page index: size field says "},
  };
  const Json all = Expected("expected.json");
  ASSERT_TRUE(all.contains("cases"));
  int compared = 0;
  for (const Json& item : all["cases"]) {
    if (item["verify_error"].is_null()) continue;
    ++compared;
    const std::string name = item["name"];
    SCOPED_TRACE(name);
    const auto error = Verify(ReadCase(item["file"]));
    ASSERT_TRUE(error.has_value());
    const auto found = ours.find(name);
    const std::string want =
        found != ours.end() ? found->second : item["verify_error"].get<std::string>();
    EXPECT_EQ(error->message().substr(0, want.size()), want) << error->message();
  }
  EXPECT_GE(compared, 60);
}

TEST(LtxCorruptGolden, OlderGenerationsAreNamed) {
  for (const char* name : {"generation-1-lz4.ltx", "generation-1-raw.ltx", "generation-2.ltx"}) {
    SCOPED_TRACE(name);
    const auto error = Verify(ReadCase(name));
    ASSERT_TRUE(error.has_value());
    EXPECT_NE(error->message().find("LTX file from a pre-release format"), std::string::npos)
        << error->message();
  }
}

// An index that the reference cannot fetch is an error; one of a good file is none.
TEST(LtxCorruptGolden, IndexFromTheEnd) {
  const Json all = Expected("expected.json");
  ASSERT_TRUE(all.contains("cases"));
  for (const Json& item : all["cases"]) {
    SCOPED_TRACE(item["name"].get<std::string>());
    const auto file = ReadCase(item["file"]);
    const auto index = ReadIndexFromEnd(file, SIZE_MAX);
    if (!item["fetch_index_error"].is_null()) {
      EXPECT_FALSE(index.ok());
    }
    // The index of these files is wrong, and the index alone shows it. (With `index-wrong-pgno`
    // and `index-wrong-size` it takes the frames.)
    const std::string name = item["name"];
    if (name.starts_with("index-") && name != "index-wrong-pgno") {
      EXPECT_FALSE(index.ok());
    }
    if (name.starts_with("header-") || name.starts_with("trailer-")) {
      EXPECT_TRUE(index.ok()) << index.error().message();
    }
  }
}

// The golden verdict is wrong here: with this bit the block expands to 384 bytes of 512. The
// reference left the rest of its page buffer as the page before had filled it.
bool IsShortBlock(const Json& base, const Json& edit) {
  return base["base"] == "base-increment.ltx" && edit["op"] == "flip" && edit["offset"] == 115;
}

TEST(LtxCorruptGolden, EveryCutFlipAndAppendedByte) {
  std::size_t edits = 0;
  const Json all = Expected("edits.json");
  ASSERT_TRUE(all.contains("bases"));
  for (const Json& base : all["bases"]) {
    SCOPED_TRACE(base["base"].get<std::string>());
    const auto file = ReadCase(base["base"]);
    ASSERT_EQ(Sha256Hex(file), base["sha256"]);
    EXPECT_FALSE(Verify(file).has_value());
    for (const Json& edit : base["edits"]) {
      SCOPED_TRACE(edit.dump());
      const auto edited = ApplyEdit(file, edit);
      ASSERT_NE(edited, file);
      ++edits;
      ReadAtRandom(edited);
      if (IsShortBlock(base, edit)) {
        const auto error = Verify(edited);
        ASSERT_TRUE(error.has_value());
        EXPECT_EQ(error->message(),
                  "decode page 0: decompress block: lz4: invalid source or destination buffer too "
                  "short (24 bytes do not expand to a page of 512)");
        continue;
      }
      ExpectVerdict(edited, edit);
    }
  }
  EXPECT_EQ(edits, 3777U);
}

// Beyond the golden edits: every possible length.
TEST(LtxCorruptGolden, EveryLengthButTheWholeIsRejected) {
  const Json all = Expected("edits.json");
  ASSERT_TRUE(all.contains("bases"));
  for (const Json& base : all["bases"]) {
    SCOPED_TRACE(base["base"].get<std::string>());
    const auto file = ReadCase(base["base"]);
    for (std::size_t length = 0; length < file.size(); ++length) {
      const auto error = Verify(std::span(file).first(length));
      ASSERT_TRUE(error.has_value()) << length;
      ASSERT_NE(error->message().find("EOF"), std::string::npos) << length << error->message();
    }
  }
}

}  // namespace
}  // namespace litestream
