#include "backend/sftp/ssh.h"

#include <utility>

#include <fmt/core.h>
#include <libssh/libssh.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "backend/sftp/authentication.h"
#include "backend/sftp/host_key.h"
#include "backend/sftp/resolve.h"
#include "backend/sftp/ssh_steps.h"
#include "base/errno_error.h"
#include "base/fd.h"
#include "base/try.h"
#include "http/curl_error.h"

namespace litestream::sftp {
namespace {

constexpr int kKeepIdleSeconds = 30;
constexpr int kKeepIntervalSeconds = 10;
constexpr int kKeepCount = 3;
constexpr unsigned kUnacknowledgedMs = 60'000;
constexpr std::size_t kVersionBytes = 4096;

Error NobodyAnswers(const ConnectOptions& options, std::string_view why) {
  return {ErrorCode::kUnavailable,
          fmt::format("sftp: connect to {}:{}: {}", options.host, options.port, why)};
}

// A dead peer is found out by the kernel.
void SetSocketOptions(int fd) {
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepIdleSeconds, sizeof kKeepIdleSeconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepIntervalSeconds, sizeof kKeepIntervalSeconds);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kKeepCount, sizeof kKeepCount);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs, sizeof kUnacknowledgedMs);
}

Result<Fd> ConnectTo(const Steps& steps, const Address& address, const ConnectOptions& options) {
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError(errno, "socket");
  SetSocketOptions(fd.get());
  const auto* const to = reinterpret_cast<const sockaddr*>(&address.storage);
  if (::connect(fd.get(), to, address.size) != 0) {
    if (errno != EINPROGRESS) return NobodyAnswers(options, ErrnoError(errno, "").message());
    LS_TRY(steps.WaitFor(fd.get(), POLLOUT));
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return NobodyAnswers(options, ErrnoError(error, "tcp").message());
  }
  return fd;
}

Result<Fd> ConnectToAny(const Steps& steps, const ConnectOptions& options) {
  const auto addresses = LS_TRY(Resolve(steps.ctx(), options.host, options.port));
  std::optional<Error> last;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    // Each gets its share of what is left: the first may be one that nobody can reach.
    auto fd = ConnectTo(steps.Share(addresses.size() - i), addresses[i], options);
    if (fd.ok()) return fd;
    LS_TRY(steps.ctx().Check());
    last = std::move(fd).error();
  }
  return last ? *last : NobodyAnswers(options, "the host has no address");
}

Error SshError(const ConnectOptions& options, ssh_session session, std::string_view doing) {
  return {ErrorCode::kUnavailable, fmt::format("sftp: {} {}:{}: {}", doing, options.host,
                                               options.port, http::Shown(ssh_get_error(session)))};
}

Result<Session> MakeSession(const ConnectOptions& options) {
  Session session(ssh_new());
  if (!session) return Error(ErrorCode::kInternal, "sftp: libssh has no memory");
  const unsigned port = options.port;
  const bool process_config = false;  // ~/.ssh/config is for people.
  const long nodelay = 1;
  const struct {
    ssh_options_e option;
    const void* value;
  } settings[] = {{SSH_OPTIONS_PROCESS_CONFIG, &process_config},
                  {SSH_OPTIONS_HOST, options.host.c_str()},
                  {SSH_OPTIONS_PORT, &port},
                  {SSH_OPTIONS_USER, options.user.c_str()},
                  {SSH_OPTIONS_NODELAY, &nodelay}};
  for (const auto& setting : settings) {
    if (ssh_options_set(session.get(), setting.option, setting.value) != SSH_OK) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("sftp: host {} or user {} is not valid: {}", options.host,
                               options.user, http::Shown(ssh_get_error(session.get()))));
    }
  }
  ssh_set_blocking(session.get(), 0);
  return session;
}

