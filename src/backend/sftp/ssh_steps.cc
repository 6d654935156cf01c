#include "backend/sftp/ssh_steps.h"

#include <algorithm>
#include <stop_token>

#include <libssh/libssh.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/errno_error.h"
#include "base/try.h"

namespace litestream::sftp {

Steps Steps::Share(std::size_t parts) const {
  const MonoTime now = Clock::Real().Monotonic();
  return {ctx_, now + (until_ - now) / static_cast<int>(std::max<std::size_t>(parts, 1))};
}

Result<void> Steps::WaitFor(int fd, short events) const {
  const Fd wake(::eventfd(0, EFD_CLOEXEC));
  if (!wake.valid()) return ErrnoError(errno, "eventfd");
  const std::stop_callback on_stop(ctx_.stop(), [&wake] { ::eventfd_write(wake.get(), 1); });
  for (;;) {
    LS_TRY(ctx_.Check());
    auto left = until_ - Clock::Real().Monotonic();
    if (left <= left.zero()) return Error(ErrorCode::kTimeout, "sftp: no answer in time");
    if (ctx_.deadline()) left = std::min(left, *ctx_.deadline() - ctx_.clock().Monotonic());
    pollfd fds[] = {{.fd = fd, .events = events, .revents = 0},
                    {.fd = wake.get(), .events = POLLIN, .revents = 0}};
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(std::max(left, left.zero()));
    ::poll(fds, 2, static_cast<int>(wait.count()));
    if (fds[0].revents != 0) return {};
  }
}

Result<void> Steps::WaitForSession(ssh_session_struct* session) const {
  const bool writes = (ssh_get_poll_flags(session) & SSH_WRITE_PENDING) != 0;
  return WaitFor(ssh_get_fd(session), static_cast<short>(POLLIN | (writes ? POLLOUT : 0)));
}

}  // namespace litestream::sftp
