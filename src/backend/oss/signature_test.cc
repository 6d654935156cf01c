#include "backend/oss/signature.h"

#include <gtest/gtest.h>

#include "http/digest.h"

namespace litestream::oss {
namespace {

WallTime AtSecond(std::int64_t seconds) {
  return WallTime(std::chrono::seconds(seconds));
}

std::string Signed(const SignatureInput& input, const http::SigningKeys& keys) {
  return http::HeaderValue(Sign(input, keys), "authorization");
}

// The vectors that Alibaba Cloud's SDKs share (alibabacloud-oss-go-sdk-v2, signer_test.go).
SignatureInput OfTheSdk(std::int64_t seconds) {
  return {.method = "PUT",
          .escaped_resource = http::EscapePath("/bucket/1234+-/123/1.txt"),
          .query = {{"param1", "value1"},
                    {"+param1", "value3"},
                    {"|param1", "value4"},
                    {"+param2", ""},
                    {"|param2", ""},
                    {"param2", ""}},
          .headers = {{"x-oss-head1", "value"},
                      {"abc", "value"},
                      {"ZAbc", "value"},
                      {"XYZ", "value"},
                      {"content-type", "text/plain"}},
          .time = AtSecond(seconds),
          .region = "cn-hangzhou"};
}

TEST(OssSignatureTest, VectorsOfTheSdk) {
  EXPECT_EQ(Signed(OfTheSdk(1'702'743'657), {"ak", "sk", ""}),
            "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,"
            "Signature=e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe");
  EXPECT_EQ(Signed(OfTheSdk(1'702'784'856), {"ak", "sk", "token"}),
            "OSS4-HMAC-SHA256 Credential=ak/20231217/cn-hangzhou/oss/aliyun_v4_request,"
            "Signature=b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea");
}

TEST(OssSignatureTest, AdditionalHeaders) {
  const std::string want =
      "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,"
      "AdditionalHeaders=abc;zabc,"
      "Signature=4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f";
  SignatureInput input = OfTheSdk(1'702'747'512);
  input.additional_headers = {"zabc", "abc"};
  EXPECT_EQ(Signed(input, {"ak", "sk", ""}), want);
  // Those that are signed anyway, or are not there, are not named.
  input.additional_headers = {"x-oss-head1", "zabc", "abc", "content-type", "missing"};
  EXPECT_EQ(Signed(input, {"ak", "sk", ""}), want);
}

// Requests of ours. 2026-01-02T03:04:05Z.
TEST(OssSignatureTest, OurRequests) {
  const struct {
    SignatureInput input;
    http::SigningKeys keys;
    const char* canonical_sha256;
    const char* signature;
  } cases[] = {
      {{.method = "GET",
        .escaped_resource = "/bkt/",
        .query = {{"list-type", "2"},
                  {"prefix", "db1/0000/"},
                  {"encoding-type", "url"},
                  {"max-keys", "1000"}},
        .time = AtSecond(1'767'323'045),
        .region = "cn-hangzhou"},
       {"LTAIEXAMPLE", "SECRETEXAMPLE", ""},
       "111f3b3b88a059a92757d2b4f4ae04c96f306226704ab73c6fe161f1594bd6c1",
       "101fd45acff0c91b213a0e779673833d532b7ae1b80ae976829fd5607764eb31"},
      {{.method = "POST",
        .escaped_resource = "/bkt/db1/0000/0000000000000002-0000000000000002.ltx",
        .query = {{"uploads", ""}},
        .headers = {{"Content-Type", "application/octet-stream"},
                    {"x-oss-meta-litestream-timestamp", "2026-01-02T03:04:05.678Z"}},
        .time = AtSecond(1'767'323'045),
        .region = "cn-hangzhou"},
       {"LTAIEXAMPLE", "SECRETEXAMPLE", "TOK"},
       "fd78d8253c26d7c86047139246ec3843802db23a5c8d8067457073160659566d",
       "2fc64bcbb43b71073241f5003d4fee76c946b814522cefec2faa37ced9312e42"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.input.method);
    http::Headers all = c.input.headers;
    for (const http::Header& header : Sign(c.input, c.keys)) all.push_back(header);
    EXPECT_EQ(http::Hex(http::Sha256(CanonicalRequest(c.input, all))), c.canonical_sha256);
    EXPECT_TRUE(Signed(c.input, c.keys).ends_with(std::string(",Signature=") + c.signature))
        << Signed(c.input, c.keys);
  }
}

TEST(OssSignatureTest, QueriesWithoutValuesHaveNoEqualsSign) {
  EXPECT_EQ(CanonicalQuery({{"uploads", ""}}), "uploads");
  EXPECT_EQ(CanonicalQuery({{"delete", ""}, {"encoding-type", "url"}, {"a b", "c/d+e"}}),
            "a%20b=c%2Fd%2Be&delete&encoding-type=url");
  EXPECT_EQ(CanonicalQuery({}), "");
}

TEST(OssSignatureTest, NoSecretIsInTheHeaders) {
  for (const http::Header& header : Sign(OfTheSdk(0), {"ak", "top-secret", "token"})) {
    EXPECT_EQ(header.value.find("top-secret"), std::string::npos) << header.name;
  }
}

}  // namespace
}  // namespace litestream::oss
