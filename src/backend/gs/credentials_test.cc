#include "backend/gs/credentials.h"

#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_dir.h"
#include "format/names.h"
#include "tests/support/fake_google_tokens.h"

namespace litestream::gs {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const Context kNever = Context::Background();

class GsCredentialsTest : public ::testing::Test {
 protected:
  GsCredentialsTest() {
    variables_["HOME"] = directory_.path().native();
    variables_["NO_GCE_CHECK"] = "true";
  }
  std::string File(std::string_view name, std::string_view text) {
    const auto path = directory_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.native();
  }
  void Use(std::string_view text) {
    variables_["GOOGLE_APPLICATION_CREDENTIALS"] = File("key.json", text);
  }
  Result<ExpiringToken> Find() {
    const CredentialSources sources{
        .environment = [this](std::string_view name) { return variables_[std::string(name)]; },
        .http = http_};
    return FindToken(kNever, sources);
  }
  // "token project", or what is wrong.
  std::string Found() {
    const auto found = Find();
    if (!found.ok()) {
      EXPECT_THAT(found.error().message(), Not(HasSubstr("-secret"))) << "nothing secret is shown";
      EXPECT_THAT(found.error().message(), Not(HasSubstr("PRIVATE KEY")));
      EXPECT_THAT(found.error().message(), Not(HasSubstr(FakeGoogleTokens::kClientSecret)));
      EXPECT_THAT(found.error().message(), Not(HasSubstr("refresh+token")));
      return std::string(ToString(found.error().code())) + ": " + found.error().message();
    }
    const Token& token = found.value().secret;
    return token.access_token + (token.user_project.empty() ? "" : " " + token.user_project);
  }

  TestDir directory_;
  std::map<std::string, std::string> variables_;
  FakeGoogleTokens tokens_;
  std::map<std::string, std::string> pages_;  // Of other services, by path.
  HttpServer server_{[this](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    if (tokens_.Handle(request, body, peer)) return;
    const auto page = pages_.find(request.path());
    peer.Answer(page == pages_.end() ? 404 : 200, {}, page == pages_.end() ? "" : page->second);
  }};
  const std::shared_ptr<http::Client> http_ = std::make_shared<http::Client>();
};

TEST_F(GsCredentialsTest, OfAServiceAccount) {
  Use(tokens_.ServiceAccountFile(server_.url()));
  EXPECT_EQ(Found(), "ya29.storage-1-secret");
  tokens_.set_life(std::chrono::seconds(1000));
  const WallTime before = Clock::Real().Now();
  const auto found = Find();
  ASSERT_TRUE(found.ok());
  EXPECT_GE(*found.value().expires_at, before + std::chrono::seconds(1000));
  EXPECT_LE(*found.value().expires_at, Clock::Real().Now() + std::chrono::seconds(1000));
  variables_["GOOGLE_CLOUD_QUOTA_PROJECT"] = "mine";
  EXPECT_EQ(Found(), "ya29.storage-3-secret mine");
}

TEST_F(GsCredentialsTest, AClockThatIsWrongIsCorrected) {
  Use(tokens_.ServiceAccountFile(server_.url()));
  for (const int hours : {-5, 5}) {
    tokens_.set_clock_offset(std::chrono::hours(hours));
    EXPECT_THAT(Found(), StartsWith("ya29.storage-"));
  }
}

TEST_F(GsCredentialsTest, AKeyThatIsNotTheAccountsAnyMore) {
  const FakeGoogleTokens other(FakeGoogleTokens::Key::kOwn);
  Use(other.ServiceAccountFile(server_.url()));
  EXPECT_THAT(Found(),
              StartsWith("denied: credentials " + variables_.at("GOOGLE_APPLICATION_CREDENTIALS") +
                         ": backup@project.iam.gserviceaccount.com: POST " + server_.url() +
                         "/token: the server says 400 invalid_grant"));
  EXPECT_THAT(Found(), HasSubstr("make a new key"));
}

TEST_F(GsCredentialsTest, OfAUserAndWhereTheFileLies) {
  const std::string name = "application_default_credentials.json";
  File(".config/gcloud/" + name, FakeGoogleTokens::UserFile(server_.url()));
  EXPECT_EQ(Found(), "ya29.storage-1-secret who-pays");
  std::string revoked = FakeGoogleTokens::UserFile(server_.url());
  revoked.replace(revoked.find(FakeGoogleTokens::kRefreshToken), 3, "2//");
  File("elsewhere/" + name, revoked);
  variables_["CLOUDSDK_CONFIG"] = (directory_ / "elsewhere").native();
  EXPECT_THAT(Found(), HasSubstr("gcloud auth application-default login"));
  Use(tokens_.ServiceAccountFile(server_.url()));
  EXPECT_EQ(Found(), "ya29.storage-2-secret") << "the variable goes before";
}

TEST_F(GsCredentialsTest, OfAnotherProvider) {
  const std::string file = File("token", std::string(FakeGoogleTokens::kSubjectToken) + "\n");
  pages_["/text"] = FakeGoogleTokens::kSubjectToken;
  pages_["/json"] = R"({"access_token":")" + std::string(FakeGoogleTokens::kSubjectToken) + R"("})";
  const std::string sources[] = {
      R"({"file":")" + file + R"("})",
      R"({"url":")" + server_.url() + R"(/text","headers":{"Metadata":"true"}})",
      R"({"url":")" + server_.url() +
          R"(/json","format":{"type":"json","subject_token_field_name":"access_token"}})"};
  for (const std::string& source : sources) {
    for (const bool impersonates : {false, true}) {
      SCOPED_TRACE(source);
      Use(FakeGoogleTokens::ExternalAccountFile(server_.url(), source, impersonates));
      EXPECT_THAT(Found(), StartsWith("ya29.storage-"));
    }
  }
  File("token", "another");
  Use(FakeGoogleTokens::ExternalAccountFile(server_.url(), sources[0], false));
  EXPECT_THAT(Found(), HasSubstr("The subject token is not good."));
  Use(FakeGoogleTokens::ExternalAccountFile(server_.url(), R"({"executable":{}})", false));
  EXPECT_THAT(Found(), HasSubstr("unsupported: "));
}

