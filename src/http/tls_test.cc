#include <cstdlib>
#include <string>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test_dir.h"
#include "http/client.h"

// A real TLS server: `openssl s_server`, with certificates that are made here.

namespace litestream::http {
namespace {

const Context kNever = Context::Background();

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // An authority, and certificates of it for "localhost" and for a client.
    Run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=authority -keyout ca.key -out ca.pem");
    for (const std::string name : {"localhost", "client"}) {
      Run(fmt::format(
          "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={0} "
          "-addext subjectAltName=DNS:{0} -keyout {0}.key -out {0}.csr",
          name));
      Run(
          fmt::format("openssl x509 -req -in {0}.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
                      "-days 2 -copy_extensions copy -out {0}.pem",
                      name));
    }
  }
  void TearDown() override {
    if (server_ <= 0) return;
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
  }
  void Run(const std::string& command) const {
    ASSERT_EQ(std::system(
                  fmt::format("cd '{}' && {} 2>>log", directory_.path().native(), command).c_str()),
              0)
        << command;
  }
  // On a free port; `more` are further arguments.
  void Serve(const std::string& more) {
    int out[2];
    ASSERT_EQ(::pipe(out), 0);
    server_ = ::fork();
    if (server_ == 0) {
      ::dup2(out[1], 1);
      const std::string command = fmt::format(
          "cd '{}' && exec openssl s_server -accept 127.0.0.1:0 -cert localhost.pem "
          "-key localhost.key -www {} 2>>log",
          directory_.path().native(), more);
      ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(out[1]);
    std::string said;
    char c = 0;
    while (said.find("ACCEPT 127.0.0.1:") == said.npos || c != '\n') {
      ASSERT_EQ(::read(out[0], &c, 1), 1) << "the server ended: " << said;
      said += c;
    }
    port_ = std::atoi(said.c_str() + said.find("ACCEPT 127.0.0.1:") + 17);
    pipe_ = Fd(out[0]);
  }
  Result<Response> Get(const std::string& host, const TlsOptions& tls) {
    return Client().Do(kNever, {.url = fmt::format("https://{}:{}/", host, port_), .tls = tls});
  }
  std::string File(const char* name) const { return (directory_ / name).native(); }

  TestDir directory_;
  pid_t server_ = 0;
  int port_ = 0;
  struct Fd {
    Fd() = default;
    explicit Fd(int n) : fd(n) {}
    Fd& operator=(Fd&& other) noexcept {
      std::swap(fd, other.fd);
      return *this;
    }
    ~Fd() {
      if (fd >= 0) ::close(fd);
    }
    int fd = -1;
  } pipe_;
};

TEST_F(TlsTest, CertificatesAreVerifiedUnlessToldOtherwise) {
  ASSERT_NO_FATAL_FAILURE(Serve(""));
  const auto unknown = Get("localhost", {});
  ASSERT_FALSE(unknown.ok()) << "nobody vouches for it";
  EXPECT_EQ(unknown.error().code(), ErrorCode::kDenied);
  const auto known = Get("localhost", {.ca_file = File("ca.pem")});
  ASSERT_TRUE(known.ok()) << known.error().message();
  EXPECT_EQ(known.value().status, 200);
  const auto other_name = Get("127.0.0.1", {.ca_file = File("ca.pem")});
  ASSERT_FALSE(other_name.ok()) << "not its name";
  EXPECT_EQ(other_name.error().code(), ErrorCode::kDenied);
  EXPECT_TRUE(Get("127.0.0.1", {.verify = false}).ok());
  const auto no_file = Get("localhost", {.ca_file = File("nothing.pem")});
  ASSERT_FALSE(no_file.ok());
  EXPECT_EQ(no_file.error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(TlsTest, AConnectionThatWasNotVerifiedIsNotUsedForOneThatIs) {
  ASSERT_NO_FATAL_FAILURE(Serve(""));
  Client client({.threads = 1});
  const std::string url = fmt::format("https://localhost:{}/", port_);
  EXPECT_TRUE(client.Do(kNever, {.url = url, .tls = {.verify = false}}).ok());
  EXPECT_FALSE(client.Do(kNever, {.url = url}).ok());
}

TEST_F(TlsTest, AClientCertificate) {
  ASSERT_NO_FATAL_FAILURE(Serve("-Verify 2 -verify_return_error -CAfile ca.pem"));
  TlsOptions tls{.ca_file = File("ca.pem")};
  EXPECT_FALSE(Get("localhost", tls).ok());
  tls.client_certificate = File("client.pem");
  tls.client_key = File("client.key");
  const auto answer = Get("localhost", tls);
  ASSERT_TRUE(answer.ok()) << answer.error().message();
}

}  // namespace
}  // namespace litestream::http
