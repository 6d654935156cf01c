#include "server/http_listener.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/try.h"
#include "litestream/clock.h"
#include "server/http_request.h"

namespace litestream {
namespace {

constexpr int kBacklog = 128;
constexpr std::chrono::seconds kAcceptPause{1};
constexpr int kNice = 10;

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Error CannotListen(std::string_view address, std::string_view why) {
  return Error(ErrorCode::kUnavailable, fmt::format("listen on {}: {}", address, why));
}

Error CannotListen(std::string_view address, int error_number) {
  Error error = CannotListen(address, std::strerror(error_number));
  if (error_number != EADDRINUSE) return error;
  return Error(ErrorCode::kAlreadyExists,
               error.message() + " (another process uses it, perhaps another litestream)");
}

struct HostPort {
  std::string host;  // Empty: all interfaces.
  std::string port;
};

Result<HostPort> SplitAddress(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == address.size()) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("must specify port for bind address: \"{}\"", address));
  }
  HostPort out{.host = std::string(address.substr(0, colon)),
               .port = std::string(address.substr(colon + 1))};
  // The system would take what is left of a larger number.
  std::uint32_t number = 0;
  const char* const end = out.port.data() + out.port.size();
  const auto parsed = std::from_chars(out.port.data(), end, number);
  if (parsed.ptr == end && (parsed.ec != std::errc() || number > 65535)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("bind address \"{}\": no such port, the last is 65535", address));
  }
  if (out.host.starts_with('[') && out.host.ends_with(']')) {
    out.host = out.host.substr(1, out.host.size() - 2);
  }
  return out;
}

Result<Fd> ListenOn(const addrinfo& info, std::string_view address) {
  Fd socket(
      ::socket(info.ai_family, info.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, info.ai_protocol));
  if (!socket.valid()) return CannotListen(address, errno);
  const int on = 1;
  const int off = 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // All interfaces are those of IPv4, too.
  if (info.ai_family == AF_INET6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (::bind(socket.get(), info.ai_addr, info.ai_addrlen) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return CannotListen(address, errno);
  }
  return socket;
}

Result<Fd> ListenOnAny(const HostPort& where, std::string_view address) {
  addrinfo hints = {};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(where.host.empty() ? nullptr : where.host.c_str(),
                                   where.port.c_str(), &hints, &found);
  if (failed != 0) return CannotListen(address, ::gai_strerror(failed));
  const AddressList list(found, &::freeaddrinfo);
  // A name gets its IPv4 address, as with Go; all interfaces are those of IPv6, if there is any.
  const int first = where.host.empty() ? AF_INET6 : AF_INET;
  std::vector<const addrinfo*> order;
  for (const addrinfo* info = list.get(); info != nullptr; info = info->ai_next) {
    order.push_back(info);
  }
  std::stable_partition(order.begin(), order.end(),
                        [&](const addrinfo* info) { return info->ai_family == first; });
  Result<Fd> result = CannotListen(address, "no such address");
  for (const addrinfo* info : order) {
    result = ListenOn(*info, address);
    if (result.ok() || result.error().Is(ErrorCode::kAlreadyExists)) break;
  }
  return result;
}

std::string PortOf(const Fd& socket, const std::string& asked) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  std::array<char, NI_MAXSERV> port = {};
  auto* const generic = reinterpret_cast<sockaddr*>(&address);  // NOLINT: the API's way.
  if (::getsockname(socket.get(), generic, &size) != 0) return asked;
  if (::getnameinfo(generic, size, nullptr, 0, port.data(), port.size(), NI_NUMERICSERV) != 0) {
    return asked;
  }
  return port.data();
}

int PollTimeout(std::optional<MonoTime> until, MonoTime now) {
  if (!until) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

}  // namespace

struct HttpListener::Connection {
  enum class State : unsigned char { kReading, kWaiting, kSending, kLeaving };
  Fd socket;
  State state = State::kReading;
  MonoTime began;
  MonoTime deadline;
  std::string in;
  HttpRequest request;
  HttpPage page;  // While more of it is to come.
  std::string out;
  std::size_t sent = 0;
  bool chunked = false;

  short events() const {
    if (state == State::kWaiting) return 0;
    return state == State::kSending ? POLLOUT : POLLIN;
  }
};

HttpListener::HttpListener(Fd socket, Fd wake, std::string url)
    : socket_(std::move(socket)), wake_(std::move(wake)), url_(std::move(url)) {}

HttpListener::~HttpListener() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

Result<std::unique_ptr<HttpListener>> HttpListener::Bind(std::string_view address) {
  const HostPort where = LS_TRY(SplitAddress(address));
  Fd socket = LS_TRY(ListenOnAny(where, address));
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return CannotListen(address, errno);
  const bool is_ipv6 = where.host.find(':') != std::string::npos;
  const std::string host = where.host.empty() ? "localhost"
                           : is_ipv6          ? "[" + where.host + "]"
                                              : where.host;
  std::string url = fmt::format("http://{}:{}", host, PortOf(socket, where.port));
  return std::unique_ptr<HttpListener>(
      new HttpListener(std::move(socket), std::move(wake), std::move(url)));
}

