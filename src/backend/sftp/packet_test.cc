#include "backend/sftp/packet.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::sftp {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;

Reply Answer(PacketType type, const Body& body) {
  return {.type = type, .body = body.bytes()};
}

// From the draft: length, type, number, then the fields.
TEST(PacketTest, LooksAsTheProtocolSays) {
  EXPECT_EQ(MakePacket(PacketType::kOpen, 0x01020304,
                       Body().String("/a").U32(kOpenRead).NoAttributes().bytes()),
            "\0\0\0\x13\x03\x01\x02\x03\x04\0\0\0\x02/a\0\0\0\x01\0\0\0\0"s);
  EXPECT_EQ(Body().Times(1, 2).bytes(), "\0\0\0\x08\0\0\0\x01\0\0\0\x02"s);
  EXPECT_EQ(Body().U64(0x0102030405060708).bytes(), "\1\2\3\4\5\6\7\x8"s);
}

TEST(PacketTest, StatusWithAndWithoutText) {
  const auto status =
      ParseStatus(Answer(PacketType::kStatus, Body().U32(4).String("Failure").String("en")));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status.value().code, StatusCode::kFailure);
  EXPECT_EQ(status.value().message, "Failure");
  const auto old = ParseStatus(Answer(PacketType::kStatus, Body().U32(2)));
  ASSERT_TRUE(old.ok());
  EXPECT_EQ(old.value().code, StatusCode::kNoSuchFile);
  EXPECT_FALSE(ParseStatus(Answer(PacketType::kStatus, Body())).ok());
  EXPECT_FALSE(ParseStatus(Answer(PacketType::kData, Body().U32(0))).ok());
}

TEST(PacketTest, AttributesOfEveryKind) {
  const auto all = ParseAttributes(Answer(PacketType::kAttrs, Body()
                                                                  .U32(0x8000000f)
                                                                  .U64(1ULL << 40)
                                                                  .U32(1000)
                                                                  .U32(1000)
                                                                  .U32(0040755)
                                                                  .U32(11)
                                                                  .U32(12)
                                                                  .U32(1)
                                                                  .String("type")
                                                                  .String("data")));
  ASSERT_TRUE(all.ok()) << all.error().message();
  EXPECT_EQ(all.value().size_bytes, 1ULL << 40);
  EXPECT_EQ(all.value().accessed, 11U);
  EXPECT_EQ(all.value().modified, 12U);
  EXPECT_TRUE(all.value().IsDirectory());
  EXPECT_FALSE(all.value().IsLink());
  const auto none = ParseAttributes(Answer(PacketType::kAttrs, Body().U32(0)));
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none.value().size_bytes || none.value().mode || none.value().modified);
}

TEST(PacketTest, Names) {
  const auto names = ParseNames(Answer(PacketType::kName, Body()
                                                              .U32(2)
                                                              .String("a")
                                                              .String("-rw------- 1 a")
                                                              .U32(1)
                                                              .U64(5)
                                                              .String("l\nk")
                                                              .String("")
                                                              .U32(4)
                                                              .U32(0120777)));
  ASSERT_TRUE(names.ok()) << names.error().message();
  ASSERT_EQ(names.value().size(), 2U);
  EXPECT_EQ(names.value()[0].attributes.size_bytes, 5U);
  EXPECT_EQ(names.value()[1].name, "l\nk");
  EXPECT_TRUE(names.value()[1].attributes.IsLink());
}

TEST(PacketTest, Version) {
  const std::string packet =
      "\x02" +
      Body().U32(3).String("posix-rename@openssh.com").String("1").String("x").String("").bytes();
  const auto version = ParseVersion(packet);
  ASSERT_TRUE(version.ok()) << version.error().message();
  EXPECT_EQ(version.value().version, 3U);
  EXPECT_EQ(version.value().extensions.at("posix-rename@openssh.com"), "1");
  EXPECT_FALSE(ParseVersion("").ok());
  EXPECT_FALSE(ParseVersion("SSH").ok());
}

TEST(PacketTest, AvailableBlocks) {
  const auto blocks = ParseAvailableBlocks(
      Answer(PacketType::kExtendedReply, Body().U64(4096).U64(4096).U64(100).U64(50).U64(40)));
  ASSERT_TRUE(blocks.ok());
  EXPECT_EQ(blocks.value(), 40U);
}

// Every answer, cut off at every byte, is an error and no shorter answer.
TEST(PacketTest, WhatIsCutOffIsNoAnswer) {
  const struct {
    const char* why;
    PacketType type;
    Body body;
    std::function<bool(const Reply&)> parses;
  } cases[] = {
      {"handle", PacketType::kHandle, Body().String("handle"),
       [](const Reply& reply) { return ParseHandle(reply).ok(); }},
      {"data", PacketType::kData, Body().String("some data"),
       [](const Reply& reply) { return ParseData(reply).ok(); }},
      {"attributes", PacketType::kAttrs, Body().U32(0xf).U64(1).U32(2).U32(3).U32(4).U32(5).U32(6),
       [](const Reply& reply) { return ParseAttributes(reply).ok(); }},
      {"names", PacketType::kName, Body().U32(1).String("a").String("long a").U32(1).U64(7),
       [](const Reply& reply) { return ParseNames(reply).ok(); }},
      {"blocks", PacketType::kExtendedReply, Body().U64(1).U64(2).U64(3).U64(4).U64(5),
       [](const Reply& reply) { return ParseAvailableBlocks(reply).ok(); }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    Reply reply = Answer(c.type, c.body);
    EXPECT_TRUE(c.parses(reply));
    while (!reply.body.empty()) {
      reply.body.pop_back();
      EXPECT_FALSE(c.parses(reply)) << reply.body.size();
    }
    EXPECT_FALSE(c.parses({.type = PacketType::kVersion, .body = c.body.bytes()}));
  }
}

TEST(PacketTest, CountsAndSizesAreNotBelieved) {
  EXPECT_FALSE(ParseNames(Answer(PacketType::kName, Body().U32(0xffffffff))).ok());
  EXPECT_FALSE(ParseData(Answer(PacketType::kData, Body().U32(0xffffffff))).ok());
  EXPECT_FALSE(
      ParseAttributes(Answer(PacketType::kAttrs, Body().U32(0x80000000).U32(0xffffffff))).ok());
  EXPECT_FALSE(ParseHandle(Answer(PacketType::kHandle, Body().String(std::string(257, 'h')))).ok());
}

TEST(PacketTest, AStreamIsCutIntoPackets) {
  const std::string stream = MakePacket(PacketType::kStatus, 1, Body().U32(0).bytes()) +
                             MakePacket(PacketType::kData, 2, Body().String("abc").bytes());
  for (std::size_t step = 1; step <= stream.size(); ++step) {
    SCOPED_TRACE(step);
    PacketCutter cutter;
    std::vector<std::string> packets;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      cutter.Append(stream.substr(at, step));
      for (;;) {
        auto packet = cutter.Next();
        ASSERT_TRUE(packet.ok());
        if (!packet.value()) break;
        packets.push_back(*packet.value());
      }
    }
    ASSERT_EQ(packets.size(), 2U);
    EXPECT_EQ(packets[0], stream.substr(4, 9));
    EXPECT_EQ(packets[1], stream.substr(17));
  }
}

TEST(PacketTest, ATextIsNoPacket) {
  PacketCutter cutter;
  cutter.Append("Welcome to this machine!\n");
  const auto packet = cutter.Next();
  ASSERT_FALSE(packet.ok());
  EXPECT_THAT(packet.error().message(), HasSubstr("print a text at login"));
}

}  // namespace
}  // namespace litestream::sftp
