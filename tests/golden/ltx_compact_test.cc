// The reference merged these files; our merge makes the same of them, or is stricter.
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/try.h"
#include "format/ltx_decoder.h"
#include "replica/merge.h"
#include "tests/golden/ltx_golden.h"
#include "tests/support/byte_streams.h"
#include "tests/support/golden.h"
#include "tests/support/sha256.h"

namespace litestream {
namespace {

using ::testing::HasSubstr;
using testing::SpanSource;
using Json = nlohmann::json;
namespace fs = std::filesystem;

// What we say where the reference says something else, or nothing.
struct Ours {
  const char* why;
  // Part of the message; unset: we merge what the reference cannot.
  std::optional<std::string> error;
};
const std::map<std::string, Ours> kDifferences = {
    {"bad-checksum-input", {"named by file", "in1.ltx: close reader: file checksum mismatch"}},
    {"empty-input", {"named by file", "in1.ltx: decode header: EOF"}},
    {"truncated-input", {"named by file", "in1.ltx: decode page 0: read compressed data"}},
    {"snapshot-hole", {"the page is named", "page 3 of 4 is in none of the files"}},
    {"snapshot-tail-missing",
     {"the reference notices when it decodes the result", "page 3 of 4 is in none of the files"}},
    {"shrink-then-grow-stale",
     {"the reference takes a page from before the cut",
      "page 5 of 6 is in none of the files from in2.ltx to in2.ltx"}},
    {"checksums-to-nochecksum", {"LTX's own checksums are dropped", std::nullopt}},
    {"nochecksum-to-checksums", {"we write no checksums of LTX's own", std::nullopt}},
};

Result<std::vector<std::byte>> Merge(const fs::path& folder, const Json& inputs) {
  const Context ctx = Context::Background();
  std::vector<MergeInput> files;
  for (const auto& name : inputs) {
    auto file = LS_TRY(MergeInputFrom(Env::Real(), folder / name.get<std::string>(), {}));
    file.name = name.get<std::string>();
    file.txids.reset();
    files.push_back(std::move(file));
  }
  const auto merge = LS_TRY(LtxMerge::Open(ctx, std::move(files), {}));
  std::vector<std::byte> bytes(std::size_t{1} << 20);
  bytes.resize(LS_TRY(ReadFull(ctx, *merge, bytes)));
  return bytes;
}

void ExpectSame(std::span<const std::byte> merged, const Json& want) {
  const Context ctx = Context::Background();
  SpanSource source(merged);
  LtxDecoder decoder(source);
  const auto read = decoder.ReadHeader(ctx);
  ASSERT_TRUE(read.ok()) << read.error().message();
  const LtxHeader& header = read.value();
  const Json& golden = want["header"];
  EXPECT_EQ(header.flags, kLtxFlagNoChecksum);
  EXPECT_EQ(header.page_size, golden["page_size"]);
  EXPECT_EQ(header.commit_pages, golden["commit"]);
  EXPECT_EQ(header.txids.min.value, Hex(golden["min_txid"]));
  EXPECT_EQ(header.txids.max.value, Hex(golden["max_txid"]));
  EXPECT_EQ(header.timestamp_ms, golden["timestamp_ms"]);
  EXPECT_EQ(header.pre_apply_checksum, 0U);
  EXPECT_EQ(header.wal_offset, 0);
  EXPECT_EQ(header.wal_size, 0);
  EXPECT_EQ(header.wal_salts, (std::array<std::uint32_t, 2>{}));
  EXPECT_EQ(header.node_id, 0U);
  for (const Json& page : want["pages"]) {
    const auto decoded = decoder.ReadPage(ctx);
    ASSERT_TRUE(decoded.ok() && decoded.value().has_value());
    EXPECT_EQ(decoded.value()->pgno.value, page["pgno"]);
    EXPECT_EQ(Sha256Hex(decoded.value()->page), page["sha256"]);
    EXPECT_FALSE(decoded.value()->block.empty());
  }
  const auto end = decoder.ReadPage(ctx);
  ASSERT_TRUE(end.ok() && !end.value().has_value());
  EXPECT_TRUE(decoder.Finish(ctx).ok());
}

TEST(GoldenCompact, EveryCase) {
  std::set<std::string> seen;
  for (const fs::path& folder : GoldenCases("ltx-compact")) {
    const std::string name = folder.filename();
    SCOPED_TRACE(name);
    const Json expected = LoadJson(folder / "expected.json");
    const auto merged = Merge(folder, expected["inputs"]);
    const auto ours = kDifferences.find(name);
    const bool differs = ours != kDifferences.end();
    if (differs) seen.insert(name);
    const bool fails = differs ? ours->second.error.has_value() : expected.contains("error");
    ASSERT_EQ(merged.ok(), !fails) << (merged.ok() ? "" : merged.error().message());
    if (fails) {
      const std::string want = differs ? *ours->second.error : expected["error"].get<std::string>();
      EXPECT_EQ(merged.error().code(), ErrorCode::kCorruption);
      EXPECT_THAT(merged.error().message(), HasSubstr(want));
      EXPECT_THAT(merged.error().message(), HasSubstr(".ltx"));
    } else if (expected.contains("output")) {
      ExpectSame(merged.value(), expected["output"]);
    } else {
      SpanSource source(merged.value());
      EXPECT_TRUE(VerifyLtx(Context::Background(), source).ok());
    }
  }
  EXPECT_EQ(seen.size(), kDifferences.size());
}

}  // namespace
}  // namespace litestream
