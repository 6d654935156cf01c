#include "backend/sftp/connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>
#include <libssh/libssh.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/errno_error.h"
#include "base/try.h"
#include "http/curl_error.h"

namespace litestream::sftp {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr int kReadsAtATime = 64;  // Then it is another connection's turn.

MonoTime Now() {
  return Clock::Real().Monotonic();
}

Error Gone(std::string_view why) {
  return {ErrorCode::kUnavailable, fmt::format("sftp: the connection is gone: {}", why)};
}

}  // namespace

// ---- For callers

Connection::Connection(Channel channel, std::chrono::milliseconds stall_timeout,
                       std::chrono::milliseconds idle_timeout)
    : channel_(std::move(channel)),
      stall_timeout_(stall_timeout),
      idle_timeout_(idle_timeout),
      last_answer_(Now()),
      last_use_(Now()) {
  incoming_.Append(channel_.unread);
}

Pending Connection::Send(PacketType type, const Body& body) {
  auto state = std::make_shared<Pending::State>();
  std::shared_ptr<const Fd> wake;
  {
    MutexLock lock(mu_);
    if (error_) return Pending(std::move(state));
    std::uint32_t number = next_number_++;
    while (waiting_.contains(number)) number = next_number_++;  // After 2^32 of them.
    if (waiting_.empty()) waiting_since_ = Now();
    waiting_.emplace(number, state);
    // Who finds something there has woken the thread already.
    if (outgoing_.empty()) wake = wake_;
    outgoing_ += MakePacket(type, number, body.bytes());
    last_use_ = Now();
  }
  if (wake) ::eventfd_write(wake->get(), 1);
  return Pending(std::move(state));
}

Result<Reply> Connection::Wait(const Context& ctx, const Pending& pending) {
  LS_TRY(ctx.Check());
  MutexLock lock(mu_);
  const auto done = [&]() LS_REQUIRES(mu_) { return pending.state_->reply || error_; };
  bool is_done = false;
  if (ctx.deadline()) {
    const auto left = *ctx.deadline() - ctx.clock().Monotonic();
    is_done = changed_.WaitFor(mu_, ctx.stop(), left, done);
  } else {
    is_done = changed_.Wait(mu_, ctx.stop(), done);
  }
  if (!is_done) {
    LS_TRY(ctx.Check());
    return Error(ErrorCode::kTimeout, "sftp: no answer in time");
  }
  if (!pending.state_->reply) return *error_;
  Reply reply = std::move(*pending.state_->reply);
  pending.state_->reply.reset();
  return reply;
}

Result<Status> Connection::AskStatus(const Context& ctx, PacketType type, const Body& body) {
  return ParseStatus(LS_TRY(Ask(ctx, type, body)));
}

bool Connection::Offers(std::string_view extension, std::string_view version) const {
  const auto found = channel_.version.extensions.find(extension);
  return found != channel_.version.extensions.end() && found->second == version;
}

bool Connection::BeginUse() {
  MutexLock lock(mu_);
  if (error_) return false;
  ++users_;
  last_use_ = Now();
  return true;
}

void Connection::EndUse() {
  MutexLock lock(mu_);
  --users_;
  last_use_ = Now();
}

int Connection::users() const {
  MutexLock lock(mu_);
  return error_ ? -1 : users_;
}

// ---- For the engine

bool Connection::HasToSend() const {
  MutexLock lock(mu_);
  return !outgoing_.empty();
}

bool Connection::WriteSome() {
  for (;;) {
    if (sent_ == sending_.size()) {
      sending_.clear();
      sent_ = 0;
      MutexLock lock(mu_);
      sending_.swap(outgoing_);
    }
    if (sending_.empty()) return true;
    const int count = ssh_channel_write(channel_.channel, sending_.data() + sent_,
                                        static_cast<std::uint32_t>(sending_.size() - sent_));
    if (count < 0 && count != SSH_AGAIN) {
      Fail(Gone(http::Shown(ssh_get_error(channel_.session.get()))));
      return false;
    }
    if (count <= 0) return true;  // The server's window is full.
    sent_ += static_cast<std::size_t>(count);
  }
}