// Sends INIT and waits for VERSION.
Result<void> StartSftp(const Steps& steps, const ConnectOptions& options, Channel& channel) {
  ssh_session session = channel.session.get();
  const auto no_sftp = [&](std::string_view why) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("sftp: {}:{} lets us in, but offers no SFTP ({}); the server needs "
                             "the subsystem \"sftp\"",
                             options.host, options.port, why));
  };
  std::string hello;
  const std::string body = Body().U32(kProtocolVersion).bytes();
  hello = Body().U32(static_cast<std::uint32_t>(body.size() + 1)).bytes();
  hello += static_cast<char>(PacketType::kInit);
  hello += body;
  if (ssh_channel_write(channel.channel, hello.data(), static_cast<std::uint32_t>(hello.size())) !=
      static_cast<int>(hello.size())) {
    return SshError(options, session, "start SFTP on");
  }
  PacketCutter cutter;
  for (;;) {
    char buffer[kVersionBytes];
    const int count = ssh_channel_read_nonblocking(channel.channel, buffer, sizeof buffer, 0);
    if (count > 0) {
      cutter.Append({buffer, static_cast<std::size_t>(count)});
      auto packet = cutter.Next();
      if (!packet.ok()) return no_sftp(packet.error().message());
      if (!packet.value()) continue;
      auto version = ParseVersion(*packet.value());
      if (!version.ok()) return no_sftp(version.error().message());
      channel.version = std::move(version).value();
      if (channel.version.version >= kProtocolVersion) return {};
      return no_sftp(fmt::format("it speaks version {}", channel.version.version));
    }
    if (count == SSH_EOF || ssh_channel_is_eof(channel.channel) != 0 ||
        ssh_channel_is_closed(channel.channel) != 0) {
      return no_sftp("it closes the channel");
    }
    if (count < 0 && count != SSH_AGAIN) return SshError(options, session, "start SFTP on");
    LS_TRY(steps.WaitForSession(session));
  }
}

Result<Channel> OpenWithin(const Steps& steps, const ConnectOptions& options, bool& unverified) {
  Channel channel;
  channel.session = LS_TRY(MakeSession(options));
  ssh_session session = channel.session.get();
  LS_TRY(PrepareHostKey(session, options));
  channel.socket = LS_TRY(ConnectToAny(steps, options));
  const int fd = channel.socket.get();
  if (ssh_options_set(session, SSH_OPTIONS_FD, &fd) != SSH_OK) {
    return SshError(options, session, "talk to");
  }
  if (LS_TRY(steps.Drive(
          session, [&] { return ssh_connect(session); }, SSH_AGAIN)) != SSH_OK) {
    return SshError(options, session, "talk to");
  }
  LS_TRY(CheckHostKey(session, options, unverified));
  LS_TRY(Authenticate(steps, session, options));
  channel.channel = ssh_channel_new(session);
  if (channel.channel == nullptr) return SshError(options, session, "open a channel on");
  ssh_channel const raw = channel.channel;
  if (LS_TRY(steps.Drive(
          session, [&] { return ssh_channel_open_session(raw); }, SSH_AGAIN)) != SSH_OK) {
    return SshError(options, session, "open a channel on");
  }
  const int subsystem = LS_TRY(steps.Drive(
      session, [&] { return ssh_channel_request_subsystem(raw, "sftp"); }, SSH_AGAIN));
  if (subsystem != SSH_OK) {
    return Error(ErrorCode::kUnsupported,
                 fmt::format("sftp: {}:{} lets us in, but offers no SFTP; the server needs the "
                             "subsystem \"sftp\"",
                             options.host, options.port));
  }
  LS_TRY(StartSftp(steps, options, channel));
  const char* const banner = ssh_get_serverbanner(session);
  channel.server = banner == nullptr ? "" : banner;
  return channel;
}

}  // namespace

void SessionCloser::operator()(ssh_session_struct* session) const {
  ssh_disconnect(session);
  ssh_free(session);
}

Result<Channel> OpenChannel(const Context& ctx, const ConnectOptions& options, bool& unverified) {
  const Clock& clock = Clock::Real();
  const Steps steps(ctx, clock.Monotonic() + options.connect_timeout);
  auto channel = OpenWithin(steps, options, unverified);
  if (channel.ok() || !channel.error().Is(ErrorCode::kTimeout)) return channel;
  LS_TRY(ctx.Check());
  return NobodyAnswers(options,
                       fmt::format("no answer within {} ms", options.connect_timeout.count()));
}

}  // namespace litestream::sftp
