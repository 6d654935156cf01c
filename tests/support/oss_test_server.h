#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "backend/oss/session.h"

namespace litestream {

// The server that oss_server.py started for this test.
inline std::string OssTestSetting(const std::string& name) {
  const std::string variable = "LITESTREAM_TEST_OSS_" + name;
  const char* const value = std::getenv(variable.c_str());
  if (value != nullptr) return value;
  std::fprintf(stderr, "%s is not set: run this by tests/support/oss_server.py\n",
               variable.c_str());
  std::exit(1);
}

inline oss::Options OssTestOptions() {
  return {.bucket = OssTestSetting("BUCKET"),
          .endpoint = OssTestSetting("ENDPOINT"),
          .access_key_id = OssTestSetting("ACCESS_KEY"),
          .secret_access_key = OssTestSetting("SECRET_KEY")};
}

inline std::shared_ptr<oss::Shared> OssTestShared() {
  static const auto shared = std::make_shared<oss::Shared>(
      std::make_shared<http::Client>(),
      oss::CredentialSources{.environment = [](std::string_view) { return std::string(); }});
  return shared;
}

inline std::unique_ptr<oss::Session> OssTestSession(const oss::Options& options) {
  return std::make_unique<oss::Session>(options, oss::MakeAddress(options).value(),
                                        OssTestShared());
}

}  // namespace litestream
