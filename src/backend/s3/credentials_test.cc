#include "backend/s3/credentials.h"

#include <fstream>
#include <map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/test_dir.h"
#include "tests/support/http_server.h"

namespace litestream::s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const Context kNever = Context::Background();

// What a service answers.
std::string Json(std::string_view id) {
  return R"({"Code":"Success","AccessKeyId":")" + std::string(id) +
         R"(","SecretAccessKey":"hush","Token":"tok","Expiration":"2026-01-02T03:04:05Z"})";
}
std::string StsXml(std::string_view id) {
  return "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
         "<AssumeRoleResult><Credentials><AccessKeyId>" +
         std::string(id) +
         "</AccessKeyId><SecretAccessKey>hush</SecretAccessKey><SessionToken>tok</SessionToken>"
         "<Expiration>2026-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleResult>"
         "</AssumeRoleResponse>";
}

class CredentialsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    variables_["HOME"] = directory_.path().native();
    variables_["AWS_EC2_METADATA_DISABLED"] = "true";
    variables_["AWS_ENDPOINT_URL_STS"] = server_.url();
  }
  void File(std::string_view name, std::string_view text) {
    const auto path = directory_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  Result<Credentials> Find() {
    const CredentialSources sources{
        .environment = [this](std::string_view name) { return variables_[std::string(name)]; },
        .http = http_,
        .region = "eu-west-1"};
    return FindCredentials(kNever, sources);
  }
  // "id/secret/token"
  std::string Found() {
    const auto found = Find();
    if (!found.ok()) return "error: " + found.error().message();
    const auto& keys = found.value().secret;
    return keys.access_key_id + "/" + keys.secret_access_key + "/" + keys.session_token;
  }

  TestDir directory_;
  std::map<std::string, std::string> variables_;
  std::vector<std::string> asked_;  // "METHOD target body"
  std::map<std::string, std::string> last_headers_;
  std::function<void(const ServedRequest&, const std::string&, ServedPeer&)> answer_;
  HttpServer server_{[this](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    asked_.push_back(request.method + " " + request.target + " " + body);
    last_headers_ = request.headers;
    answer_(request, body, peer);
  }};
  const std::shared_ptr<http::Client> http_ = std::make_shared<http::Client>();
};

TEST_F(CredentialsTest, OfTheEnvironment) {
  variables_["LITESTREAM_ACCESS_KEY_ID"] = "ls";
  variables_["LITESTREAM_SECRET_ACCESS_KEY"] = "ls-secret";
  EXPECT_EQ(Found(), "ls/ls-secret/");
  variables_["AWS_ACCESS_KEY"] = "old";
  variables_["AWS_SECRET_KEY"] = "old-secret";
  EXPECT_EQ(Found(), "old/old-secret/");
  variables_["AWS_ACCESS_KEY_ID"] = "new";
  variables_["AWS_SECRET_ACCESS_KEY"] = "new-secret";
  variables_["AWS_SESSION_TOKEN"] = "token";
  EXPECT_EQ(Found(), "new/new-secret/token");
}

TEST_F(CredentialsTest, OfFiles) {
  File(".aws/credentials",
       "# mine\n[default]\naws_access_key_id = file\r\naws_secret_access_key=a=b # c\n"
       "[other]\nAWS_ACCESS_KEY_ID=other\naws_secret_access_key=s\naws_session_token = t\n");
  EXPECT_EQ(Found(), "file/a=b/");
  variables_["AWS_PROFILE"] = "other";
  EXPECT_EQ(Found(), "other/s/t");
  variables_["AWS_PROFILE"] = "config";
  File(".aws/config",
       "[profile config]\ns3 =\n  aws_access_key_id = nested\naws_access_key_id=conf\n"
       "aws_secret_access_key=s\n[config]\naws_access_key_id=wrong\n");
  EXPECT_EQ(Found(), "conf/s/");
  variables_["AWS_PROFILE"] = "nobody";
  EXPECT_THAT(Found(), HasSubstr("AWS profile nobody has no credentials"));
}

