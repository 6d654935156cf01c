#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/sync.h"

namespace litestream {

// A socket that listens on a free loopback port.
inline Fd ListenOnLoopback(std::uint16_t& port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(fd.get(), generic, size), 0);
  EXPECT_EQ(::listen(fd.get(), 16), 0);
  EXPECT_EQ(::getsockname(fd.get(), generic, &size), 0);
  port = ntohs(address.sin_port);
  return fd;
}

// Stands between a client and a server on loopback, and can stand still, or cut connections.
class TcpRelay {
 public:
  explicit TcpRelay(std::uint16_t upstream) : upstream_(upstream) {
    listener_ = ListenOnLoopback(port_);
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }
  ~TcpRelay() {
    thread_.request_stop();
    Wake();
    thread_.join();
  }
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  std::uint16_t port() const { return port_; }
  // From now on nothing passes, in connections that are there and that come.
  void Freeze() {
    frozen_ = true;
    Wake();
    MutexLock lock(mu_);
    changed_.Wait(mu_, {}, [this]() LS_REQUIRES(mu_) { return stands_still_; });
    unheard_ = false;
  }
  void Thaw() {
    frozen_ = false;
    Wake();
  }
  // Waits until a client has said something that did not pass.
  void WaitForUnheard() {
    MutexLock lock(mu_);
    changed_.Wait(mu_, {}, [this]() LS_REQUIRES(mu_) { return unheard_; });
    unheard_ = false;
  }
  // Connections that are opened from now on end after so many bytes of the server's. 0: never.
  void CutAfter(std::uint64_t bytes) { cut_after_ = bytes; }
  // Ends all that are there.
  void CutAll() {
    cut_all_ = true;
    Wake();
    MutexLock lock(mu_);
    changed_.Wait(mu_, {}, [this]() LS_REQUIRES(mu_) { return !cut_all_; });
  }
  int accepted() const { return accepted_; }

 private:
  struct Link {
    Fd client;
    Fd server;
    std::uint64_t answered = 0;
    std::uint64_t cut_after = 0;
    bool seen = false;  // What was said while nothing passes.
  };

  void Wake() { ::eventfd_write(wake_.get(), 1); }

  void Accept() {
    Link link;
    link.client = Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    link.server = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address{.sin_family = AF_INET,
                              .sin_port = htons(upstream_),
                              .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    if (::connect(link.server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
        0) {
      return;
    }
    link.cut_after = cut_after_;
    ++accepted_;
    links_.push_back(std::move(link));
  }

  // False: the connection is over.
  static bool Pass(int from, int to, std::uint64_t limit, std::uint64_t& count) {
    char buffer[65536];
    const ssize_t size = ::recv(from, buffer, sizeof buffer, 0);
    if (size <= 0) return false;
    const auto wanted = std::min<std::uint64_t>(static_cast<std::uint64_t>(size), limit);
    for (std::uint64_t sent = 0; sent < wanted;) {
      const ssize_t now = ::send(to, buffer + sent, wanted - sent, MSG_NOSIGNAL);
      if (now <= 0) return false;
      sent += static_cast<std::uint64_t>(now);
    }
    count += wanted;
    return wanted == static_cast<std::uint64_t>(size);
  }

  bool Serve(Link& link, bool client_speaks, bool server_speaks) {
    std::uint64_t ignored = 0;
    if (client_speaks && !Pass(link.client.get(), link.server.get(), UINT64_MAX, ignored)) {
      return false;
    }
    const std::uint64_t left = link.cut_after == 0 ? UINT64_MAX : link.cut_after - link.answered;
    return !server_speaks || Pass(link.server.get(), link.client.get(), left, link.answered);
  }

  void Run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::vector<pollfd> fds = {{.fd = wake_.get(), .events = POLLIN},
                                 {.fd = listener_.get(), .events = POLLIN}};
      const bool frozen = frozen_;
      {
        MutexLock lock(mu_);
        stands_still_ = frozen;
        changed_.NotifyAll();
      }
      for (const Link& link : links_) {
        const short wanted = frozen && link.seen ? 0 : POLLIN;
        fds.push_back({.fd = link.client.get(), .events = wanted});
        fds.push_back({.fd = link.server.get(), .events = static_cast<short>(frozen ? 0 : POLLIN)});
      }
      ::poll(fds.data(), fds.size(), -1);
      if (fds[0].revents != 0) {
        eventfd_t value = 0;
        ::eventfd_read(wake_.get(), &value);
      }
      std::vector<Link> left;
      for (std::size_t i = 0; i < links_.size(); ++i) {
        Link& link = links_[i];
        const bool client_speaks = fds[2 + 2 * i].revents != 0;
        if (frozen) {
          if (client_speaks && !link.seen) {
            link.seen = true;
            NoteUnheard();
          }
        } else {
          link.seen = false;
          if (!Serve(link, client_speaks, fds[3 + 2 * i].revents != 0)) continue;
        }
        left.push_back(std::move(link));
      }
      links_ = std::move(left);
      if (fds[1].revents != 0) Accept();
      if (cut_all_) {
        links_.clear();
        MutexLock lock(mu_);
        cut_all_ = false;
        changed_.NotifyAll();
      }
    }
  }

  void NoteUnheard() {
    MutexLock lock(mu_);
    unheard_ = true;
    changed_.NotifyAll();
  }

  const std::uint16_t upstream_;
  std::uint16_t port_ = 0;
  Fd listener_;
  const Fd wake_{::eventfd(0, EFD_CLOEXEC)};
  std::atomic<bool> frozen_ = false;
  std::atomic<bool> cut_all_ = false;
  std::atomic<std::uint64_t> cut_after_ = 0;
  std::atomic<int> accepted_ = 0;
  std::vector<Link> links_;  // The thread's own.
  Mutex mu_{LockRank::kLeaf};
  CondVar changed_;
  bool unheard_ LS_GUARDED_BY(mu_) = false;
  bool stands_still_ LS_GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace litestream