TEST_F(GsCredentialsTest, OfAMachineOfAws) {
  pages_["/zone"] = "eu-west-1b";
  pages_["/role"] = "role";
  pages_["/role/role"] = R"({"AccessKeyId":"id","SecretAccessKey":"hush","Token":"tok"})";
  pages_["/session"] = "session";
  const std::string url = server_.url();
  std::string file = FakeGoogleTokens::ExternalAccountFile(
      url,
      R"({"environment_id":"aws1","region_url":")" + url + R"(/zone","url":")" + url +
          R"(/role","imdsv2_session_token_url":")" + url +
          R"(/session","regional_cred_verification_url":)"
          R"("https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"})",
      true);
  const std::string jwt = "urn:ietf:params:oauth:token-type:jwt";
  file.replace(file.find(jwt), jwt.size(), "urn:ietf:params:aws:token-type:aws4_request");
  Use(file);
  EXPECT_THAT(Found(), StartsWith("ya29.storage-"));
  pages_.clear();
  EXPECT_THAT(Found(), HasSubstr("credential_source: "));
  variables_["AWS_REGION"] = "eu-west-1";
  variables_["AWS_ACCESS_KEY_ID"] = "id";
  variables_["AWS_SECRET_ACCESS_KEY"] = "hush";
  EXPECT_THAT(Found(), StartsWith("ya29.storage-"));
}

TEST_F(GsCredentialsTest, OfAnAccountThatAnotherSpeaksFor) {
  Use(R"({"type":"impersonated_service_account","service_account_impersonation_url":")" +
      server_.url() + R"(/speaker:generateAccessToken","delegates":[],"source_credentials":)" +
      FakeGoogleTokens::UserFile(server_.url()) + "}");
  EXPECT_EQ(Found(), "ya29.storage-2-secret");
}

