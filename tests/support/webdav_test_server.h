#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "backend/webdav/options.h"
#include "http/client.h"

namespace litestream {

// The servers that webdav_servers.py started for this test.
inline std::string WebdavTestSetting(const char* name) {
  const char* const value = std::getenv(name);
  if (value != nullptr) return value;
  std::fprintf(stderr, "%s is not set: run this by tests/support/webdav_servers.py\n", name);
  std::exit(1);
}

// `share` is a folder of Apache's, "/basic" say.
inline webdav::Options WebdavTestOptions(const char* server, const std::string& share) {
  webdav::Options options;
  options.url = WebdavTestSetting(server) + share;
  options.username = WebdavTestSetting("LITESTREAM_TEST_WEBDAV_USER");
  options.password = WebdavTestSetting("LITESTREAM_TEST_WEBDAV_PASSWORD");
  options.retry.first_delay = std::chrono::milliseconds(20);
  return options;
}
inline webdav::Options ApacheOptions(const std::string& share) {
  return WebdavTestOptions("LITESTREAM_TEST_WEBDAV_APACHE", share);
}
inline webdav::Options RcloneOptions() {
  return WebdavTestOptions("LITESTREAM_TEST_WEBDAV_RCLONE", "");
}

inline const std::shared_ptr<http::Client>& WebdavTestHttp() {
  static const auto client = std::make_shared<http::Client>();
  return client;
}

}  // namespace litestream
