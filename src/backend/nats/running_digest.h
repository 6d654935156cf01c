#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace litestream::nats {

// The SHA-256 of what is added, as an object store writes it: "SHA-256=<base64url>".
class RunningDigest {
 public:
  RunningDigest();
  ~RunningDigest();
  RunningDigest(const RunningDigest&) = delete;
  RunningDigest& operator=(const RunningDigest&) = delete;

  void Add(std::string_view bytes);
  std::string Take();  // Nothing may be added afterwards.

 private:
  struct Context;
  const std::unique_ptr<Context> context_;
};

}  // namespace litestream::nats
