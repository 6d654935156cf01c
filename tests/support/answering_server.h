#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/http_server.h"

namespace litestream {

// A server that notes what it is asked, and answers as a test wants.
class AnsweringServer {
 public:
  using Handler = std::function<void(const ServedRequest&, const std::string& body, ServedPeer&)>;
  Handler answer;

  std::string url() const { return server_.url(); }
  int requests() const { return server_.requests(); }
  void Stop() { server_.Stop(); }
  // "METHOD target", since the last Forget.
  std::vector<std::string> Asked() const {
    const std::lock_guard lock(mu_);
    return asked_;
  }
  void Forget() {
    const std::lock_guard lock(mu_);
    asked_.clear();
  }

 private:
  mutable std::mutex mu_;
  std::vector<std::string> asked_;
  HttpServer server_{[this](const ServedRequest& request, ServedPeer& peer) {
    const std::string body = peer.ReadBody(request);
    {
      const std::lock_guard lock(mu_);
      asked_.push_back(request.method + " " + request.target);
    }
    answer(request, body, peer);
  }};
};

}  // namespace litestream