void HttpListener::Start(HttpPages pages) {
  pages_ = std::move(pages);
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void HttpListener::Run(const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), "metrics");
  ::setpriority(PRIO_PROCESS, 0, kNice);  // Of this thread only. If it may not: all the same.
  const std::stop_callback on_stop(stop, [this] { ::eventfd_write(wake_.get(), 1); });
  std::vector<pollfd> polled;
  while (!stop.stop_requested()) {
    MonoTime now = Clock::Real().Monotonic();
    const std::optional<MonoTime> accept_at = AcceptAt();
    const bool accepts = accept_at && now >= *accept_at;
    std::optional<MonoTime> until;
    if (!accepts) until = accept_at;
    polled.assign(2, {});
    polled[0] = {.fd = wake_.get(), .events = POLLIN, .revents = 0};
    polled[1] = {.fd = accepts ? socket_.get() : -1, .events = POLLIN, .revents = 0};
    for (const auto& connection : connections_) {
      polled.push_back(
          {.fd = connection->socket.get(), .events = connection->events(), .revents = 0});
      until = std::min(until.value_or(connection->deadline), connection->deadline);
    }
    ::poll(polled.data(), polled.size(), PollTimeout(until, now));
    now = Clock::Real().Monotonic();
    std::size_t i = 2;
    for (auto at = connections_.begin(); at != connections_.end(); ++i) {
      const bool over = !Serve(**at, polled[i].revents != 0, now);
      at = over ? connections_.erase(at) : std::next(at);
    }
    // Whose turn it is, in the order of their coming.
    for (const auto& connection : connections_) {
      if (connection->state == Connection::State::kWaiting && answers() < kMaxAnswers) {
        Answer(*connection, now);
      }
    }
    if (polled[1].revents != 0) Accept(now);
  }
  connections_.clear();
}

// From when on another connection is taken. Unset: when one has ended. If there are too many, one
// that has had its chance to say what it wants makes room for who waits.
std::optional<MonoTime> HttpListener::AcceptAt() const {
  if (connections_.size() < kMaxConnections) return accept_after_;
  const auto oldest = FirstReading();
  if (oldest == connections_.end()) return std::nullopt;
  return std::max(accept_after_, (*oldest)->began + kLeastPatience);
}

HttpListener::Connections::const_iterator HttpListener::FirstReading() const {
  return std::ranges::find_if(connections_, [](const auto& connection) {
    return connection->state == Connection::State::kReading;
  });
}

void HttpListener::Accept(MonoTime now) {
  if (connections_.size() >= kMaxConnections) {
    const auto oldest = FirstReading();
    if (oldest == connections_.end()) return;
    connections_.erase(oldest);
  }
  while (connections_.size() < kMaxConnections) {
    Fd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      // What waits would wake us again at once.
      const bool none = errno == EAGAIN || errno == EWOULDBLOCK || errno == ECONNABORTED;
      if (!none && errno != EINTR) accept_after_ = now + kAcceptPause;
      return;
    }
    auto connection = std::make_unique<Connection>();
    connection->socket = std::move(socket);
    connection->began = now;
    connection->deadline = now + kRequestPatience;
    connections_.push_back(std::move(connection));
  }
}

std::size_t HttpListener::answers() const {
  return static_cast<std::size_t>(std::ranges::count_if(connections_, [](const auto& connection) {
    return connection->state == Connection::State::kSending;
  }));
}

bool HttpListener::Serve(Connection& connection, bool ready, MonoTime now) {
  if (now >= connection.deadline) return false;
  if (!ready) return true;
  switch (connection.state) {
    case Connection::State::kReading:
      return ReadRequest(connection, now);
    case Connection::State::kWaiting:
      return false;  // The other side is gone.
    case Connection::State::kSending:
      return Send(connection, now);
    case Connection::State::kLeaving:
      break;
  }
  // What else it says does not count, but a close with it unread could take the answer away.
  std::array<char, 4096> rest;
  const ssize_t got = ::recv(connection.socket.get(), rest.data(), rest.size(), 0);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

bool HttpListener::ReadRequest(Connection& connection, MonoTime now) {
  std::array<char, 4096> piece;
  const ssize_t got = ::recv(connection.socket.get(), piece.data(), piece.size(), 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  connection.in.append(piece.data(), static_cast<std::size_t>(got));
  const auto request = ParseHttpRequest(connection.in, kMaxRequestBytes);
  if (!request) return true;
  connection.request = *request;
  connection.in = {};
  connection.state = Connection::State::kWaiting;
  connection.deadline = now + kAnswerPatience;
  return true;
}

// Makes the head, and with the first piece of a page begins to send.
void HttpListener::Answer(Connection& connection, MonoTime now) {
  const HttpRequest& request = connection.request;
  int status = request.status;
  if (status == 200) {
    connection.page = pages_(request.path);
    if (!connection.page.next_piece) status = 404;
  }
  connection.chunked = status == 200 && !request.is_http_1_0;
  connection.out = FormatHttpHead(status, connection.page.content_type, connection.chunked);
  if (status != 200) connection.page = {};
  if (request.is_head) connection.page = {};
  connection.state = Connection::State::kSending;
  connection.deadline = now + kAnswerPatience;
}

// The next piece into `out`; false: there is none.
bool HttpListener::FillPiece(Connection& connection) {
  connection.out.clear();
  connection.sent = 0;
  if (!connection.page.next_piece) return false;
  std::string piece;
  connection.page.next_piece(piece);
  const bool last = piece.empty();
  connection.out = connection.chunked ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : piece;
  if (last) connection.page = {};
  return !connection.out.empty();
}

bool HttpListener::Send(Connection& connection, MonoTime now) {
  const ssize_t sent = ::send(connection.socket.get(), connection.out.data() + connection.sent,
                              connection.out.size() - connection.sent, MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  connection.sent += static_cast<std::size_t>(sent);
  if (connection.sent < connection.out.size() || FillPiece(connection)) return true;
  connection.out = {};
  ::shutdown(connection.socket.get(), SHUT_WR);
  connection.state = Connection::State::kLeaving;
  connection.deadline = now + kFarewell;
  return true;
}

}  // namespace litestream
