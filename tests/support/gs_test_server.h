#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "backend/gs/session.h"

namespace litestream {

// The server that gcs_server.py started for this test.
inline std::string GsTestSetting(const char* name) {
  const char* const value = std::getenv(name);
  if (value != nullptr) return value;
  std::fprintf(stderr, "%s is not set: run this by tests/support/gcs_server.py\n", name);
  std::exit(1);
}

inline gs::Options GsTestOptions() {
  gs::Options options;
  options.endpoint = GsTestSetting("LITESTREAM_TEST_GCS_ENDPOINT");
  options.bucket = GsTestSetting("LITESTREAM_TEST_GCS_BUCKET");
  // Of an emulator that wants none.
  options.anonymous = GsTestSetting("GOOGLE_APPLICATION_CREDENTIALS").empty();
  return options;
}

inline std::shared_ptr<gs::Shared> GsTestShared() {
  static const auto shared = std::make_shared<gs::Shared>(
      std::make_shared<http::Client>(),
      gs::CredentialSources{.environment = [](std::string_view name) {
        return name == "GOOGLE_APPLICATION_CREDENTIALS" ? GsTestSetting(name.data()) : "";
      }});
  return shared;
}

}  // namespace litestream
