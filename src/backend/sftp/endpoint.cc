#include "backend/sftp/endpoint.h"

#include <algorithm>

#include <fmt/core.h>

#include "backend/sftp/ssh.h"
#include "base/try.h"

namespace litestream::sftp {
namespace {

constexpr std::size_t kMaxConnections = 4;
constexpr int kUsersOfOne = 16;  // Before there is another one.

}  // namespace

std::optional<Use> Endpoint::Free() {
  std::erase_if(connections_,
                [](const std::shared_ptr<Connection>& each) { return each->users() < 0; });
  const std::shared_ptr<Connection>* best = nullptr;
  for (const auto& connection : connections_) {
    if (best == nullptr || connection->users() < (*best)->users()) best = &connection;
  }
  if (best == nullptr) return std::nullopt;
  const bool full = (*best)->users() >= kUsersOfOne;
  if (full && connections_.size() < kMaxConnections && !dialing_) return std::nullopt;
  if (!(*best)->BeginUse()) return std::nullopt;
  return std::make_optional<Use>(*best, shared_from_this());
}

Result<Use> Endpoint::Connect(const Context& ctx, const Logger& log) {
  LS_TRY(ctx.Check());
  {
    MutexLock lock(mu_);
    for (;;) {
      if (auto use = Free()) return std::move(*use);
      if (!dialing_) break;
      const std::uint64_t seen = dials_;
      const auto ended = [&]() LS_REQUIRES(mu_) { return dials_ != seen; };
      auto left = std::chrono::nanoseconds(std::chrono::hours(24));
      if (ctx.deadline()) {
        left = std::chrono::nanoseconds(*ctx.deadline() - ctx.clock().Monotonic());
      }
      changed_.WaitFor(mu_, ctx.stop(), left, ended);
      LS_TRY(ctx.Check());
      // Of its own end only who connected knows something.
      if (dials_ != seen && dial_error_ && !dial_error_->Is(ErrorCode::kCancelled) &&
          !dial_error_->Is(ErrorCode::kTimeout)) {
        return *dial_error_;
      }
    }
    dialing_ = true;
  }
  auto dialed = Dial(ctx, log);
  std::optional<Use> use;
  {
    MutexLock lock(mu_);
    dialing_ = false;
    ++dials_;
    dial_error_.reset();
    if (dialed.ok()) {
      connections_.push_back(dialed.value());
      if (dialed.value()->BeginUse()) use.emplace(dialed.value(), shared_from_this());
    } else {
      dial_error_ = dialed.error();
    }
  }
  changed_.NotifyAll();
  if (!dialed.ok()) return std::move(dialed).error();
  if (!use) return Error(ErrorCode::kUnavailable, "sftp: the connection ended at once");
  return std::move(*use);
}

Result<std::shared_ptr<Connection>> Endpoint::Dial(const Context& ctx, const Logger& log) {
  bool unverified = false;
  auto channel = LS_TRY(OpenChannel(ctx, options_, unverified));
  if (unverified) {
    bool warn = false;
    {
      MutexLock lock(mu_);
      warn = !warned_;
      warned_ = true;
    }
    if (warn) {
      log.Warn(
          "sftp host key not verified",
          {{"host", options_.host}, {"hint", "set host-key, or put the server into known_hosts"}});
    }
  }
  auto connection = std::make_shared<Connection>(std::move(channel), options_.stall_timeout,
                                                 options_.idle_timeout);
  LS_TRY(engine_->Add(connection));
  return connection;
}

std::optional<bool> Endpoint::makes_links() const {
  MutexLock lock(mu_);
  return makes_links_;
}

void Endpoint::SetMakesLinks(bool makes_links) {
  MutexLock lock(mu_);
  makes_links_ = makes_links;
}

Result<Endpoint::NameLock> Endpoint::LockName(const Context& ctx, const std::string& name) {
  MutexLock lock(mu_);
  for (;;) {
    LS_TRY(ctx.Check());
    if (locked_names_.insert(name).second) return NameLock(shared_from_this(), name);
    auto left = std::chrono::nanoseconds(std::chrono::hours(24));
    if (ctx.deadline()) {
      left = std::chrono::nanoseconds(*ctx.deadline() - ctx.clock().Monotonic());
    }
    changed_.WaitFor(mu_, ctx.stop(), left,
                     [&]() LS_REQUIRES(mu_) { return !locked_names_.contains(name); });
  }
}

Endpoint::NameLock::~NameLock() {
  if (!endpoint_) return;
  {
    MutexLock lock(endpoint_->mu_);
    endpoint_->locked_names_.erase(name_);
  }
  endpoint_->changed_.NotifyAll();
}

std::shared_ptr<Endpoint> Shared::At(const ConnectOptions& options) {
  MutexLock lock(mu_);
  std::weak_ptr<Endpoint>& known = endpoints_[options];
  std::shared_ptr<Endpoint> endpoint = known.lock();
  if (!endpoint) {
    endpoint = std::make_shared<Endpoint>(options, engine_);
    known = endpoint;
  }
  return endpoint;
}

}  // namespace litestream::sftp
