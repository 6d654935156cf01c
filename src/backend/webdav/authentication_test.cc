#include "backend/webdav/authentication.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace litestream::webdav {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

TEST(ChallengeTest, Parse) {
  const auto challenges = ParseChallenges(
      "Negotiate, NTLM TlRMTVNTUAAC==, Digest realm=\"a, \\\"b\\\"\", NONCE = xyz ,qop=\"auth\", "
      "Basic realm=\"\"");
  ASSERT_EQ(challenges.size(), 4U);
  EXPECT_EQ(challenges[0].scheme, "negotiate");
  EXPECT_EQ(challenges[1].scheme, "ntlm");
  EXPECT_EQ(challenges[2].scheme, "digest");
  EXPECT_THAT(challenges[2].parameters,
              ElementsAre(Pair("nonce", "xyz"), Pair("qop", "auth"), Pair("realm", "a, \"b\"")));
  EXPECT_EQ(challenges[3].scheme, "basic");
  EXPECT_EQ(challenges[3].Get("realm"), "");
}

TEST(ChallengeTest, OddOnes) {
  for (const char* text : {"", ",,", "=", "\"x\"", "=x, y=z"}) {
    EXPECT_TRUE(ParseChallenges(text).empty()) << text;
  }
  EXPECT_EQ(ParseChallenges("Basic realm=\"never ends").size(), 1U);
  EXPECT_EQ(ParseChallenges("Basic").size(), 1U);
  EXPECT_LE(ParseChallenges(std::string(1000, 'a') + ",a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q").size(),
            16U);
}

