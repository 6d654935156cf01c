#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "base/fd.h"
#include "litestream/result.h"
#include "litestream/types.h"

namespace litestream {

// What is sent for a request. The body comes in pieces, each made when the one before is on its
// way, so that a large page takes the memory of a piece.
struct HttpPage {
  std::string content_type;
  // Puts the next piece into `out`, which is empty; leaves it empty at the end. Null: no page.
  std::function<void(std::string& out)> next_piece;
};
// The page at a path (without what follows a "?"); a page without `next_piece` becomes a 404.
using HttpPages = std::function<HttpPage(std::string_view path)>;

// Serves pages to whoever can reach the address: GET and HEAD of HTTP/1.1 and 1.0, a connection
// each.
//
// It stands in a process that has more important things to do, and anybody may talk to it. So:
// 1. One thread, of low priority, which sleeps while there is no connection.
// 2. So many connections, so many bytes of a request, so long for a request and for an answer, so
//    many answers under way: all have bounds (below). Who comes later waits in the system's queue.
// 3. Nothing that is sent is kept, and no body is read.
class HttpListener {
 public:
  static constexpr std::size_t kMaxConnections = 32;
  static constexpr std::size_t kMaxAnswers = 4;
  static constexpr std::size_t kMaxRequestBytes = 8192;
  static constexpr std::chrono::seconds kRequestPatience{5};
  // If others wait for a connection.
  static constexpr std::chrono::milliseconds kLeastPatience{200};
  static constexpr std::chrono::seconds kAnswerPatience{30};
  // After the answer, for the other side to close.
  static constexpr std::chrono::seconds kFarewell{1};

  // Takes the address, "HOST:PORT" or ":PORT" (all interfaces). Nothing is answered before Start.
  static Result<std::unique_ptr<HttpListener>> Bind(std::string_view address);
  ~HttpListener();

  void Start(HttpPages pages);
  // "http://HOST:PORT", with "localhost" for all interfaces and the port that the system chose if
  // 0 was asked for.
  const std::string& url() const { return url_; }

 private:
  struct Connection;
  using Connections = std::list<std::unique_ptr<Connection>>;

  HttpListener(Fd socket, Fd wake, std::string url);
  void Run(const std::stop_token& stop);
  std::optional<MonoTime> AcceptAt() const;
  Connections::const_iterator FirstReading() const;
  void Accept(MonoTime now);
  // False: the connection is over.
  bool Serve(Connection& connection, bool ready, MonoTime now);
  bool ReadRequest(Connection& connection, MonoTime now);
  void Answer(Connection& connection, MonoTime now);
  bool Send(Connection& connection, MonoTime now);
  bool FillPiece(Connection& connection);
  std::size_t answers() const;

  Fd socket_;
  Fd wake_;  // An eventfd.
  std::string url_;
  HttpPages pages_;
  // Only the thread touches these.
  Connections connections_;
  MonoTime accept_after_;  // There was no descriptor for another one.
  std::jthread thread_;    // Last: it uses the rest.
};

}  // namespace litestream