bool Connection::ReadSome() {
  std::array<char, kReadBytes> buffer;
  more_to_read_ = false;
  for (int i = 0; i < kReadsAtATime; ++i) {
    const int count = ssh_channel_read_nonblocking(channel_.channel, buffer.data(),
                                                   static_cast<std::uint32_t>(buffer.size()), 0);
    if (count > 0) {
      incoming_.Append({buffer.data(), static_cast<std::size_t>(count)});
      last_answer_ = Now();
      if (!Dispatch()) return false;
      continue;
    }
    if (count == SSH_AGAIN) return true;
    if (count == SSH_EOF || ssh_channel_is_eof(channel_.channel) != 0 ||
        ssh_channel_is_closed(channel_.channel) != 0) {
      Fail(Gone("the server closed it"));
      return false;
    }
    if (count < 0 || ssh_is_connected(channel_.session.get()) == 0) {
      Fail(Gone(http::Shown(ssh_get_error(channel_.session.get()))));
      return false;
    }
    return true;
  }
  more_to_read_ = true;  // libssh may hold it: poll() would not say so.
  return true;
}

bool Connection::Dispatch() {
  bool any = false;
  for (;;) {
    auto packet = incoming_.Next();
    if (!packet.ok()) {
      Fail(std::move(packet).error());
      return false;
    }
    if (!packet.value()) break;
    const std::string& bytes = *packet.value();
    if (bytes.size() < 5) {
      Fail(Gone("the server's answer is too short"));
      return false;
    }
    std::uint32_t number = 0;
    for (std::size_t i = 1; i < 5; ++i) {
      number = number << 8U | static_cast<unsigned char>(bytes[i]);
    }
    std::optional<Error> unasked;
    {
      MutexLock lock(mu_);
      const auto found = waiting_.find(number);
      if (found == waiting_.end()) {
        unasked = Gone("the server answers what nobody asked");
      } else {
        Reply reply{.type = static_cast<PacketType>(bytes[0]), .body = bytes.substr(5)};
        const bool unwanted = found->second.use_count() == 1;
        found->second->reply = std::move(reply);
        if (unwanted) CloseUnwanted(*found->second->reply);
        waiting_.erase(found);
      }
    }
    if (unasked) {
      Fail(std::move(*unasked));
      return false;
    }
    any = true;
  }
  if (any) changed_.NotifyAll();
  return true;
}

// Who opened it was cancelled meanwhile. Servers have room for so many open files.
void Connection::CloseUnwanted(const Reply& reply) {
  const auto handle = ParseHandle(reply);
  if (!handle.ok()) return;
  while (waiting_.contains(next_number_)) ++next_number_;
  waiting_.emplace(next_number_, std::make_shared<Pending::State>());
  outgoing_ +=
      MakePacket(PacketType::kClose, next_number_++, Body().String(handle.value()).bytes());
}

void Connection::Fail(Error error) {
  {
    MutexLock lock(mu_);
    if (!error_) error_ = std::move(error);
    waiting_.clear();
    outgoing_.clear();
    outgoing_.shrink_to_fit();
  }
  changed_.NotifyAll();
  channel_.channel = nullptr;
  channel_.session.reset();
  channel_.socket = Fd();
}

std::optional<Error> Connection::Overdue(MonoTime now) {
  MutexLock lock(mu_);
  // What we send is no sign of life: new requests would keep a dead connection alive.
  if (!waiting_.empty() && now - std::max(last_answer_, waiting_since_) >= stall_timeout_) {
    return Gone(fmt::format("no answer for {} ms", stall_timeout_.count()));
  }
  if (users_ == 0 && waiting_.empty() && now - last_use_ >= idle_timeout_) {
    // Under this lock: nobody begins to use it in between.
    error_ = Gone("it was idle");
    return error_;
  }
  return std::nullopt;
}