// RFC 7616, 3.9.1.
TEST(DigestTest, ExampleOfTheStandard) {
  Challenge challenge{.scheme = "digest",
                      .parameters = {{"realm", "http-auth@example.org"},
                                     {"qop", "auth, auth-int"},
                                     {"algorithm", "SHA-256"},
                                     {"nonce", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"},
                                     {"opaque", "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"}}};
  DigestInput input{.username = "Mufasa",
                    .password = "Circle of Life",
                    .method = "GET",
                    .uri = "/dir/index.html",
                    .cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                    .count = 1};
  ASSERT_TRUE(IsUsableDigest(challenge));
  const std::string sha = AnswerDigest(challenge, input);
  EXPECT_THAT(sha, StartsWith("Digest username=\"Mufasa\", realm=\"http-auth@example.org\", "));
  EXPECT_THAT(sha, HasSubstr("response=\""
                             "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\""));
  EXPECT_THAT(sha, HasSubstr(", qop=auth, nc=00000001, cnonce=\"f2/wE4q74E6z"));
  EXPECT_THAT(sha, HasSubstr(", opaque=\"FQhe/"));
  EXPECT_THAT(sha, HasSubstr(", algorithm=SHA-256,"));
  challenge.parameters["algorithm"] = "MD5";
  EXPECT_THAT(AnswerDigest(challenge, input),
              HasSubstr("response=\"8ca523f5e9506fed4657c9700eebdbec\""));
}

// RFC 2617, 3.5, without qop as in RFC 2069; errata 749 has the sum.
TEST(DigestTest, WithoutQop) {
  const Challenge challenge{.scheme = "digest",
                            .parameters = {{"realm", "testrealm@host.com"},
                                           {"nonce", "dcd98b7102dd2f0e8b11d0f600bfb0c093"}}};
  const std::string answer = AnswerDigest(challenge, {.username = "Mufasa",
                                                      .password = "CircleOfLife",
                                                      .method = "GET",
                                                      .uri = "/dir/index.html",
                                                      .cnonce = "x"});
  EXPECT_THAT(answer, HasSubstr("response=\"1949323746fe6a43ef61f9606e7febea\""));
  EXPECT_THAT(answer, Not(HasSubstr("qop")));
  EXPECT_THAT(answer, Not(HasSubstr("cnonce")));
}

TEST(DigestTest, SessionsHashedNamesAndQuotes) {
  Challenge challenge{.scheme = "digest",
                      .parameters = {{"realm", "a\"b"},
                                     {"nonce", "n"},
                                     {"qop", "auth"},
                                     {"algorithm", "MD5-sess"},
                                     {"userhash", "true"}}};
  const std::string answer =
      AnswerDigest(challenge, {.username = "me", .method = "GET", .uri = "/", .cnonce = "c"});
  EXPECT_THAT(answer, HasSubstr("realm=\"a\\\"b\""));
  EXPECT_THAT(answer, HasSubstr("userhash=true"));
  EXPECT_THAT(answer, Not(HasSubstr("\"me\"")));
  EXPECT_THAT(answer, HasSubstr("algorithm=MD5-sess"));
}

TEST(DigestTest, WhatCannotBeUsed) {
  const Challenge good{.scheme = "digest",
                       .parameters = {{"nonce", "n"}, {"qop", "auth-int,auth"}}};
  EXPECT_TRUE(IsUsableDigest(good));
  const std::pair<const char*, const char*> changes[] = {
      {"algorithm", "SHA-512-256"}, {"qop", "auth-int"}, {"nonce", ""}, {"opaque", "a\nb"}};
  for (const auto& [name, value] : changes) {
    Challenge bad = good;
    bad.parameters[name] = value;
    EXPECT_FALSE(IsUsableDigest(bad)) << name;
  }
}

class AuthenticatorTest : public ::testing::Test {
 protected:
  std::string Sent(Authenticator& to) {
    const auto header = to.MakeHeader("PUT", "/x", &used_);
    return header ? header->value : "";
  }
  static http::Headers Asks(const std::string& how) { return {{"WWW-Authenticate", how}}; }

  Authenticator::Used used_;
  Authenticator::Options user_{.username = "me", .password = "secret"};
};

constexpr char kBasic[] = "Basic realm=\"x\"";
constexpr char kDigest[] = "Digest realm=\"x\", nonce=\"n\", qop=\"auth\"";

TEST_F(AuthenticatorTest, NobodyIsNobody) {
  Authenticator to({}, Env::Real());
  EXPECT_EQ(Sent(to), "");
  EXPECT_TRUE(to.ready());
  EXPECT_FALSE(to.Learn(Asks(kBasic), used_).value());
}

TEST_F(AuthenticatorTest, OverTlsAtOnce) {
  user_.secure = true;
  Authenticator to(user_, Env::Real());
  EXPECT_EQ(Sent(to), "Basic bWU6c2VjcmV0");
  EXPECT_FALSE(to.Learn(Asks(kBasic), used_).value()) << "refused is refused";
  EXPECT_FALSE(to.Learn({}, used_).value());
  EXPECT_TRUE(to.Learn(Asks(kDigest), used_).value()) << "it wants another way";
  EXPECT_THAT(Sent(to), StartsWith("Digest "));
  EXPECT_FALSE(to.Learn(Asks(kDigest), used_).value());
}

TEST_F(AuthenticatorTest, WithoutTlsNotBeforeItIsAsked) {
  user_.allow_plain = true;
  Authenticator to(user_, Env::Real());
  EXPECT_EQ(Sent(to), "");
  EXPECT_FALSE(to.ready());
  EXPECT_TRUE(to.Learn(Asks(kBasic), used_).value());
  EXPECT_TRUE(to.ready());
  EXPECT_EQ(Sent(to), "Basic bWU6c2VjcmV0");
  EXPECT_FALSE(to.Learn(Asks(kBasic), used_).value());
}

TEST_F(AuthenticatorTest, NoPasswordInTheClear) {
  Authenticator to(user_, Env::Real());
  Sent(to);
  const auto learned = to.Learn(Asks(kBasic), used_);
  ASSERT_FALSE(learned.ok());
  EXPECT_EQ(learned.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(learned.error().message(), HasSubstr("webdavs://"));
  EXPECT_EQ(Sent(to), "");
  EXPECT_TRUE(
      to.Learn({{"www-authenticate", kBasic}, {"WWW-Authenticate", kDigest}}, used_).value());
  EXPECT_THAT(Sent(to), StartsWith("Digest "));
  const auto other = to.Learn(Asks("Bearer realm=\"x\", Negotiate"), used_);
  EXPECT_THAT(other.error().message(), HasSubstr("bearer, negotiate"));
}

TEST_F(AuthenticatorTest, TheBetterAlgorithm) {
  Authenticator to(user_, Env::Real());
  Sent(to);
  EXPECT_TRUE(to.Learn({{"WWW-Authenticate", "Digest nonce=m, algorithm=MD5, qop=\"auth\""},
                        {"WWW-Authenticate", "Digest nonce=s, algorithm=SHA-256, qop=\"auth\""}},
                       used_)
                  .value());
  EXPECT_THAT(Sent(to), HasSubstr("algorithm=SHA-256"));
}

TEST_F(AuthenticatorTest, ANonceIsUsedAgainAndReplaced) {
  Authenticator to(user_, Env::Real());
  Sent(to);
  ASSERT_TRUE(to.Learn(Asks(kDigest), used_).value());
  EXPECT_THAT(Sent(to), HasSubstr("nc=00000001"));
  const auto first = used_;
  EXPECT_THAT(Sent(to), HasSubstr("nc=00000002"));
  EXPECT_TRUE(to.Learn(Asks(std::string(kDigest) + ", stale=TRUE"), used_).value());
  EXPECT_THAT(Sent(to), HasSubstr("nc=00000001"));
  EXPECT_TRUE(to.Learn(Asks(kDigest), first).value()) << "somebody has got another one meanwhile";
  EXPECT_THAT(Sent(to), HasSubstr("nc=00000002")) << "which stays";
  EXPECT_TRUE(to.Learn(Asks(kDigest), used_).value()) << "too old, though nobody says so";
  Sent(to);
  EXPECT_FALSE(to.Learn(Asks(kDigest), used_).value())
      << "refused with a new one: a wrong password";
}

}  // namespace
}  // namespace litestream::webdav
