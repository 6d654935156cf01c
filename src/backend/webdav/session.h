#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "backend/webdav/authentication.h"
#include "backend/webdav/location.h"
#include "backend/webdav/options.h"
#include "cloud/calls.h"
#include "http/client.h"

namespace litestream::webdav {

// One request.
struct Call {
  std::string method = "GET";
  std::string path;  // See Location.
  http::Headers headers;
  std::shared_ptr<const std::string> body;  // Shared: see http::Request.
  // Or a body that is read while it is sent, from its front with each attempt. Borrowed.
  std::function<Result<ByteSource*>()> source;
  std::uint64_t source_bytes = 0;
  bool once = false;           // One attempt: the source cannot be read a second time, say.
  int accepted_status = 0;     // A status from 300 that is no error.
  int* last_status = nullptr;  // Where to note the status of the last answer. Borrowed.
};

// Requests to one server, that say who we are as it wants to hear it. Repeats what may work the
// next time. Safe for concurrent calls.
class Session {
 public:
  Session(Options options, Location location, std::shared_ptr<http::Client> http);

  const Options& options() const { return options_; }
  const Location& location() const { return location_; }

  // The answer, of a status below 300. Others are errors, with the code that dav_error.h gives
  // them.
  Result<http::Response> Do(const Context& ctx, const Call& call);
  // The same, with the body still to come.
  Result<std::unique_ptr<http::Exchange>> Open(const Context& ctx, const Call& call);
  // The same, read by `take`, whose error may be worth another attempt.
  Result<void> Read(const Context& ctx, const Call& call, const cloud::Caller::Take& take);
  // Several at a time: Begin does not wait for the answer, Finish does, and repeats like Do.
  cloud::PendingCall Begin(const Context& ctx, Call call);
  Result<http::Response> Finish(const Context& ctx, cloud::PendingCall& pending);
  // Deletes what must not stay, if it can in a short time of its own: `ctx` may have ended. What is
  // wrong with the server is in the error that led here.
  void DeleteQuietly(const Context& ctx, const std::string& path);

  // Whether a body can be sent without being asked first who we are.
  bool ready() const { return authenticator_.ready(); }

 private:
  Result<http::Request> Make(const Call& call, Authenticator::Used* used);
  cloud::Verdict Judge(const Call& call, const http::Response& answer,
                       const Authenticator::Used& used);
  cloud::Call Repeatable(Call call);
  const cloud::Caller& CallerOf(const Call& call) const { return call.once ? once_ : caller_; }
  std::string Doing(const Call& call) const;

  const Options options_;
  const Location location_;
  const std::shared_ptr<http::Client> http_;  // Shared with other replicas.
  const cloud::Caller caller_;
  const cloud::Caller once_;
  Authenticator authenticator_;
};

}  // namespace litestream::webdav
