#include "replica/parallel.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/try.h"

namespace litestream {

StopGroup::StopGroup(const Context& ctx)
    : outer_(ctx),
      link_(ctx.stop(), [this]() { stop_.request_stop(); }),
      inner_(stop_.get_token(), ctx.deadline(), ctx.clock()) {}

void StopGroup::Fail(Error error) {
  {
    MutexLock lock(mu_);
    if (!error_) error_ = std::move(error);
  }
  stop_.request_stop();
}

Result<void> StopGroup::Status() const {
  LS_TRY(outer_.Check());
  MutexLock lock(mu_);
  if (error_) return *error_;
  return {};
}

namespace {

// Hands out indexes, and keeps the error with the lowest one.
class IndexQueue {
 public:
  explicit IndexQueue(std::size_t count) : count_(count) {}

  std::optional<std::size_t> Take() {
    MutexLock lock(mu_);
    if (next_ >= count_) return std::nullopt;
    return next_++;
  }
  void Fail(std::size_t index, Error error) {
    MutexLock lock(mu_);
    next_ = count_;
    // A thread that was stopped because another failed has nothing to say.
    if (error_ && (error.Is(ErrorCode::kCancelled) || index > error_index_)) return;
    error_ = std::move(error);
    error_index_ = index;
  }
  Result<void> Status() {
    MutexLock lock(mu_);
    if (error_) return *error_;
    return {};
  }

 private:
  Mutex mu_{LockRank::kLeaf};
  const std::size_t count_;
  std::size_t next_ LS_GUARDED_BY(mu_) = 0;
  std::size_t error_index_ LS_GUARDED_BY(mu_) = 0;
  std::optional<Error> error_ LS_GUARDED_BY(mu_);
};

}  // namespace

std::vector<std::jthread> StartThreads(std::size_t count, const std::function<void()>& work) {
  std::vector<std::jthread> threads;
  threads.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    try {
      threads.emplace_back(work);
    } catch (const std::system_error&) {
      break;
    }
  }
  return threads;
}

Result<void> ForEachParallel(const Context& ctx, int threads, std::size_t count,
                             const std::function<Result<void>(const Context&, std::size_t)>& step) {
  if (threads <= 1 || count <= 1) {
    for (std::size_t i = 0; i < count; ++i) LS_TRY(step(ctx, i));
    return {};
  }
  StopGroup group(ctx);
  IndexQueue queue(count);
  const auto work = [&]() {
    while (const auto index = queue.Take()) {
      auto result = step(group.context(), *index);
      if (result.ok()) continue;
      queue.Fail(*index, result.error());
      group.Fail(std::move(result).error());
    }
  };
  {
    const auto others = StartThreads(std::min(static_cast<std::size_t>(threads), count) - 1, work);
    work();
  }
  LS_TRY(ctx.Check());
  return queue.Status();
}

}  // namespace litestream
