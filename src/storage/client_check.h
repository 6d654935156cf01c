#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/replica_client.h"
#include "litestream/result.h"

namespace litestream {

// What a replica has to be able to do, tried for real, each step by itself.
enum class CheckOutcome : unsigned char {
  kGood,
  kUnsupported,  // The place cannot do it, and one can do without.
  kFailed,
  kNotTried,  // After a failure that it needs the contrary of.
};
std::string_view ToString(CheckOutcome outcome);  // "ok", "not supported", "failed", "not tried"

struct CheckStep {
  std::string_view name;  // "write", ...
  CheckOutcome outcome = CheckOutcome::kNotTried;
  std::string what;  // Why; "" if it is good.
  std::chrono::nanoseconds took{0};
};

// Writes an object, lists, reads (all, and a part), writes it again where that must fail, takes,
// renews and gives up a lease, deletes, and looks whether it is gone. `client` is of a place of its
// own, in which nothing lies: whatever is there goes at the end, also after a failure, and even if
// `ctx` has ended. What cannot be removed is a failure of the last step, "clean up".
std::vector<CheckStep> CheckClient(const Context& ctx, ReplicaClient& client);
bool AllGood(const std::vector<CheckStep>& steps);  // Unsupported is good.

}  // namespace litestream
