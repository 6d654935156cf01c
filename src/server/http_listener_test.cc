#include "server/http_listener.h"

#include <array>
#include <atomic>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace litestream {
namespace {

class Client {
 public:
  explicit Client(const HttpListener& listener) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const std::string& url = listener.url();
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void Send(std::string_view text) const {
    EXPECT_EQ(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Until the other side closes.
  std::string Receive() const {
    std::string all;
    std::array<char, 4096> piece;
    for (;;) {
      const ssize_t got = ::read(fd_.get(), piece.data(), piece.size());
      if (got <= 0) return all;
      all.append(piece.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  Fd fd_;
};

std::unique_ptr<HttpListener> Listen() {
  auto listener = HttpListener::Bind("127.0.0.1:0");
  EXPECT_TRUE(listener.ok());
  return std::move(listener).value();
}

// `count` pieces of `size` bytes.
HttpPage Pieces(int count, std::size_t size) {
  HttpPage page;
  page.content_type = "text/x";
  page.next_piece = [count, size](std::string& out) mutable {
    if (count-- > 0) out.assign(size, 'x');
  };
  return page;
}

TEST(HttpListener, AddressesThatWillNotDo) {
  for (const char* const address : {"", "localhost", "localhost:", "1.2.3.4.5:1", "host.invalid:80",
                                    "localhost:99999999", "localhost:no-such-service"}) {
    SCOPED_TRACE(address);
    EXPECT_FALSE(HttpListener::Bind(address).ok());
  }
  const auto first = Listen();
  const std::string address = first->url().substr(std::string("http://").size());
  const auto second = HttpListener::Bind(address);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kAlreadyExists);
  EXPECT_NE(second.error().message().find(address), std::string::npos);
}

TEST(HttpListener, AllInterfacesAreThoseOfIpv4Too) {
  const auto listener = HttpListener::Bind(":0");
  ASSERT_TRUE(listener.ok());
  EXPECT_TRUE(listener.value()->url().starts_with("http://localhost:"));
  listener.value()->Start([](std::string_view) { return Pieces(1, 3); });
  const Client client(*listener.value());
  client.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nxxx"));
}

TEST(HttpListener, APageInPieces) {
  const auto listener = Listen();
  listener->Start([](std::string_view path) { return path == "/x" ? Pieces(3, 5) : HttpPage(); });
  const Client client(*listener);
  client.Send("GET /x HT");
  client.Send("TP/1.1\r\n\r\n");
  EXPECT_TRUE(
      client.Receive().ends_with("\r\n\r\n5\r\nxxxxx\r\n5\r\nxxxxx\r\n5\r\nxxxxx\r\n"
                                 "0\r\n\r\n"));
  const Client other(*listener);
  other.Send("GET /y HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(other.Receive().starts_with("HTTP/1.1 404 "));
}

// Nobody who asks and does not read makes more pieces than he takes, and no more than a few pages
// are under way.
TEST(HttpListener, SlowReadersAreBounded) {
  std::atomic<int> pages = 0;
  std::atomic<int> pieces = 0;
  const auto listener = Listen();
  listener->Start([&](std::string_view) {
    ++pages;
    HttpPage page;
    page.content_type = "text/x";
    page.next_piece = [&pieces, left = 1000](std::string& out) mutable {
      ++pieces;
      if (left-- > 0) out.assign(128U << 10, 'x');
    };
    return page;
  });
  std::vector<std::unique_ptr<Client>> slow;
  for (std::size_t i = 0; i < HttpListener::kMaxAnswers; ++i) {
    slow.push_back(std::make_unique<Client>(*listener));
    slow.back()->Send("GET / HTTP/1.1\r\n\r\n");
  }
  // A refusal takes no turn but that of an answer; it comes when one of them leaves.
  const Client last(*listener);
  last.Send("GET / HTTP/1.1\r\n\r\n");
  while (pages < static_cast<int>(HttpListener::kMaxAnswers)) std::this_thread::yield();
  EXPECT_EQ(pages, static_cast<int>(HttpListener::kMaxAnswers));
  slow.pop_back();
  EXPECT_GT(last.Receive().size(), 1000U * (128U << 10));
  EXPECT_LT(pieces, 1001 + 4 * 200);
}

TEST(HttpListener, WhoSaysNothingMakesRoom) {
  const auto listener = Listen();
  listener->Start([](std::string_view) { return Pieces(1, 3); });
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(std::make_unique<Client>(*listener));
  const Client client(*listener);
  client.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(client.Receive().ends_with("\r\n\r\nxxx"));
  EXPECT_EQ(silent.front()->Receive(), "");
}

TEST(HttpListener, AStopWaitsForNobody) {
  auto listener = Listen();
  listener->Start([](std::string_view) { return Pieces(1'000'000, 1U << 20); });
  const Client silent(*listener);
  const Client slow(*listener);
  slow.Send("GET / HTTP/1.1\r\n\r\n");
  listener.reset();
  EXPECT_EQ(silent.Receive(), "");
}

}  // namespace
}  // namespace litestream
