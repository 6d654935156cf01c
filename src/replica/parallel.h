#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/sync.h"
#include "litestream/context.h"
#include "litestream/result.h"

namespace litestream {

// Threads that work on one thing: the first error stops them all. Safe for concurrent calls.
class StopGroup {
 public:
  // Stops when `ctx` does.
  explicit StopGroup(const Context& ctx);
  StopGroup(const StopGroup&) = delete;
  StopGroup& operator=(const StopGroup&) = delete;

  // For the calls of the group's threads.
  const Context& context() const { return inner_; }
  void Fail(Error error);
  bool failed() const { return stop_.stop_requested(); }
  // The first error, or that of the context the group was made from.
  Result<void> Status() const;

 private:
  Context outer_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> link_;
  Context inner_;
  mutable Mutex mu_{LockRank::kLeaf};
  std::optional<Error> error_ LS_GUARDED_BY(mu_);
};

// Starts up to `count` threads that run `work`: fewer when the system has no more, perhaps none.
std::vector<std::jthread> StartThreads(std::size_t count, const std::function<void()>& work);

// Calls step(ctx, i) for every i below `count`, on up to `threads` threads; in the caller's thread
// alone if that is 1. Stops at the first error, and returns the one with the lowest index seen.
Result<void> ForEachParallel(const Context& ctx, int threads, std::size_t count,
                             const std::function<Result<void>(const Context&, std::size_t)>& step);

}  // namespace litestream
