// Somebody on another machine who takes the leases of the replicas when they are free, and holds
// them for a while. Nobody may write meanwhile, nor afterwards before he has looked.

#include <fmt/core.h>

#include "storage/lease.h"
#include "tests/simulation/town.h"

namespace litestream::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kLifeNs = std::chrono::nanoseconds(kLeaseTimeToLive).count();

}  // namespace

void Town::RunStranger(Process& process) {
  while (!calm_ && !process.dead()) {
    // Mostly somebody has it.
    process.Sleep(milliseconds(process.dice().Below(5'000)), process.stopping());
    if (!calm_ && !process.dead()) Visit(process, AnySite(process.dice()));
  }
}

void Town::Visit(Process& process, Site& site) {
  const Context ctx(process.stopping(), std::nullopt, process.clock());
  const auto client = site.store.Look();
  Leaser leaser(*client, {.owner = "stranger:1", .instance = fmt::format("s{}", ++visits_)});
  std::int64_t now_ns = world_.now_ns();
  auto lease = leaser.Acquire(ctx);
  if (!lease.ok()) return;
  world_.Note(process.name(), "has the lease", site.store.name());
  site.store.OnStranger(now_ns + kLifeNs);
  for (std::uint64_t round = process.dice().Below(8); round > 0 && !calm_; --round) {
    process.Sleep(seconds(5), process.stopping());
    if (process.dead()) return;
    now_ns = world_.now_ns();
    auto renewed = leaser.Renew(ctx, lease.value());
    if (!renewed.ok()) {
      // A replica that is emptied loses its lease, too.
      const bool there = client->GetObject(ctx, kLeaseName).ok();
      if (there && !plan_.store_wiped) {
        world_.Fail("a lease was taken from who had it: " + renewed.error().message());
      }
      site.store.OnStranger(now_ns);
      return;
    }
    lease = std::move(renewed);
    site.store.OnStranger(now_ns + kLifeNs);
  }
  // Or he dies.
  const std::uint64_t end = process.dice().Below(3);
  if (end == 0 && !calm_) return;
  const bool left = end == 1 ? leaser.Release(ctx, lease.value()).ok()
                             : leaser.GiveUp(ctx, MarkOf(lease.value())).ok();
  if (left) site.store.OnStranger(world_.now_ns());
}

}  // namespace litestream::sim