TEST_F(CredentialsTest, ARoleOfAProfile) {
  File(".aws/credentials", "[base]\naws_access_key_id=base\naws_secret_access_key=s\n");
  File(".aws/config",
       "[default]\nrole_arn=arn:aws:iam::1:role/r\nsource_profile=base\nexternal_id=x y\n"
       "[profile a]\nsource_profile=b\n[profile b]\nsource_profile=a\n"
       "[profile p]\ncredential_process=/bin/echo secret\n"
       "[profile r]\nrole_arn=arn:aws:iam::1:role/r\n");
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, StsXml("assumed"));
  };
  EXPECT_EQ(Found(), "assumed/hush/tok");
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_EQ(asked_[0],
            "POST / Action=AssumeRole&ExternalId=x%20y&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"
            "RoleSessionName=litestream&Version=2011-06-15");
  EXPECT_THAT(last_headers_["authorization"], HasSubstr("Credential=base/"));
  EXPECT_THAT(last_headers_["authorization"], HasSubstr("/eu-west-1/sts/aws4_request"));
  variables_["AWS_PROFILE"] = "a";
  EXPECT_THAT(Found(), HasSubstr("in a circle"));
  variables_["AWS_PROFILE"] = "p";
  EXPECT_THAT(Found(), HasSubstr("credential_process is not supported"));
  EXPECT_THAT(Found(), Not(HasSubstr("secret")));
  variables_["AWS_PROFILE"] = "r";
  EXPECT_THAT(Found(), HasSubstr("role_arn needs a source_profile"));
}

TEST_F(CredentialsTest, WebIdentity) {
  File("token", "jwt.a+b\n");
  variables_["AWS_WEB_IDENTITY_TOKEN_FILE"] = (directory_ / "token").native();
  variables_["AWS_ROLE_ARN"] = "arn:r";
  variables_["AWS_ROLE_SESSION_NAME"] = "me";
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, StsXml("web"));
  };
  EXPECT_EQ(Found(), "web/hush/tok");
  EXPECT_EQ(asked_[0],
            "POST / Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Ar&RoleSessionName=me&"
            "Version=2011-06-15&WebIdentityToken=jwt.a%2Bb");
  EXPECT_EQ(last_headers_.count("authorization"), 0U);
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(403, {},
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message>"
                "</Error></ErrorResponse>");
  };
  EXPECT_THAT(Found(), HasSubstr("assume role arn:r: the server says 403 AccessDenied (no)"));
  EXPECT_THAT(Found(), Not(HasSubstr("jwt")));
}

TEST_F(CredentialsTest, OfAContainer) {
  File("token", "Bearer abc\n");
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = server_.url() + "/creds?x=1";
  variables_["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = (directory_ / "token").native();
  answer_ = [](const ServedRequest&, const std::string&, ServedPeer& peer) {
    peer.Answer(200, {}, Json("ecs"));
  };
  EXPECT_EQ(Found(), "ecs/hush/tok");
  EXPECT_EQ(asked_[0], "GET /creds?x=1 ");
  EXPECT_EQ(last_headers_["authorization"], "Bearer abc");
  for (const std::string host : {"example.com", "127.example.com", "127.0.0.1.example.com"}) {
    variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://" + host + "/creds";
    EXPECT_THAT(Found(), HasSubstr("http only goes to this machine, not to " + host));
  }
}

TEST_F(CredentialsTest, OfAMachine) {
  variables_["AWS_EC2_METADATA_DISABLED"] = "";
  variables_["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = server_.url() + "/";
  bool version2 = true;
  answer_ = [&](const ServedRequest& request, const std::string&, ServedPeer& peer) {
    if (request.target == "/latest/api/token") {
      EXPECT_EQ(request.header("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
      return peer.Answer(version2 ? 200 : 404, {}, "tok");
    }
    EXPECT_EQ(request.header("x-aws-ec2-metadata-token"), version2 ? "tok" : "");
    if (request.target == "/latest/meta-data/iam/security-credentials/") {
      return peer.Answer(200, {}, "my role\n");
    }
    EXPECT_EQ(request.target, "/latest/meta-data/iam/security-credentials/my%20role");
    peer.Answer(200, {}, Json("ec2"));
  };
  EXPECT_EQ(Found(), "ec2/hush/tok");
  EXPECT_EQ(Find().value().expires_at, WallTime(std::chrono::milliseconds(1'767'323'045'000)));
  version2 = false;
  EXPECT_EQ(Found(), "ec2/hush/tok");
  variables_["AWS_EC2_METADATA_V1_DISABLED"] = "true";
  EXPECT_THAT(Found(), HasSubstr("no token"));
}

TEST_F(CredentialsTest, Nowhere) {
  const auto found = Find();
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code(), ErrorCode::kDenied);
  EXPECT_THAT(found.error().message(), HasSubstr("set access-key-id and secret-access-key"));
}

TEST(CredentialAnswers, Damaged) {
  for (const char* text :
       {"", "[]", "{", "{}", R"({"AccessKeyId":"a"})", R"({"AccessKeyId":1,"SecretAccessKey":2})",
        R"({"Code":"AssumeRoleUnauthorizedAccess"})"}) {
    EXPECT_FALSE(cloud::ParseJsonKeys(text, cloud::kAwsNames).ok()) << text;
  }
  EXPECT_FALSE(ParseStsCredentials("<a/>").ok());
  EXPECT_FALSE(ParseStsCredentials(StsXml("x").substr(0, 200)).ok());
}

}  // namespace
}  // namespace litestream::s3
