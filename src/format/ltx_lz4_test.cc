#include "format/ltx_lz4.h"

#include <algorithm>
#include <random>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <lz4.h>
#include <lz4frame.h>

#include "base/endian.h"

namespace litestream {
namespace {

constexpr unsigned kSeed = 20260802;
using Bytes = std::vector<std::byte>;

// Runs, copies from near and far, and noise, so that all kinds of matches come up.
Bytes MakePage(std::mt19937_64& random, std::size_t size) {
  Bytes page;
  while (page.size() < size) {
    const std::size_t n = 1 + random() % (random() % 8 == 0 ? 600 : 24);
    switch (page.empty() ? 0 : random() % 3) {
      case 0:
        for (std::size_t i = 0; i < n; ++i) page.push_back(static_cast<std::byte>(random()));
        break;
      case 1:
        page.insert(page.end(), n, static_cast<std::byte>(random()));
        break;
      default: {
        const std::size_t reach = random() % 2 == 0 ? 20 : page.size();
        const std::size_t distance = 1 + random() % std::min(reach, page.size());
        for (std::size_t i = 0; i < n; ++i) page.push_back(page[page.size() - distance]);
      }
    }
  }
  page.resize(size);
  return page;
}

Bytes Compress(const Bytes& page, int acceleration = 1) {
  Bytes block(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(page.size()))));
  const int size = LZ4_compress_fast(
      reinterpret_cast<const char*>(page.data()), reinterpret_cast<char*>(block.data()),
      static_cast<int>(page.size()), static_cast<int>(block.size()), acceleration);
  block.resize(static_cast<std::size_t>(size));
  return block;
}

TEST(ExpandLz4Block, WhatLz4Compressed) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (const std::size_t size : {512U, 1024U, 4096U, 65536U}) {
    for (int round = 0; round < 200; ++round) {
      const Bytes page = MakePage(random, size);
      const Bytes block = Compress(page, 1 + static_cast<int>(random() % 20));
      Bytes expanded(size);
      ASSERT_TRUE(ExpandLz4Block(block, expanded)) << size << " " << round;
      ASSERT_EQ(expanded, page);
      // One byte more or less is another page.
      Bytes longer(size + 1);
      ASSERT_FALSE(ExpandLz4Block(block, longer));
      Bytes shorter(size - 1);
      ASSERT_FALSE(ExpandLz4Block(block, shorter));
      ASSERT_FALSE(ExpandLz4Block(std::span(block).first(block.size() - 1), expanded));
    }
  }
}

// Every distance up to 40 with every length up to 80, also against the end of the page.
TEST(ExpandLz4Block, OverlappingMatches) {
  std::mt19937_64 random(kSeed);
  for (std::size_t distance = 1; distance <= 40; ++distance) {
    for (std::size_t length = 4; length <= 80; ++length) {
      for (const std::size_t behind : {5U, 100U}) {
        Bytes want;
        for (std::size_t i = 0; i < distance; ++i) want.push_back(static_cast<std::byte>(random()));
        Bytes block;
        const std::size_t nibble = std::min<std::size_t>(15, length - 4);
        const auto put_length = [&block](std::size_t n) {
          for (; n >= 255; n -= 255) block.push_back(std::byte{255});
          block.push_back(static_cast<std::byte>(n));
        };
        block.push_back(static_cast<std::byte>(std::min<std::size_t>(15, distance) << 4 | nibble));
        if (distance >= 15) put_length(distance - 15);
        block.insert(block.end(), want.begin(), want.end());
        block.push_back(static_cast<std::byte>(distance));
        block.push_back(std::byte{0});
        if (nibble == 15) put_length(length - 4 - 15);
        for (std::size_t i = 0; i < length; ++i) want.push_back(want[want.size() - distance]);
        block.push_back(static_cast<std::byte>(std::min<std::size_t>(15, behind) << 4));
        if (behind >= 15) put_length(behind - 15);
        for (std::size_t i = 0; i < behind; ++i) {
          want.push_back(static_cast<std::byte>(random()));
          block.push_back(want.back());
        }
        Bytes page(want.size());
        ASSERT_TRUE(ExpandLz4Block(block, page)) << distance << " " << length << " " << behind;
        ASSERT_EQ(page, want) << distance << " " << length << " " << behind;
      }
    }
  }
}

// What both accept is the same; we accept nothing that ends in other ways than liblz4 allows, but
// for matches in the last bytes, and less than liblz4 does: see the header.
TEST(ExpandLz4Block, DamagedBlocksAreJudgedAsByLz4) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  int both = 0;
  int neither = 0;
  for (int round = 0; round < 20000; ++round) {
    const Bytes page = MakePage(random, 512);
    Bytes block = Compress(page);
    for (int n = 1 + static_cast<int>(random() % 2); n > 0; --n) {
      block[random() % block.size()] ^= static_cast<std::byte>(1U << random() % 8);
    }
    Bytes ours(512, std::byte{0x55});
    Bytes theirs(512, std::byte{0xaa});
    const bool we = ExpandLz4Block(block, ours);
    const bool they =
        LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()),
                            reinterpret_cast<char*>(theirs.data()), static_cast<int>(block.size()),
                            static_cast<int>(theirs.size())) == 512;
    if (we && they) {
      ASSERT_EQ(ours, theirs) << round;
      ++both;
    }
    neither += !we && !they ? 1 : 0;
  }
  EXPECT_GT(both, 1000);
  EXPECT_GT(neither, 1000);
}

