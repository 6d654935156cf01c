#include "tests/support/http_server.h"

#include <array>
#include <cstdlib>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace litestream {
namespace {

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return text;
}

}  // namespace

std::string ServedRequest::query() const {
  const std::size_t mark = target.find('?');
  return mark == std::string::npos ? "" : target.substr(mark + 1);
}

std::string ServedRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

bool ServedPeer::Fill() {
  std::array<char, 65536> piece;
  const ssize_t got = ::recv(fd_, piece.data(), piece.size(), 0);
  if (got <= 0) return false;
  buffer_.append(piece.data(), static_cast<std::size_t>(got));
  return true;
}

bool ServedPeer::ReadRequest(ServedRequest& out) {
  std::size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) return false;
  }
  const std::string head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  const std::size_t line_end = head.find("\r\n");
  const std::string line = head.substr(0, line_end);
  const std::size_t first = line.find(' ');
  const std::size_t second = line.rfind(' ');
  out.method = line.substr(0, first);
  out.target = line.substr(first + 1, second - first - 1);
  for (std::size_t at = line_end + 2; at < head.size();) {
    const std::size_t stop = head.find("\r\n", at);
    const std::string header = head.substr(at, stop - at);
    const std::size_t colon = header.find(':');
    std::string value = header.substr(colon + 1);
    value.erase(0, value.find_first_not_of(' '));
    out.headers[Lower(header.substr(0, colon))] = value;
    at = stop + 2;
  }
  return true;
}

std::string ServedPeer::ReadBody(const ServedRequest& request) {
  std::string body;
  if (request.header("transfer-encoding") == "chunked") {
    for (;;) {
      std::size_t end = 0;
      while ((end = buffer_.find("\r\n")) == std::string::npos) {
        if (!Fill()) return body;
      }
      const std::size_t size = std::strtoul(buffer_.c_str(), nullptr, 16);
      buffer_.erase(0, end + 2);
      while (buffer_.size() < size + 2) {
        if (!Fill()) return body;
      }
      body += buffer_.substr(0, size);
      buffer_.erase(0, size + 2);
      if (size == 0) return body;
    }
  }
  const std::string length = request.header("content-length");
  const std::size_t size = length.empty() ? 0 : std::strtoul(length.c_str(), nullptr, 10);
  while (buffer_.size() < size && Fill()) {
  }
  body = buffer_.substr(0, size);
  buffer_.erase(0, body.size());
  return body;
}

void ServedPeer::Send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      closed_ = true;
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void ServedPeer::Answer(int status, const std::vector<std::string>& headers,
                        std::string_view body) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " x\r\n";
  for (const std::string& header : headers) head += header + "\r\n";
  head += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  Send(head.append(body));
}

void ServedPeer::WaitForClose() {
  while (Fill()) {
  }
  closed_ = true;
}

void ServedPeer::Reset() {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  closed_ = true;
}

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_, 1024) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  accepting_ = std::thread([this] { Accept(); });
}

HttpServer::~HttpServer() {
  Stop();
}

void HttpServer::Stop() {
  {
    const std::lock_guard lock(mu_);
    if (std::exchange(stopping_, true)) return;
    for (const int fd : fds_) {
      if (fd >= 0) ::shutdown(fd, SHUT_RDWR);
    }
  }
  ::shutdown(listener_, SHUT_RDWR);
  accepting_.join();
  for (std::thread& thread : serving_) thread.join();
  ::close(listener_);
}

std::string HttpServer::authority() const {
  return "127.0.0.1:" + std::to_string(port_);
}

std::string HttpServer::url() const {
  return "http://" + authority();
}

void HttpServer::Accept() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::lock_guard lock(mu_);
    if (stopping_) {
      ::close(fd);
      return;
    }
    ++connections_;
    fds_.push_back(fd);
    serving_.emplace_back([this, fd] { Serve(fd); });
  }
}

void HttpServer::Serve(int fd) {
  ServedPeer peer(fd);
  while (!peer.closed()) {
    ServedRequest request;
    if (!peer.ReadRequest(request)) break;
    ++requests_;
    handler_(request, peer);
  }
  const std::lock_guard lock(mu_);
  for (int& known : fds_) {
    if (known == fd) known = -1;
  }
  ::close(fd);
}

}  // namespace litestream
