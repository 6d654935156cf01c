#include "base/callback_gate.h"

namespace litestream {

void CallbackGate::Call(FileEvent event, const std::string& name) {
  {
    MutexLock lock(mu_);
    left_.Wait(mu_, {}, [this]() LS_REQUIRES(mu_) { return closed_ || !BusyElsewhere(); });
    if (closed_) return;
    ++depth_;
    runner_ = std::this_thread::get_id();
  }
  callback_(event, name);
  MutexLock lock(mu_);
  if (--depth_ == 0) left_.NotifyAll();
}

void CallbackGate::Close() {
  MutexLock lock(mu_);
  closed_ = true;
  left_.NotifyAll();
  left_.Wait(mu_, {}, [this]() LS_REQUIRES(mu_) { return !BusyElsewhere(); });
}

}  // namespace litestream
