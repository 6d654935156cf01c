#pragma once

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/env.h"
#include "base/sync.h"

namespace litestream {

// The callback of a watch, which its owner can take away while other threads want to call it.
class CallbackGate {
 public:
  explicit CallbackGate(FileEventCallback callback) : callback_(std::move(callback)) {}

  // Nothing happens once the gate is closed. One call at a time.
  void Call(FileEvent event, const std::string& name);
  // When this returns, the callback is not running and will not run again. Called from within the
  // callback, it cannot wait for the end of that run.
  void Close();

 private:
  bool BusyElsewhere() const LS_REQUIRES(mu_) {
    return depth_ > 0 && runner_ != std::this_thread::get_id();
  }

  const FileEventCallback callback_;
  Mutex mu_{LockRank::kWatcher};
  CondVar left_;
  bool closed_ LS_GUARDED_BY(mu_) = false;
  int depth_ LS_GUARDED_BY(mu_) = 0;  // More than 1 if a callback causes an event itself.
  std::thread::id runner_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream
