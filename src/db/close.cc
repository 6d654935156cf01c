#include "db/close.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <thread>

#include <fmt/core.h>

namespace litestream {
namespace {

// Databases that are closed at the same time.
constexpr std::size_t kParallelClose = 16;

// Calls `work` for each, several at once.
void ForEach(const std::vector<std::size_t>& which, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    for (std::size_t i = next++; i < which.size(); i = next++) work(which[i]);
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 1; i < std::min(kParallelClose, which.size()); ++i) {
    threads.emplace_back(run);
  }
  run();
}

Error GivenUp(const Error& why, int attempts, const Error& last) {
  return Error(why.code(), fmt::format("{} after {} attempts: {}",
                                       why.Is(ErrorCode::kTimeout) ? "shutdown sync timeout"
                                                                   : "shutdown sync interrupted",
                                       attempts, last.message()));
}

}  // namespace

std::vector<Result<void>> CloseDatabases(const Context& ctx, std::span<Database* const> databases,
                                         std::chrono::nanoseconds retry_interval) {
  std::vector<Result<void>> results(databases.size());
  std::vector<std::size_t> left(databases.size());
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = i;
  std::stable_partition(left.begin(), left.end(),
                        [&](std::size_t i) { return !databases[i]->IsFailing(); });
  for (int attempts = 1; !left.empty(); ++attempts) {
    ForEach(left, [&](std::size_t i) { results[i] = databases[i]->Drain(ctx, attempts); });
    std::erase_if(left, [&](std::size_t i) {
      // Cut off in its first attempt: nothing has failed.
      return results[i].ok() || (attempts == 1 && results[i].error().Is(ErrorCode::kCancelled));
    });
    if (left.empty() || retry_interval.count() <= 0) break;
    const auto waited = ctx.Wait(retry_interval);
    if (waited.ok()) continue;
    for (const std::size_t i : left) {
      results[i] = GivenUp(waited.error(), attempts, results[i].error());
    }
    break;
  }
  std::vector<std::size_t> all(databases.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  ForEach(all, [&](std::size_t i) {
    auto released = databases[i]->Release();
    if (!released.ok()) results[i] = std::move(released);
  });
  return results;
}

}  // namespace litestream
