#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "litestream/replica_client.h"

namespace litestream {

// What a test or the simulator may do to one call before it happens.
enum class StorageFault : unsigned char {
  kNone,
  kFailBefore,  // kUnavailable, nothing done.
  kFailAfter,   // Done, but the answer is lost: kUnavailable.
  kDenied,      // kDenied, nothing done.
  kIgnored,     // A delete of which the store says that it is done, and nothing is.
};
enum class StorageCall : unsigned char {
  kList,
  kOpen,
  kRead,
  kWrite,
  kDelete,
  kGetObject,
  kPutObject,
  kDeleteObject
};

// A replica in memory, shared by every client that was made from the same store. Created-at times
// are kept exactly.
class MemoryStore {
 public:
  MemoryStore();
  ~MemoryStore();
  // Asked before every call, in the thread that makes it; unset: no faults. Must not call the
  // store. A Delete asks for each of its files, and is counted once.
  void SetFaults(std::function<StorageFault(StorageCall, const FileId&)> faults);
  // Number of calls of one kind so far.
  std::uint64_t calls(StorageCall call) const;

  struct State;
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};
std::unique_ptr<ReplicaClient> MakeMemoryClient(const MemoryStore& store);

}  // namespace litestream
