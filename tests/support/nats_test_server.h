#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "backend/nats/connection.h"
#include "backend/nats/options.h"

// The servers that tests/support/nats_server.py runs.
namespace litestream {

inline std::string NatsEnvironment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Path and content of a file of the servers.
inline std::string NatsFile(const std::string& name) {
  return NatsEnvironment("LITESTREAM_TEST_NATS_DIR") + "/" + name;
}
inline std::string NatsFileContent(const std::string& name) {
  std::ifstream file(NatsFile(name));
  return {std::istreambuf_iterator<char>(file), {}};
}

inline nats::Options NatsTestOptions() {
  return {.server = {.host = NatsEnvironment("LITESTREAM_TEST_NATS_HOST"),
                     .user = "litestream",
                     .password = "SECRET/pass word",
                     .reconnect_wait = std::chrono::milliseconds(20)},
          .bucket = "contract"};
}

inline nats::Connections& NatsTestConnections() {
  static auto* const connections = new nats::Connections();
  return *connections;
}

// Asks the server of `options` for something of JetStream.
inline std::string AskJetStream(const nats::Options& options, const std::string& what,
                                const std::string& request) {
  const auto connection = NatsTestConnections().Get(options.server);
  const std::string domain = options.domain.empty() ? "" : options.domain + ".";
  const auto answer = connection->Ask(Context::Background(),
                                      {.subject = fmt::format("$JS.{}API.{}", domain, what),
                                       .headers = {},
                                       .body = std::make_shared<const std::string>(request)});
  EXPECT_TRUE(answer.ok()) << answer.error().message();
  return answer.ok() ? answer.value().body : "";
}

// Makes the bucket of `options` unless it is there; `more` are further keys of its stream.
inline void MakeNatsBucket(const nats::Options& options, const std::string& more = "") {
  const std::string answer = AskJetStream(
      options, "STREAM.CREATE.OBJ_" + options.bucket,
      fmt::format(R"({{"name":"OBJ_{0}","subjects":["$O.{0}.C.>","$O.{0}.M.>"],"storage":"file",)"
                  R"("discard":"new","allow_rollup_hdrs":true,"num_replicas":1{1}}})",
                  options.bucket, more.empty() ? R"(,"allow_direct":true)" : more));
  EXPECT_TRUE(answer.find(R"("config")") != std::string::npos) << answer;
}

}  // namespace litestream
