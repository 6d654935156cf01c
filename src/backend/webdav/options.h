#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "base/env.h"
#include "storage/retry.h"

namespace litestream::webdav {

struct Options {
  std::string url;       // http:// or https://, perhaps with a path, and with user and password.
  std::string path;      // Below it; cleaned.
  std::string username;  // Empty: that of the URL, if there is one.
  std::string password;
  // Takes any certificate, and shows the password to everybody on the way where only http and Basic
  // are to be had.
  bool skip_verify = false;
  std::string ca_file;
  std::string client_certificate;  // PEM files, where the server wants to know who asks.
  std::string client_key;
  // How long not a byte may come, and twice as long until the first one.
  std::chrono::milliseconds stall_timeout{30'000};

  RetryPolicy retry{.attempts = 6,
                    .first_delay = std::chrono::milliseconds(500),
                    .max_delay = std::chrono::milliseconds(20'000)};
  std::filesystem::path stage_directory = "/tmp";
  Env* env = &Env::Real();  // For files of unknown size, which are staged, and its clock.
};

}  // namespace litestream::webdav