TEST_F(GsCredentialsTest, OfTheMachine) {
  variables_["NO_GCE_CHECK"] = "";
  variables_["GCE_METADATA_HOST"] = server_.authority();
  EXPECT_EQ(Found(), "ya29.storage-1-secret");
  HttpServer other([](const ServedRequest&, ServedPeer& peer) { peer.Answer(200, {}, "{}"); });
  variables_["GCE_METADATA_HOST"] = other.authority();
  EXPECT_THAT(Found(), HasSubstr("is no metadata server of Google"));
  HttpServer bare([](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(404, {"Metadata-Flavor: Google"}, "");
  });
  variables_["GCE_METADATA_HOST"] = bare.authority();
  EXPECT_THAT(Found(), HasSubstr("denied: metadata server: this machine has no service account"));
  HttpServer slow([](const ServedRequest&, ServedPeer& peer) {
    peer.Answer(503, {"Metadata-Flavor: Google"}, "");
  });
  variables_["GCE_METADATA_HOST"] = slow.authority();
  EXPECT_THAT(Found(), StartsWith("unavailable: metadata server"));
}

TEST_F(GsCredentialsTest, WhatIsWrongIsSaid) {
  EXPECT_THAT(Found(), StartsWith("denied: no credentials: set GOOGLE_APPLICATION_CREDENTIALS"));
  variables_["GOOGLE_APPLICATION_CREDENTIALS"] = "/nowhere.json";
  EXPECT_THAT(Found(), StartsWith("denied: credentials: read /nowhere.json"));
  Use(FakeGoogleTokens::UserFile(server_.url() + "/nowhere"));
  EXPECT_THAT(Found(), HasSubstr("denied: "));
  const std::pair<const char*, const char*> cases[] = {
      {"", "no JSON object"},
      {"[]", "no JSON object"},
      {R"({"type":"gdch_service_account"})", "type \"gdch_service_account\" is not supported"},
      {R"({"type":"service_account"})", "it has no \"client_email\""},
      {R"({"type":"service_account","client_email":"a","private_key":"x"})",
       "private_key is no private key in PEM"},
      {R"({"type":"authorized_user","client_id":"a"})", "it has no \"client_secret\""},
      {R"({"type":"external_account"})", "it needs \"audience\""},
      {R"({"type":"service_account","universe_domain":"other.goog"})",
       "universe_domain other.goog is not supported"},
      {R"({"type":"authorized_user","client_id":"a","client_secret":"b","refresh_token":"c",)"
       R"("token_uri":"http://example.com/token"})",
       "secrets go over https only"},
  };
  for (const auto& [text, want] : cases) {
    SCOPED_TRACE(text);
    Use(text);
    EXPECT_THAT(Found(), HasSubstr(want));
  }
}

TEST(GsToken, AnswersOfServices) {
  const WallTime now{std::chrono::seconds(1'767'323'045)};
  const auto token =
      ParseToken(R"({"access_token":"a","expires_in":3599,"token_type":"Bearer"})", now);
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token.value().secret.access_token, "a");
  EXPECT_EQ(*token.value().expires_at, now + std::chrono::seconds(3599));
  EXPECT_FALSE(ParseToken(R"({"access_token":"a"})", now).value().expires_at);
  EXPECT_EQ(*ParseToken(R"({"access_token":"a","expires_in":-5})", now).value().expires_at, now);
  EXPECT_EQ(*ParseToken(R"({"access_token":"a","expires_in":9223372036854775807})", now)
                 .value()
                 .expires_at,
            now + std::chrono::hours(24));
  for (const char* text : {"", "{}", R"({"access_token":""})", R"({"id_token":"x"})"}) {
    EXPECT_FALSE(ParseToken(text, now).ok()) << text;
    EXPECT_FALSE(ParseImpersonatedToken(text).ok()) << text;
  }
  EXPECT_EQ(FormatTimestamp(*ParseImpersonatedToken(
                                 R"({"accessToken":"a","expireTime":"2026-01-02T03:04:05Z"})")
                                 .value()
                                 .expires_at),
            "2026-01-02T03:04:05Z");
}

}  // namespace
}  // namespace litestream::gs
