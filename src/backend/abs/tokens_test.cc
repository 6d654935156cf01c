#include "backend/abs/tokens.h"

#include <fstream>
#include <map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/test_dir.h"
#include "tests/support/http_server.h"

namespace litestream::abs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();
const WallTime kNow(std::chrono::milliseconds(1'767'323'045'000));

class TokensTest : public ::testing::Test {
 protected:
  // What it got, or "error: ...".
  std::string Found() {
    const TokenSources sources{
        .environment = [this](std::string_view name) { return variables_[std::string(name)]; },
        .http = http_,
        .clock = &clock_};
    const auto found = FindToken(kNever, sources);
    if (found.ok()) return found.value().secret;
    code_ = found.error().code();
    return "error: " + found.error().message();
  }
  void Tenant() {
    variables_["AZURE_TENANT_ID"] = "my tenant";
    variables_["AZURE_CLIENT_ID"] = "client";
    variables_["AZURE_AUTHORITY_HOST"] = server_.url() + "/";
  }
  void Machine() { variables_["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = server_.url(); }

  TestDir directory_;
  ManualClock clock_{kNow};
  std::map<std::string, std::string> variables_;
  ErrorCode code_ = ErrorCode::kInternal;
  int status_ = 200;
  std::string answer_ = R"({"token_type":"Bearer","access_token":"tok","expires_in":3599})";
  std::vector<std::string> asked_;  // "METHOD target body"
  std::map<std::string, std::string> last_headers_;
  HttpServer server_{[this](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    asked_.push_back(request.method + " " + request.target + " " + body);
    last_headers_ = request.headers;
    peer.Answer(status_, {}, answer_);
  }};
  const std::shared_ptr<http::Client> http_ = std::make_shared<http::Client>();
};

TEST_F(TokensTest, OfAServicePrincipal) {
  Tenant();
  variables_["AZURE_CLIENT_SECRET"] = "a secret&=";
  EXPECT_EQ(Found(), "tok");
  EXPECT_THAT(asked_, ElementsAre("POST /my%20tenant/oauth2/v2.0/token "
                                  "client_id=client&client_secret=a%20secret%26%3D&"
                                  "grant_type=client_credentials&"
                                  "scope=https%3A%2F%2Fstorage.azure.com%2F.default"));
  EXPECT_EQ(last_headers_["content-type"], "application/x-www-form-urlencoded");
}

TEST_F(TokensTest, OfAWorkload) {
  Tenant();
  variables_["AZURE_FEDERATED_TOKEN_FILE"] = (directory_ / "jwt").native();
  for (const char* jwt : {"first", "second"}) {
    std::ofstream(directory_ / "jwt") << jwt << "\n";
    EXPECT_EQ(Found(), "tok");
    EXPECT_THAT(asked_.back(), HasSubstr("client_assertion=" + std::string(jwt) + "&"))
        << "read again each time";
    EXPECT_THAT(asked_.back(), HasSubstr("client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A"
                                         "client-assertion-type%3Ajwt-bearer"));
  }
  variables_["AZURE_CLIENT_ID"] = "";
  EXPECT_THAT(Found(), HasSubstr("needs AZURE_TENANT_ID and AZURE_CLIENT_ID"));
}

TEST_F(TokensTest, OfAppService) {
  variables_["IDENTITY_ENDPOINT"] = server_.url() + "/msi/token";
  variables_["IDENTITY_HEADER"] = "hush";
  answer_ = R"({"access_token":"tok","expires_on":"1767326645"})";
  EXPECT_EQ(Found(), "tok");
  EXPECT_THAT(asked_, ElementsAre("GET /msi/token?api-version=2019-08-01&"
                                  "resource=https%3A%2F%2Fstorage.azure.com "));
  EXPECT_EQ(last_headers_["x-identity-header"], "hush");
  variables_["IDENTITY_HEADER"] = "";
  EXPECT_THAT(Found(), HasSubstr("Azure Arc"));
  EXPECT_EQ(code_, ErrorCode::kUnsupported);
}

TEST_F(TokensTest, OfTheMachine) {
  Machine();
  variables_["AZURE_CLIENT_ID"] = "one of two";
  EXPECT_EQ(Found(), "tok");
  EXPECT_THAT(asked_, ElementsAre("GET /metadata/identity/oauth2/token?api-version=2018-02-01&"
                                  "client_id=one%20of%20two&"
                                  "resource=https%3A%2F%2Fstorage.azure.com "));
  EXPECT_EQ(last_headers_["metadata"], "true");
}

TEST_F(TokensTest, TheFirstThatIsThereIsTaken) {
  Tenant();
  Machine();
  variables_["AZURE_CLIENT_SECRET"] = "secret";
  variables_["AZURE_FEDERATED_TOKEN_FILE"] = "/missing";
  variables_["IDENTITY_ENDPOINT"] = "http://127.0.0.1:1";
  variables_["IDENTITY_HEADER"] = "x";
  EXPECT_EQ(Found(), "tok");
  variables_["AZURE_CLIENT_SECRET"] = "";
  EXPECT_THAT(Found(), HasSubstr("/missing")) << "an error there is an error";
}

TEST_F(TokensTest, WhatServicesRefuse) {
  Tenant();
  variables_["AZURE_CLIENT_SECRET"] = "hush";
  status_ = 401;
  answer_ =
      R"({"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret.\r\n)"
      R"(Trace ID: 1"})";
  EXPECT_EQ(Found(),
            "error: token of AZURE_CLIENT_ID: the service says 401 invalid_client (AADSTS7000215: "
            "Invalid client secret.)");
  EXPECT_EQ(code_, ErrorCode::kDenied);
  for (const int status : {429, 500, 503}) {
    status_ = status;
    Found();
    EXPECT_EQ(code_, ErrorCode::kUnavailable) << status;
  }
  variables_["AZURE_AUTHORITY_HOST"] = "http://example.com";
  EXPECT_THAT(Found(), HasSubstr("not a URL of https")) << "a secret must not go there";
}

