#pragma once

#include <cstdlib>
#include <memory>

#include "backend/s3/session.h"

namespace litestream {

// The server that radosgw.py started for this test.
inline std::string S3TestSetting(const char* name) {
  const char* const value = std::getenv(name);
  if (value != nullptr) return value;
  std::fprintf(stderr, "%s is not set: run this by tests/support/radosgw.py\n", name);
  std::exit(1);
}

inline s3::Options S3TestOptions() {
  s3::Options options;
  options.endpoint = S3TestSetting("LITESTREAM_TEST_S3_ENDPOINT");
  options.bucket = S3TestSetting("LITESTREAM_TEST_S3_BUCKET");
  options.access_key_id = S3TestSetting("LITESTREAM_TEST_S3_ACCESS_KEY");
  options.secret_access_key = S3TestSetting("LITESTREAM_TEST_S3_SECRET_KEY");
  return options;
}

inline std::shared_ptr<s3::Shared> S3TestShared() {
  static const auto shared = std::make_shared<s3::Shared>(
      std::make_shared<http::Client>(),
      s3::CredentialSources{.environment = [](std::string_view) { return std::string(); }});
  return shared;
}

}  // namespace litestream
