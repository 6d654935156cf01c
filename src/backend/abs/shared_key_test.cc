#include "backend/abs/shared_key.h"

#include <gtest/gtest.h>

#include "http/digest.h"

namespace litestream::abs {
namespace {

// Azurite takes what the same code makes. The key is the published one of the emulator.
const std::string kKey = *http::FromBase64(
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==");
constexpr const char* kFile = "/db1/ltx/0/0000000000000002-0000000000000002.ltx";

http::Headers With(http::Headers headers) {
  headers.push_back({"x-ms-date", "Fri, 02 Jan 2026 03:04:05 GMT"});
  headers.push_back({"x-ms-version", "2021-12-02"});
  return headers;
}

TEST(SharedKey, Vectors) {
  const SharedKeyInput put{
      .method = "PUT",
      .account = "myaccount",
      .escaped_path = std::string("/cont") + kFile,
      .query = {},
      .headers = With({{"Content-Type", "application/octet-stream"},
                       {"x-ms-access-tier", "Hot"},
                       {"x-ms-blob-content-type", "application/octet-stream"},
                       {"x-ms-blob-type", "BlockBlob"},
                       {"x-ms-meta-litestreamtimestamp", "2026-01-02T03:04:05.678Z"}}),
      .body_bytes = 5};
  EXPECT_EQ(SharedKeyAuthorization(put, kKey),
            "SharedKey myaccount:m/yQIVuoN7FsvvZP10wbTUtO8pSXXf4ETbriq+5CdQc=");
  const SharedKeyInput list{.method = "GET",
                            .account = "myaccount",
                            .escaped_path = "/cont",
                            .query = {{"restype", "container"},
                                      {"comp", "list"},
                                      {"prefix", "db1/ltx/0/"},
                                      {"include", "metadata"}},
                            .headers = With({})};
  EXPECT_EQ(SharedKeyAuthorization(list, kKey),
            "SharedKey myaccount:Q40D7BCTJ0S7aPAnv01fK0aR3s/Kli/DWoFVcuACW4o=");
  const SharedKeyInput get{.method = "GET",
                           .account = "devstoreaccount1",
                           .escaped_path = std::string("/devstoreaccount1/cont") + kFile,
                           .query = {},
                           .headers = With({{"x-ms-range", "bytes=0-99"}})};
  EXPECT_EQ(SharedKeyAuthorization(get, kKey),
            "SharedKey devstoreaccount1:AzynXx0JS3o7ykj3YmrL4+xqXvGwdL17ec576oUZ53E=");
}

// The example of Azure's documentation: an empty line for each header that is not there, no length
// rather than 0.
TEST(SharedKey, StringToSign) {
  const SharedKeyInput input{
      .method = "GET",
      .account = "myaccount",
      .escaped_path = "/mycontainer",
      .query = {{"restype", "container"}, {"timeout", "20"}, {"comp", "metadata"}},
      .headers = {{"x-ms-version", "2015-02-21"}, {"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"}}};
  EXPECT_EQ(StringToSign(input),
            "GET\n\n\n\n\n\n\n\n\n\n\n\n"
            "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
            "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20");
}

TEST(SharedKey, HeadersAndParametersInTheirPlaces) {
  const SharedKeyInput input{.method = "PUT",
                             .account = "a",
                             .escaped_path = "/c/b%20%2B",
                             .query = {{"include", "snapshots"}, {"Include", "a b"}, {"x", ""}},
                             .headers = {{"If-None-Match", "*"},
                                         {"If-Match", "\"tag\""},
                                         {"content-type", "text/plain"},
                                         {"Content-MD5", "bWQ1"},
                                         {"X-Ms-Meta-B", "2"},
                                         {"x-ms-meta-a", "1"}},
                             .body_bytes = 12};
  EXPECT_EQ(StringToSign(input),
            "PUT\n\n\n12\nbWQ1\ntext/plain\n\n\n\"tag\"\n*\n\n\n"
            "x-ms-meta-a:1\nx-ms-meta-b:2\n"
            "/a/c/b%20%2B\ninclude:a b,snapshots\nx:");
}

}  // namespace
}  // namespace litestream::abs