TEST(ExpandLz4Block, Rejects) {
  const struct {
    const char* why;
    Bytes block;
  } cases[] = {
      {"nothing", {}},
      {"a distance of 0",
       {std::byte{0x44}, {}, {}, {}, {}, {}, {}, std::byte{0x40}, {}, {}, {}, {}}},
      {"a distance before the page",
       {std::byte{0x44}, {}, {}, {}, {}, std::byte{5}, {}, std::byte{0x40}, {}, {}, {}, {}}},
      {"literals that are cut", {std::byte{0xf0}, std::byte{1}, {}}},
      {"a length that is cut", {std::byte{0xf0}, std::byte{255}, std::byte{255}}},
      {"no literals at the end",
       {std::byte{0xc4}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, std::byte{1}, {}}},
      {"a match announced at the end",
       {std::byte{0xf4},
        std::byte{1},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {},
        {}}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    for (const std::size_t size : {4U, 12U, 16U, 20U}) {
      Bytes page(size);
      EXPECT_FALSE(ExpandLz4Block(c.block, page));
    }
  }
}

std::span<const std::byte> Text(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Xxh32, KnownValues) {
  EXPECT_EQ(Xxh32({}), 0x02cc5d05U);
  EXPECT_EQ(Xxh32(Text("a")), 0x550d7456U);
  EXPECT_EQ(Xxh32(Text("abc")), 0x32d153ffU);
  EXPECT_EQ(Xxh32(Text("Nobody inspects the spammish repetition")), 0xe2293b2fU);
}

Bytes CompressFrame(const Bytes& page, const LZ4F_preferences_t& preferences) {
  Bytes frame(LZ4F_compressFrameBound(page.size(), &preferences));
  frame.resize(
      LZ4F_compressFrame(frame.data(), frame.size(), page.data(), page.size(), &preferences));
  return frame;
}

TEST(ExpandLz4Frame, AllKindsThatHoldOnePage) {
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  for (const std::size_t size : {512U, 4096U, 65536U}) {
    for (unsigned kind = 0; kind < 32; ++kind) {
      SCOPED_TRACE(kind);
      LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
      preferences.frameInfo.contentChecksumFlag =
          (kind & 1) != 0 ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum;
      preferences.frameInfo.blockChecksumFlag =
          (kind & 2) != 0 ? LZ4F_blockChecksumEnabled : LZ4F_noBlockChecksum;
      preferences.frameInfo.contentSize = (kind & 4) != 0 ? size : 0;
      preferences.frameInfo.blockMode = (kind & 8) != 0 ? LZ4F_blockIndependent : LZ4F_blockLinked;
      Bytes page = MakePage(random, size);
      if ((kind & 16) != 0) {  // Noise: the block is stored.
        for (auto& b : page) b = static_cast<std::byte>(random());
      }
      Bytes frame = CompressFrame(page, preferences);
      const std::size_t frame_size = frame.size();
      frame.insert(frame.end(), 50, std::byte{0x77});  // What follows does not matter.
      Bytes expanded(size);
      const auto got = ExpandLz4Frame(frame, expanded);
      ASSERT_TRUE(got.ok()) << got.error().message();
      EXPECT_EQ(got.value(), frame_size);
      EXPECT_EQ(expanded, page);
      for (const std::size_t cut : {std::size_t{0}, std::size_t{3}, std::size_t{6}, frame_size / 2,
                                    frame_size - 5, frame_size - 1}) {
        EXPECT_FALSE(ExpandLz4Frame(std::span(frame).first(cut), expanded).ok()) << cut;
      }
      Bytes other(size == 512 ? 1024 : 512);
      EXPECT_FALSE(ExpandLz4Frame(frame, other).ok());
    }
  }
}

TEST(ExpandLz4Frame, RejectsDamage) {
  std::mt19937_64 random(kSeed);
  const Bytes page = MakePage(random, 512);
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  const Bytes good = CompressFrame(page, preferences);
  const struct {
    const char* why;
    std::size_t offset;
    std::byte mask;
    const char* message;
  } cases[] = {
      {"magic", 0, std::byte{1}, "lz4: bad magic number"},
      {"version", 4, std::byte{0x80}, "lz4: unsupported frame flags 0xe4"},
      {"dictionary", 4, std::byte{0x01}, "lz4: unsupported frame flags 0x65"},
      {"flags", 4, std::byte{0x20}, "lz4: invalid header checksum: got "},
      {"header checksum", 6, std::byte{1}, "lz4: invalid header checksum: got "},
      {"block size", 9, std::byte{0x10}, "lz4: invalid block size "},
      {"end mark", good.size() - 6, std::byte{1},
       "read lz4 trailer: expected lz4 end frame (another block follows)"},
      {"content checksum", good.size() - 1, std::byte{1},
       "read lz4 trailer: expected lz4 end frame (content checksum mismatch)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    Bytes frame = good;
    frame[c.offset] ^= c.mask;
    Bytes expanded(512);
    const auto got = ExpandLz4Frame(frame, expanded);
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code(), ErrorCode::kCorruption);
    EXPECT_EQ(got.error().message().substr(0, std::string_view(c.message).size()), c.message);
  }
}

}  // namespace
}  // namespace litestream
