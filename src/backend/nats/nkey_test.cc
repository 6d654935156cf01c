#include "backend/nats/nkey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::nats {
namespace {

// Made with the reference implementation's format by a program of its own.
constexpr const char* kSeed = "SUAI5OSBCGKO3V274I2GLJKLUCYM4E67INTQ746JTAQR6XBT3HHRM44WVI";
constexpr const char* kPublic = "UAMYLH2HBUTK3G6CIFRZOUTGJKPXL4VLSRNJ2T33L667PFVM6K5ALFWT";

TEST(NkeyTest, ThePublicKeyOfASeed) {
  EXPECT_EQ(PublicNkey(kSeed).value(), kPublic);
  // From the documentation of NATS ("Auth: NKeys").
  EXPECT_EQ(PublicNkey("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY").value(),
            "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
}

TEST(NkeyTest, WhatIsNoSeedOfAUser) {
  const std::string seed = kSeed;
  const struct {
    const char* why;
    std::string text;
  } cases[] = {
      {"nothing", ""},
      {"a public key", kPublic},
      {"shortened", seed.substr(0, seed.size() - 1)},
      {"lower case", "su" + seed.substr(2)},
      {"one letter is another",
       seed.substr(0, 20) + (seed[20] == 'A' ? 'B' : 'A') + seed.substr(21)},
      {"of an account", "SA" + seed.substr(2)},
      {"something else", std::string(58, 'A')},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto key = PublicNkey(c.text);
    ASSERT_FALSE(key.ok());
    EXPECT_EQ(key.error().code(), ErrorCode::kInvalidArgument);
    if (c.text.size() > 30) {
      EXPECT_THAT(key.error().message(),
                  ::testing::Not(::testing::HasSubstr(c.text.substr(2, 20))));
    }
  }
}

}  // namespace
}  // namespace litestream::nats
