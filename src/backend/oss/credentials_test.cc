#include "backend/oss/credentials.h"

#include <fstream>
#include <map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_dir.h"
#include "tests/support/http_server.h"

namespace litestream::oss {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kRoles[] = "/latest/meta-data/ram/security-credentials/";

std::string Keys(std::string_view id) {
  return R"({"AccessKeyId":")" + std::string(id) +
         R"(","AccessKeySecret":"hush","SecurityToken":"tok",)"
         R"("Expiration":"2026-01-02T03:04:05Z","Code":"Success"})";
}

class OssCredentialsTest : public ::testing::Test {
 protected:
  // "id/secret/token"
  std::string Found() {
    const CredentialSources sources{
        .environment = [this](std::string_view name) { return variables_[std::string(name)]; },
        .http = http_,
        .metadata_origin = server_.url(),
        .sts_origin = server_.url()};
    const auto found = FindCredentials(Context::Background(), sources);
    if (!found.ok()) return "error: " + found.error().message();
    expires_at_ = found.value().expires_at;
    const auto& keys = found.value().secret;
    return keys.access_key_id + "/" + keys.secret_access_key + "/" + keys.session_token;
  }
  void SetOidc() {
    std::ofstream(directory_ / "token") << "jwt.a+b\n";
    variables_["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] = (directory_ / "token").native();
    variables_["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"] = "acs:ram::1:oidc-provider/p";
    variables_["ALIBABA_CLOUD_ROLE_ARN"] = "acs:ram::1:role/r";
  }

  TestDir directory_;
  std::map<std::string, std::string> variables_;
  std::optional<WallTime> expires_at_;
  std::vector<std::string> asked_;  // "METHOD target body"
  std::string token_of_metadata_;
  std::function<void(const ServedRequest&, ServedPeer&)> answer_;
  HttpServer server_{[this](const ServedRequest& request, ServedPeer& peer) {
    asked_.push_back(request.method + " " + request.target + " " + peer.ReadBody(request));
    token_of_metadata_ = request.header("x-aliyun-ecs-metadata-token");
    answer_(request, peer);
  }};
  const std::shared_ptr<http::Client> http_ = std::make_shared<http::Client>();
};

TEST_F(OssCredentialsTest, OfTheEnvironment) {
  variables_["ALIBABA_CLOUD_ACCESS_KEY_ID"] = "cloud";
  variables_["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "cloud-secret";
  EXPECT_EQ(Found(), "cloud/cloud-secret/");
  variables_["ALIBABA_CLOUD_SECURITY_TOKEN"] = "cloud-token";
  EXPECT_EQ(Found(), "cloud/cloud-secret/cloud-token");
  variables_["OSS_ACCESS_KEY_ID"] = "oss";
  EXPECT_EQ(Found(), "cloud/cloud-secret/cloud-token") << "half a pair is none";
  variables_["OSS_ACCESS_KEY_SECRET"] = "oss-secret";
  EXPECT_EQ(Found(), "oss/oss-secret/");
  variables_["OSS_SESSION_TOKEN"] = "oss-token";
  EXPECT_EQ(Found(), "oss/oss-secret/oss-token");
  EXPECT_TRUE(asked_.empty());
}

TEST_F(OssCredentialsTest, OfTheRoleOfTheMachine) {
  answer_ = [](const ServedRequest& request, ServedPeer& peer) {
    if (request.method == "PUT") {
      EXPECT_EQ(request.header("x-aliyun-ecs-metadata-token-ttl-seconds"), "21600");
      return peer.Answer(200, {}, "hardened");
    }
    peer.Answer(200, {}, request.target == kRoles ? "my-role" : Keys("ecs"));
  };
  EXPECT_EQ(Found(), "ecs/hush/tok");
  EXPECT_EQ(token_of_metadata_, "hardened");
  EXPECT_EQ(expires_at_, WallTime(std::chrono::seconds(1'767'323'045)));
  EXPECT_THAT(asked_, ElementsAre("PUT /latest/api/token ", std::string("GET ") + kRoles + " ",
                                  std::string("GET ") + kRoles + "my-role "));
  asked_.clear();
  variables_["ALIBABA_CLOUD_ECS_METADATA"] = "named";
  EXPECT_EQ(Found(), "ecs/hush/tok");
  EXPECT_THAT(asked_,
              ElementsAre("PUT /latest/api/token ", std::string("GET ") + kRoles + "named "));
}

TEST_F(OssCredentialsTest, AMachineWithoutTokensOrRoles) {
  answer_ = [](const ServedRequest& request, ServedPeer& peer) {
    if (request.method == "PUT") return peer.Answer(404, {}, "");
    peer.Answer(200, {}, request.target == kRoles ? "my-role" : Keys("ecs"));
  };
  EXPECT_EQ(Found(), "ecs/hush/tok");
  variables_["ALIBABA_CLOUD_IMDSV1_DISABLED"] = "true";
  EXPECT_THAT(Found(), HasSubstr("ECS metadata: no token, the service says 404"));
  variables_["ALIBABA_CLOUD_IMDSV1_DISABLED"] = "";
  answer_ = [](const ServedRequest& request, ServedPeer& peer) {
    peer.Answer(request.method == "PUT" ? 200 : 404, {}, "");
  };
  EXPECT_THAT(Found(), HasSubstr("this machine has no role"));
  EXPECT_THAT(Found(), HasSubstr("set access-key-id and secret-access-key, or OSS_ACCESS_KEY_ID"));
  asked_.clear();
  variables_["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true";
  EXPECT_THAT(Found(), HasSubstr("the metadata service is switched off"));
  EXPECT_TRUE(asked_.empty());
}

TEST_F(OssCredentialsTest, OfAServiceAccount) {
  SetOidc();
  variables_["ALIBABA_CLOUD_ROLE_SESSION_NAME"] = "me";
  answer_ = [](const ServedRequest& request, ServedPeer& peer) {
    EXPECT_EQ(request.header("authorization"), "") << "the token is all that proves who asks";
    peer.Answer(200, {}, R"({"RequestId":"1","Credentials":)" + Keys("sts") + "}");
  };
  EXPECT_EQ(Found(), "sts/hush/tok");
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_THAT(asked_[0], HasSubstr("POST / Action=AssumeRoleWithOIDC&Format=JSON&"
                                   "OIDCProviderArn=acs%3Aram%3A%3A1%3Aoidc-provider%2Fp&"
                                   "OIDCToken=jwt.a%2Bb&RoleArn=acs%3Aram%3A%3A1%3Arole%2Fr&"
                                   "RoleSessionName=me&"));
  EXPECT_THAT(asked_[0], HasSubstr("&Version=2015-04-01"));
  // The file is read anew each time.
  std::ofstream(directory_ / "token") << "other";
  EXPECT_EQ(Found(), "sts/hush/tok");
  EXPECT_THAT(asked_[1], HasSubstr("OIDCToken=other"));
}

TEST_F(OssCredentialsTest, WhatStsRefuses) {
  SetOidc();
  answer_ = [](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(400, {}, R"({"Code":"AuthenticationFail.OIDCToken.Expired","Message":"too late"})");
  };
  EXPECT_THAT(Found(), HasSubstr("assume role acs:ram::1:role/r"));
  EXPECT_THAT(Found(), HasSubstr("AuthenticationFail.OIDCToken.Expired (too late)"));
  EXPECT_THAT(Found(), Not(HasSubstr("jwt")));
  for (const char* body : {"", "[]", "{}", R"({"Credentials":{"AccessKeyId":"x"}})", "<xml/>"}) {
    answer_ = [body](const ServedRequest&, ServedPeer& peer) { peer.Answer(200, {}, body); };
    EXPECT_THAT(Found(), HasSubstr("error: assume role")) << body;
  }
  variables_["ALIBABA_CLOUD_ROLE_ARN"] = "";
  EXPECT_THAT(Found(), HasSubstr("ALIBABA_CLOUD_ROLE_ARN and ALIBABA_CLOUD_OIDC_PROVIDER_ARN"));
}

}  // namespace
}  // namespace litestream::oss
