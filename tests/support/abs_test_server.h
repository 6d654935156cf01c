#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "backend/abs/session.h"

namespace litestream {

// The server that azurite.py started for this test.
inline std::string AbsTestSetting(const char* name) {
  const char* const value = std::getenv(name);
  if (value != nullptr) return value;
  std::fprintf(stderr, "%s is not set: run this by tests/support/azurite.py\n", name);
  std::exit(1);
}

inline abs::Options AbsTestOptions() {
  abs::Options options;
  options.endpoint = AbsTestSetting("LITESTREAM_TEST_ABS_ENDPOINT");
  options.container = AbsTestSetting("LITESTREAM_TEST_ABS_CONTAINER");
  options.account_key = AbsTestSetting("LITESTREAM_TEST_ABS_KEY");
  return options;
}

inline std::shared_ptr<abs::Shared> AbsTestShared() {
  static const auto shared = std::make_shared<abs::Shared>(
      std::make_shared<http::Client>(),
      abs::TokenSources{.environment = [](std::string_view) { return std::string(); }});
  return shared;
}

}  // namespace litestream
