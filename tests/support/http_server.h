#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace litestream {

// What a client asked, up to the end of its headers.
struct ServedRequest {
  std::string method;
  std::string target;                          // As it came: path and query.
  std::map<std::string, std::string> headers;  // Lower-case names.

  std::string path() const { return target.substr(0, target.find('?')); }
  std::string query() const;
  std::string header(const std::string& name) const;
};

// One connection, as the handler sees it during one request.
class ServedPeer {
 public:
  explicit ServedPeer(int fd) : fd_(fd) {}
  // The rest of a body of `count` bytes, or in chunks; less if the client goes away.
  std::string ReadBody(const ServedRequest& request);
  void Send(std::string_view text);
  // Status, "Name: value" lines, body with its length.
  void Answer(int status, const std::vector<std::string>& headers, std::string_view body);
  // Until the client has closed.
  void WaitForClose();
  void Reset();                     // RST
  void Close() { closed_ = true; }  // After this request.

  bool closed() const { return closed_; }
  // Reads up to the end of headers; false if there are none any more.
  bool ReadRequest(ServedRequest& out);

 private:
  bool Fill();
  int fd_;
  bool closed_ = false;
  std::string buffer_;
};

// A small real HTTP/1.1 server on the loopback for tests: a thread for each connection, and a
// handler that decides what is done with each request: answer, wait, cut, reset, lie.
class HttpServer {
 public:
  using Handler = std::function<void(const ServedRequest&, ServedPeer&)>;
  explicit HttpServer(Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Cuts what is under way, and waits for the handlers. Not needed, except where a handler uses
  // what goes before the server does (ServesUntilHere).
  void Stop();

  std::string url() const;        // http://127.0.0.1:port
  std::string authority() const;  // 127.0.0.1:port
  int connections() const { return connections_; }
  int requests() const { return requests_; }

 private:
  void Accept();
  void Serve(int fd);

  const Handler handler_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_ = 0;
  std::atomic<int> requests_ = 0;
  std::mutex mu_;
  std::vector<int> fds_;
  std::vector<std::thread> serving_;
  bool stopping_ = false;
  std::thread accepting_;
};

// Stops a server at the end of a scope: declared behind the variables that its handler uses,
// because a request that a client has given up may still be handled.
template <typename Server>
class ServesUntilHere {
 public:
  explicit ServesUntilHere(Server& server) : server_(server) {}
  ServesUntilHere(const ServesUntilHere&) = delete;
  ServesUntilHere& operator=(const ServesUntilHere&) = delete;
  ~ServesUntilHere() { server_.Stop(); }

 private:
  Server& server_;
};

}  // namespace litestream
