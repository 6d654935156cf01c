#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "litestream/replica_client.h"
#include "storage/memory_client.h"
#include "tests/simulation/process.h"

namespace litestream::sim {

// What the network and the provider may do. Per million requests, while faults are on.
struct StoreFaults {
  std::uint64_t fail_before = 0;  // Nothing was done.
  std::uint64_t fail_after = 0;   // Done, but the answer is lost.
  std::uint64_t half_body = 0;    // A download that breaks, or ends too early.
  std::uint64_t slow = 0;         // Takes up to a minute.
  bool late_list = false;         // New files are not listed for a few seconds.
  bool unsorted_list = false;
  bool lies_about_delete = false;
  std::chrono::milliseconds slow_body{0};  // For each piece of a snapshot that is sent.
};

// How many objects each process writes at the same time, to all stores together.
struct Turns {
  std::map<std::uint32_t, int> now;
};

// A bucket somewhere else: it survives whatever happens to the machine.
class Store {
 public:
  Store(World& world, const StoreFaults& faults, std::string name)
      : world_(world), faults_(faults), name_(std::move(name)) {}

  // A client for the process.
  std::unique_ptr<ReplicaClient> Connect(Process& process);
  // Without network and faults, for the checker.
  std::unique_ptr<ReplicaClient> Look() { return MakeMemoryClient(store_); }

  // Told of every file that is really stored, before anybody can read it.
  using OnStored = std::function<void(const FileId&, std::span<const std::byte>)>;
  void SetOnStored(OnStored then) { on_stored_ = std::move(then); }
  // A replicator begins to look at what is there.
  void SetOnLook(std::function<void()> then) { on_look_ = std::move(then); }
  // Of files that are removed, before and after.
  using OnDelete = std::function<void(std::span<const FileId>)>;
  void SetOnDelete(OnDelete before, OnDelete after) {
    before_delete_ = std::move(before);
    after_delete_ = std::move(after);
  }

  // Before a replicator changes what is there, or asks whether it may.
  void SetOnChange(std::function<void(const Process&)> then) { on_change_ = std::move(then); }
  // People, or a lifecycle rule, removed these.
  void OnRemovedByPeople(std::span<const FileId> ids) {
    maybe_gone_.insert(ids.begin(), ids.end());
  }
  // Nobody was told that they are gone, or somebody was who had no ear for it.
  const std::set<FileId>& maybe_gone() const { return maybe_gone_; }
  // Its removal was confirmed, and it is there.
  bool lied() const { return lied_; }
  // The process that wrote the lease last, and knows it; 0: none.
  std::uint32_t lease_writer() const { return lease_writer_; }
  // Somebody wrote it and died, or was not told that it is written, and could leave nobody the
  // mark. Says so once.
  bool TakeLeaseOfTheDead() {
    if (std::exchange(lease_in_doubt_, false)) return true;
    return std::erase_if(lease_writers_, [&](std::uint32_t pid) { return world_.HasDied(pid); }) >
           0;
  }
  // How often files were removed.
  std::uint64_t removals() const { return removals_; }

  // Somebody on another machine has the lease from now on, until then.
  void OnStranger(std::int64_t until_ns) {
    if (world_.now_ns() >= stranger_until_ns_) {
      stranger_since_ns_ = world_.now_ns();
      ++strangers_;
    }
    stranger_until_ns_ = until_ns;
  }
  // And his lease is gone with everything else.
  void OnWiped() { stranger_until_ns_ = std::min(stranger_until_ns_, world_.now_ns()); }
  bool stranger_is_here() const { return world_.now_ns() < stranger_until_ns_; }
  std::uint64_t strangers() const { return strangers_; }

  // No process writes more objects at the same time.
  void SetTurns(Turns& turns, int most) {
    turns_ = &turns;
    most_turns_ = most;
  }

  // It does not answer until then.
  void BreakUntil(std::int64_t at_ns) {
    broken_until_ns_ = at_ns;
    vain_requests_.clear();
  }
  bool broken() const { return world_.faults_enabled() && world_.now_ns() < broken_until_ns_; }
  const StoreFaults& faults() const { return faults_; }
  const std::string& name() const { return name_; }
  std::uint64_t requests() const { return requests_; }
  // What the changes so far may have cost, at the most.
  std::uint64_t cost_of_changes() const { return cost_of_changes_; }

 private:
  friend class StoreClient;
  World& world_;
  const StoreFaults faults_;
  const std::string name_;
  MemoryStore store_;
  OnStored on_stored_;
  std::function<void()> on_look_;
  OnDelete before_delete_;
  OnDelete after_delete_;
  std::function<void(const Process&)> on_change_;
  void PayForWrite(const FileId& id);
  void OnListed(const Process& process);
  void CheckFence(const Process& process, std::string_view call);
  void CheckPatience(const Process& process);
  void CheckBackoff(const Process& process);
  void OnLease(const Process& process, std::string_view content);
  void CheckRemoval(const Process& process, std::span<const FileId> ids);

  Turns* turns_ = nullptr;  // Unset: no limit.
  int most_turns_ = 0;
  std::int64_t broken_until_ns_ = 0;
  std::map<std::uint32_t, int> vain_requests_;  // Since it broke, by process.
  std::int64_t stranger_since_ns_ = 0;
  std::int64_t stranger_until_ns_ = 0;
  std::uint64_t strangers_ = 0;  // Who came, all in all.
  // The same when a process last listed the replica, and for those who never did.
  std::map<std::uint32_t, std::uint64_t> strangers_when_listed_;
  std::uint64_t strangers_when_last_listed_ = 0;
  // A process has seen the stranger's lease, and need not ask again before that.
  struct Seen {
    std::int64_t until_ns = 0;
    int asked = 0;
  };
  std::map<std::uint32_t, Seen> seen_stranger_;
  std::set<FileId> maybe_gone_;
  bool lied_ = false;
  std::uint32_t lease_writer_ = 0;
  std::set<std::uint32_t> lease_writers_;
  bool lease_in_doubt_ = false;
  std::uint64_t removals_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t cost_of_changes_ = 0;
};

}  // namespace litestream::sim
