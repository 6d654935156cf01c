#include "http/sigv4.h"

#include <gtest/gtest.h>

#include "http/digest.h"

namespace litestream::http {
namespace {

const SigningKeys kKeys{.access_key_id = "AKIAIOSFODNN7EXAMPLE",
                        .secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                        .session_token = {}};
const std::string kEmptyHash = Hex(Sha256(""));
// 2026-01-02T03:04:05Z and 2013-05-24T00:00:00Z
const WallTime kTime{std::chrono::milliseconds(1'767'323'045'000)};
const WallTime kAwsTime{std::chrono::milliseconds(1'369'353'600'000)};

std::string Signature(const SigV4Input& input, const SigningKeys& keys = kKeys) {
  const std::string value = HeaderValue(SignV4(input, keys), "Authorization");
  return value.substr(value.rfind('=') + 1);
}

std::string CanonicalHash(const SigV4Input& input, const SigningKeys& keys = kKeys) {
  Headers all = SignV4(input, keys);
  std::erase_if(all, [](const Header& header) { return header.name == "Authorization"; });
  all.insert(all.end(), input.headers.begin(), input.headers.end());
  all.push_back({"Host", input.host});
  return Hex(Sha256(CanonicalRequest(input, all)));
}

SigV4Input Aws(std::string method, std::string path) {
  return {.method = std::move(method),
          .host = "examplebucket.s3.amazonaws.com",
          .escaped_path = std::move(path),
          .payload_hash = kEmptyHash,
          .time = kAwsTime,
          .region = "us-east-1"};
}

// docs.aws.amazon.com, "Signature Calculations for the Authorization Header: Examples".
TEST(SigV4, ExamplesOfTheDocumentation) {
  SigV4Input get = Aws("GET", "/test.txt");
  get.headers = {{"Range", "bytes=0-9"}};
  EXPECT_EQ(Signature(get), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  SigV4Input put = Aws("PUT", EscapePath("/test$file.text"));
  put.headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                 {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  put.payload_hash = Hex(Sha256("Welcome to Amazon S3."));
  EXPECT_EQ(Signature(put), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  SigV4Input lifecycle = Aws("GET", "/");
  lifecycle.query = {{"lifecycle", ""}};
  EXPECT_EQ(Signature(lifecycle),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  SigV4Input list = Aws("GET", "/");
  list.query = {{"prefix", "J"}, {"max-keys", "2"}};
  EXPECT_EQ(Signature(list), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SigV4, Vectors) {
  const auto base = [](std::string method, std::string path) {
    return SigV4Input{.method = std::move(method),
                      .host = "127.0.0.1:9000",
                      .escaped_path = std::move(path),
                      .payload_hash = kEmptyHash,
                      .time = kTime,
                      .region = "us-east-1"};
  };
  SigV4Input get = base("GET", "/bkt/db1/0000/0000000000000001-0000000000000001.ltx");
  get.headers = {{"Range", "bytes=0-99"}};
  EXPECT_EQ(CanonicalHash(get), "2814b6e824705a7b497d3ce4f035f21ac543cd483fa0ef7460cc1562e7e8b1f4");
  EXPECT_EQ(Signature(get), "eaf9b2d1ae446d2c904f549c29f5e5413a4ff109c01199df67b7b0f43ad8b7ca");

  SigV4Input list = base("GET", "/bkt");
  list.query = {{"list-type", "2"}, {"prefix", "db1/0000/"}, {"continuation-token", "a+b/c="}};
  EXPECT_EQ(CanonicalHash(list),
            "1d6af921ee8fc0ade7a91bdc36c83b12c8fffce88f78ca71a4b1adbcefe9c238");
  EXPECT_EQ(Signature(list), "be37206d39fba18f3c0a7d25af962dfb81ebbc2a4ea20a7984a0122f3a8ab763");

  SigV4Input put = base("PUT", "/bkt/db1/0000/0000000000000002-0000000000000002.ltx");
  put.headers = {{"Content-Type", "application/octet-stream"},
                 {"x-amz-meta-litestream-timestamp", "2026-01-02T03:04:05.678Z"}};
  put.payload_hash = Hex(Sha256("hello"));
  EXPECT_EQ(CanonicalHash(put), "9c49b6f7652df436bd8ba122d07e0b147755c6d8b0664aa87c63d84a7d7cf0ec");
  EXPECT_EQ(Signature(put), "068bb100ed4642f776692ed11833f79ed7acc938a530e13be3e2836a4160d049");

  put.payload_hash = std::string(kUnsignedPayload);
  SigningKeys temporary = kKeys;
  temporary.session_token = "TOKEN/with+chars==";
  EXPECT_EQ(CanonicalHash(put, temporary),
            "4ba996b0f00470dfbdf2171fcd3a1522cdedef016a3c002a84c0aea9bd43c455");
  EXPECT_EQ(Signature(put, temporary),
            "53ab27ae2af12c0a447e2bbf2eb69147f6142f8922bce015983ad95cfad829ce");
}

TEST(SigV4, TrapsOfCanonicalForm) {
  EXPECT_EQ(EscapePath("/b//./../a b+c%d/é~*'\"/"), "/b//./../a%20b%2Bc%25d/%C3%A9~%2A%27%22/");
  EXPECT_EQ(EscapeComponent("a/b c"), "a%2Fb%20c");
  // The order is that of the escaped names: '%' comes before letters and behind '-'.
  EXPECT_EQ(CanonicalQuery({{"b", "2"}, {"a", "y"}, {"a", "x"}, {"A", ""}, {"é", "1"}, {"-", "0"}}),
            "%C3%A9=1&-=0&A=&a=x&a=y&b=2");
  SigV4Input input = Aws("GET", "");
  const Headers all = {{"X-B", "  two   spaces \t x  "}, {"x-a", "1"}, {"X-A", "2"}, {"x-e", ""}};
  EXPECT_EQ(CanonicalRequest(input, all),
            "GET\n/\n\nx-a:1,2\nx-b:two spaces x\nx-e:\n\nx-a;x-b;x-e\n" + kEmptyHash);
}

TEST(SigV4, Dates) {
  EXPECT_EQ(FormatAmzDate(kTime + std::chrono::milliseconds(999)), "20260102T030405Z");
  EXPECT_EQ(FormatAmzDate(WallTime()), "19700101T000000Z");
}

TEST(Digest, KnownValues) {
  EXPECT_EQ(Hex(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Base64(Md5("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>"
                       "db/0000/a.ltx</Key></Object><Object><Key>nope</Key></Object></Delete>")),
            "iTee5/MSn1D2Dh8bip0cdw==");
  EXPECT_EQ(Crc32("123456789"), 0xcbf43926U);
  // RFC 3720, B.4.
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(Base64Crc(Crc32c("123456789")), "4waSgw==");
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eU);
  for (std::size_t cut = 0; cut <= ascending.size(); ++cut) {
    EXPECT_EQ(Crc32c(ascending.substr(cut), Crc32c(ascending.substr(0, cut))), 0x46dd794eU);
  }
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
    EXPECT_EQ(FromBase64(Base64(text)), text);
  }
  EXPECT_EQ(Base64("foob"), "Zm9vYg==");
  for (const char* bad : {"Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zg=v", "Z!==", "=Zg="}) {
    EXPECT_EQ(FromBase64(bad), std::nullopt) << bad;
  }
}

TEST(Uri, Parts) {
  SplitUrl url;
  ASSERT_TRUE(ParseUrl("HTTPS://Host.Example:443/base/Path", url));
  EXPECT_EQ(url.scheme, "https");
  EXPECT_EQ(url.host, "host.example");
  EXPECT_EQ(url.path, "/base/Path");
  EXPECT_EQ(HostHeader(url), "host.example");
  ASSERT_TRUE(ParseUrl("http://[::1]:443", url));
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(HostHeader(url), "[::1]:443");
  for (const char* bad : {"", "host", "ftp://host", "http://", "http://u@host", "http://h/?q",
                          "http://h?q", "http://h/#f", "http://:80"}) {
    EXPECT_FALSE(ParseUrl(bad, url)) << bad;
  }
}

}  // namespace
}  // namespace litestream::http
