#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "backend/sftp/endpoint.h"
#include "backend/sftp/options.h"

namespace litestream {

// The directory in which sftp_server.py keeps what tests need to know.
inline std::filesystem::path SftpTestDirectory() {
  const char* const value = std::getenv("LITESTREAM_TEST_SFTP_DIR");
  if (value != nullptr) return value;
  std::fprintf(stderr, "LITESTREAM_TEST_SFTP_DIR is not set: run this by sftp_server.py\n");
  std::exit(1);
}

inline std::string SftpTestSetting(const std::string& name) {
  std::ifstream file(SftpTestDirectory() / name);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// "sshd" and "plain" (with a key), or "rclone" (with a password).
inline sftp::Options SftpTestOptions(const std::string& server) {
  sftp::Options options;
  options.connect.host = "127.0.0.1";
  options.connect.port = static_cast<std::uint16_t>(std::stoi(SftpTestSetting(server + ".port")));
  options.connect.user = SftpTestSetting(server + ".user");
  if (server != "rclone") {
    options.connect.key_path = SftpTestDirectory() / "key";
    options.connect.host_key = SftpTestSetting("host_key.pub");
  } else {
    options.connect.password = SftpTestSetting("rclone.password");
  }
  return options;
}

// A directory on the server, and the path of the same for a client.
inline std::filesystem::path SftpTestRoot(const std::string& server) {
  return SftpTestSetting(server + ".root");
}
inline std::string SftpTestPath(const std::string& server, const std::string& name) {
  return server != "rclone" ? SftpTestRoot(server) / name : std::filesystem::path("/") / name;
}

inline sftp::Shared& SftpTestShared() {
  static sftp::Shared shared;
  return shared;
}

}  // namespace litestream
