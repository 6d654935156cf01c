#pragma once

#include <functional>
#include <memory>
#include <string>

namespace litestream::testing {

// An SQLite VFS over the default one, with a say in every call: the hook may make it fail, and it
// may do what another process would do in that moment (use the database through the default VFS).
// Unlocking and closing cannot fail, as on a real machine. Registered until destroyed; connections
// that use it must be gone by then.
class FaultVfs {
 public:
  // An SQLite code: 0 lets the call through. `call` is "read", "write", "sync", "lock", ...
  using Hook = std::function<int(const char* call, const char* path)>;

  explicit FaultVfs(const std::string& name);
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  void SetHook(Hook hook) { hook_ = std::move(hook); }
  const std::string& name() const { return name_; }
  int Ask(const char* call, const char* path) { return hook_ ? hook_(call, path) : 0; }

 private:
  struct Registered;

  std::string name_;
  Hook hook_;
  std::unique_ptr<Registered> registered_;
};

}  // namespace litestream::testing