MonoTime Connection::NextLook(MonoTime now) const {
  MutexLock lock(mu_);
  if (more_to_read_) return now;
  if (!waiting_.empty()) return std::max(last_answer_, waiting_since_) + stall_timeout_;
  // Who ends its use wakes nobody up: it is looked at now and then.
  return users_ == 0 ? last_use_ + idle_timeout_ : now + idle_timeout_;
}

bool Connection::Pump(MonoTime now) {
  // What arrives may open the server's window, and libssh reads while it writes.
  if (!ReadSome() || !WriteSome() || !ReadSome()) return false;
  if (auto error = Overdue(now)) {
    Fail(std::move(*error));
    return false;
  }
  return true;
}

// ---- The engine

// libssh uses OpenSSL, which ends itself when the process exits, and that in the reverse order of
// beginnings: if it began later than a static engine, it would be gone when the last connections
// are closed. (Without any option it would not begin.)
Engine::Engine() {
  OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr);
}

Engine::~Engine() {
  std::jthread thread;
  {
    MutexLock lock(mu_);
    thread = std::move(thread_);
    if (!thread.joinable()) return;
    thread.request_stop();
    ::eventfd_write(wake_->get(), 1);
  }
  thread.join();
}

Result<void> Engine::Add(std::shared_ptr<Connection> connection) {
  MutexLock lock(mu_);
  if (!thread_.joinable()) {
    Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake.valid()) return ErrnoError(errno, "eventfd");
    wake_ = std::make_shared<const Fd>(std::move(wake));
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }
  {
    MutexLock inner(connection->mu_);
    connection->wake_ = wake_;
  }
  fresh_.push_back(std::move(connection));
  ::eventfd_write(wake_->get(), 1);
  return {};
}

void Engine::Run(const std::stop_token& stop) {
  std::shared_ptr<const Fd> wake;
  {
    MutexLock lock(mu_);
    wake = wake_;
  }
  std::vector<std::shared_ptr<Connection>> connections;
  std::vector<pollfd> fds;
  while (!stop.stop_requested()) {
    std::size_t ready = connections.size();  // From there on they are new.
    {
      MutexLock lock(mu_);
      connections.insert(connections.end(), fresh_.begin(), fresh_.end());
      fresh_.clear();
    }
    const MonoTime now = Now();
    MonoTime next_look = now + std::chrono::hours(1);
    std::vector<std::shared_ptr<Connection>> left;
    for (std::size_t i = 0; i < connections.size(); ++i) {
      Connection& connection = *connections[i];
      const bool wanted = i >= ready || fds[i + 1].revents != 0 || connection.HasToSend() ||
                          connection.NextLook(now) <= now;
      if (wanted && !connection.Pump(now)) continue;
      next_look = std::min(next_look, connection.NextLook(now));
      left.push_back(std::move(connections[i]));
    }
    connections = std::move(left);

    fds.clear();
    fds.push_back({.fd = wake->get(), .events = POLLIN, .revents = 0});
    for (const auto& connection : connections) {
      ssh_session_struct* const session = connection->channel_.session.get();
      const bool writes = (ssh_get_poll_flags(session) & SSH_WRITE_PENDING) != 0;
      fds.push_back({.fd = ssh_get_fd(session),
                     .events = static_cast<short>(POLLIN | (writes ? POLLOUT : 0)),
                     .revents = 0});
    }
    // Rounded up: a look that comes too early would be repeated at once.
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(
        std::max(next_look - Now(), MonoTime::duration::zero()));
    ::poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
    if (fds[0].revents != 0) {
      eventfd_t count = 0;
      ::eventfd_read(wake->get(), &count);
    }
  }
  {
    MutexLock lock(mu_);
    connections.insert(connections.end(), fresh_.begin(), fresh_.end());
    fresh_.clear();
  }
  for (const auto& connection : connections) {
    // What was only posted (the removal of a temporary file) still goes out if there is room.
    connection->WriteSome();
    connection->Fail({ErrorCode::kCancelled, "sftp: the program stops"});
  }
}

}  // namespace litestream::sftp
