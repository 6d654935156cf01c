#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/log.h"
#include "config/config.h"
#include "replica/plan.h"
#include "replica/restore.h"

namespace litestream::cli {

enum class IntegrityMode : unsigned char { kNone, kQuick, kFull };

// What `restore` and the restore at the start of `replicate` have in common.
struct RestoreRequest {
  std::vector<config::ReplicaConfig> replicas;  // At least one.
  RestoreTarget target;
  // Refuse a moment outside the times of the replica's files (as for a URL).
  bool check_time_bounds = false;
  std::filesystem::path output;
  bool force = false;
  int parallelism = 8;
  IntegrityMode integrity = IntegrityMode::kNone;
  std::function<void(const RestoreProgress&)> progress;
  Logger log;
};

// The replica that reaches furthest, and what to read from it. Each replica is listed once.
struct ChosenPlan {
  const config::ReplicaConfig* replica = nullptr;  // Of the request.
  std::unique_ptr<ReplicaClient> client;
  RestorePlan plan;
};
// kNotFound ("no matching backup files available"): no replica has what is asked for. A replica
// that cannot be read is logged as a warning if another one can.
Result<ChosenPlan> ChoosePlan(const Context& ctx, Env& env, const RestoreRequest& request);

// What is in the way of the output: kAlreadyExists with what to do about it.
Result<void> CheckOutput(Env& env, const std::filesystem::path& output, bool force);

struct RestoreOutcome {
  RestoreReport report;
  std::string replica_type;
};
// Checks the output, chooses and restores. Chooses anew if retention removes a file meanwhile.
Result<RestoreOutcome> RestoreFromReplicas(const Context& ctx, Env& env,
                                           const RestoreRequest& request);

}  // namespace litestream::cli
