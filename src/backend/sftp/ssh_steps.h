#pragma once

#include "base/fd.h"
#include "litestream/context.h"
#include "litestream/result.h"

struct ssh_session_struct;

namespace litestream::sftp {

// Takes a session through steps that wait for the network, on the caller's thread: until the
// context ends (at once), or the time is over (kTimeout).
class Steps {
 public:
  // Borrows the context. The time is that of Clock::Real().
  Steps(const Context& ctx, MonoTime until) : ctx_(ctx), until_(until) {}

  const Context& ctx() const { return ctx_; }
  // Steps that have a part of the time that is left.
  Steps Share(std::size_t parts) const;

  // Waits until the descriptor is ready.
  Result<void> WaitFor(int fd, short events) const;
  Result<void> WaitForSession(ssh_session_struct* session) const;

  // Calls `step` until it returns something else than `again`.
  template <typename Step>
  Result<int> Drive(ssh_session_struct* session, Step step, int again) const {
    for (;;) {
      const int code = step();
      if (code != again) return code;
      if (auto waited = WaitForSession(session); !waited.ok()) return std::move(waited).error();
    }
  }

 private:
  const Context& ctx_;
  const MonoTime until_;
};

}  // namespace litestream::sftp
