#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backend/sftp/connection.h"
#include "backend/sftp/options.h"
#include "base/sync.h"

namespace litestream::sftp {

// A connection that somebody uses.
class Use {
 public:
  Use() = default;
  Use(std::shared_ptr<Connection> connection, std::shared_ptr<const void> owner)
      : connection_(std::move(connection)), owner_(std::move(owner)) {}
  Use(Use&&) noexcept = default;
  Use& operator=(Use&& other) noexcept {
    std::swap(connection_, other.connection_);
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Use() {
    if (connection_) connection_->EndUse();
  }
  Connection& operator*() const { return *connection_; }
  Connection* operator->() const { return connection_.get(); }

 private:
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<const void> owner_;  // The engine lives as long as somebody uses a connection.
};

// One user's way into one server: its connections, shared by all replicas that lie there. The first
// is opened by the first call; another one while many calls share each; idle ones are closed.
class Endpoint : public std::enable_shared_from_this<Endpoint> {
 public:
  Endpoint(ConnectOptions options, std::shared_ptr<Engine> engine)
      : options_(std::move(options)), engine_(std::move(engine)) {}

  const ConnectOptions& options() const { return options_; }

  // A connection to use. One call at a time connects; the others take part in its failure, so that
  // a hundred replicas do not try a dead server a hundred times. Warns in `log`, once, if nothing
  // says whose key the server has.
  Result<Use> Connect(const Context& ctx, const Logger& log);

  // Whether the server makes hard links, as far as that was tried out.
  std::optional<bool> makes_links() const;
  void SetMakesLinks(bool makes_links);

  // Keeps others of this process away from a name, where the server cannot.
  class NameLock {
   public:
    NameLock(std::shared_ptr<Endpoint> endpoint, std::string name)
        : endpoint_(std::move(endpoint)), name_(std::move(name)) {}
    NameLock(NameLock&&) noexcept = default;
    NameLock& operator=(NameLock&&) = delete;
    ~NameLock();

   private:
    std::shared_ptr<Endpoint> endpoint_;
    std::string name_;
  };
  Result<NameLock> LockName(const Context& ctx, const std::string& name);

 private:
  std::optional<Use> Free() LS_REQUIRES(mu_);
  Result<std::shared_ptr<Connection>> Dial(const Context& ctx, const Logger& log);

  const ConnectOptions options_;
  const std::shared_ptr<Engine> engine_;

  mutable Mutex mu_{LockRank::kStorage};
  CondVar changed_;
  std::vector<std::shared_ptr<Connection>> connections_ LS_GUARDED_BY(mu_);
  bool dialing_ LS_GUARDED_BY(mu_) = false;
  std::uint64_t dials_ LS_GUARDED_BY(mu_) = 0;          // That ended.
  std::optional<Error> dial_error_ LS_GUARDED_BY(mu_);  // Of the last one.
  bool warned_ LS_GUARDED_BY(mu_) = false;
  std::optional<bool> makes_links_ LS_GUARDED_BY(mu_);
  std::set<std::string> locked_names_ LS_GUARDED_BY(mu_);
};

// What all replicas of the process share.
class Shared {
 public:
  Shared() : engine_(std::make_shared<Engine>()) {}
  std::shared_ptr<Endpoint> At(const ConnectOptions& options);

 private:
  const std::shared_ptr<Engine> engine_;
  Mutex mu_{LockRank::kStorage};
  std::map<ConnectOptions, std::weak_ptr<Endpoint>> endpoints_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::sftp
