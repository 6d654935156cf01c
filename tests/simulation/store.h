#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
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

  // It does not answer until then.
  void BreakUntil(std::int64_t at_ns) { broken_until_ns_ = at_ns; }
  bool broken() const { return world_.faults_enabled() && world_.now_ns() < broken_until_ns_; }
  const StoreFaults& faults() const { return faults_; }
  const std::string& name() const { return name_; }
  std::uint64_t requests() const { return requests_; }

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
  void CheckFence(const Process& process, std::string_view call);

  std::int64_t broken_until_ns_ = 0;
  std::int64_t stranger_since_ns_ = 0;
  std::int64_t stranger_until_ns_ = 0;
  std::uint64_t strangers_ = 0;  // Who came, all in all, and when it was listed last.
  std::uint64_t strangers_when_listed_ = 0;
  std::uint64_t requests_ = 0;
};

}  // namespace litestream::sim