TEST_F(TokensTest, WithoutAny) {
  variables_["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = "http://127.0.0.1:1";
  EXPECT_THAT(Found(), HasSubstr("no credentials: set account-key or sas-token"));
  EXPECT_EQ(code_, ErrorCode::kDenied);
  Machine();
  status_ = 400;
  answer_ = R"({"error":"invalid_request","error_description":"Identity not found"})";
  EXPECT_THAT(Found(), HasSubstr("no managed identity either (the service says 400 "
                                 "invalid_request (Identity not found))"));
  EXPECT_EQ(code_, ErrorCode::kDenied);
  status_ = 404;
  EXPECT_THAT(Found(), HasSubstr("no managed identity either")) << "a machine of another cloud";
  status_ = 503;
  Found();
  EXPECT_EQ(code_, ErrorCode::kUnavailable) << "it is there, and may answer later";
  Tenant();
  variables_["AZURE_CLIENT_CERTIFICATE_PATH"] = "/x.pem";
  EXPECT_THAT(Found(), HasSubstr("AZURE_CLIENT_CERTIFICATE_PATH is not supported"));
}

TEST(TokenAnswer, Parsed) {
  const struct {
    const char* text;
    std::int64_t expires_at_seconds;  // 0: it is none.
  } cases[] = {
      {R"({"access_token":"t","expires_in":3600})", 1'767'326'645},
      {R"({"access_token":"t","expires_in":"60"})", 1'767'323'105},
      {R"({"access_token":"t","expires_on":"1767400000"})", 1'767'400'000},
      {R"({"access_token":"t","expires_on":1767400000})", 1'767'400'000},
      {R"({"access_token":"t","expires_in":9223372036854775807})", 1'767'323'045 + 253'402'300'799},
      {R"({"access_token":"t"})", 0},
      {R"({"access_token":"t","expires_in":0})", 0},
      {R"({"access_token":"t","expires_in":"soon"})", 0},
      {R"({"access_token":"t\r\nX: y","expires_in":1})", 0},
      {R"({"access_token":1,"expires_in":1})", 0},
      {R"({"expires_in":3600})", 0},
      {R"(["access_token"])", 0},
      {"", 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto token = ParseToken(c.text, kNow);
    ASSERT_EQ(token.ok(), c.expires_at_seconds != 0);
    if (!token.ok()) continue;
    EXPECT_EQ(*token.value().expires_at, WallTime(std::chrono::seconds(c.expires_at_seconds)));
  }
}

}  // namespace
}  // namespace litestream::abs
