#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test_dir.h"
#include "http/client.h"

// A real TLS server: `openssl s_server`, with certificates that are made here.

namespace litestream::http {
namespace {

const Context kNever = Context::Background();

int FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

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

// nghttpd knows HTTP/2 only: whoever gets an answer speaks it.
TEST_F(TlsTest, Http2WhereItIsOffered) {
  port_ = FreePort();
  Run("mkdir pages && head -c 3000000 /dev/zero | tr '\\0' x > pages/large && echo hello > "
      "pages/a");
  server_ = ::fork();
  if (server_ == 0) {
    const std::string command = fmt::format(
        "cd '{}' && exec nghttpd -a 127.0.0.1 -d pages {} localhost.key localhost.pem >>log 2>&1",
        directory_.path().native(), port_);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  Client client;
  const auto request = [&](const char* name) {
    return Request{.url = fmt::format("https://localhost:{}/{}", port_, name),
                   .tls = {.ca_file = File("ca.pem")}};
  };
  auto first = client.Do(kNever, request("a"));
  while (!first.ok() && ::waitpid(server_, nullptr, WNOHANG) == 0) {
    first = client.Do(kNever, request("a"));  // It is just starting.
  }
  ASSERT_TRUE(first.ok()) << first.error().message() << ": is nghttp2-server installed?";
  EXPECT_EQ(first.value().body, "hello\n");
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (int i = 0; i < 40; ++i) {
    auto exchange = client.Begin(kNever, request(i % 2 == 0 ? "large" : "a"));
    ASSERT_TRUE(exchange.ok()) << exchange.error().message();
    exchanges.push_back(std::move(exchange).value());
  }
  // Nobody reads the large ones meanwhile: they must not keep the small ones on the same connection
  // from coming.
  for (int i = 1; i < 40; i += 2) {
    const auto answer = exchanges[static_cast<std::size_t>(i)]->Finish(kNever);
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(answer.value().body, "hello\n");
  }
  for (int i = 0; i < 40; i += 2) {
    const auto answer = exchanges[static_cast<std::size_t>(i)]->Finish(kNever);
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(answer.value().body, std::string(3'000'000, 'x'));
  }
}

}  // namespace
}  // namespace litestream::http
