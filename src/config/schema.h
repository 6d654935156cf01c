#pragma once

#include "config/config.h"
#include "config/decode.h"

namespace litestream::config {

// What a file says, before inheritance: the keys of spec and file become fields, legacy keys become
// today's with a warning. Problems are in `decoder`.
struct RawConfig {
  Config config;  // databases[i].replicas as written.
  // Settings that replicas of the v0.3 generation had, for the whole process now.
  std::optional<nanoseconds> legacy_retention;          // The longest.
  std::optional<nanoseconds> legacy_snapshot_interval;  // The shortest.
};
RawConfig DecodeConfig(Decoder& decoder, const YamlNode& root);

// Fills what `child` leaves open from `parent`. With a URL, bucket and host are not inherited: they
// stand in the URL.
void InheritSettings(ReplicaConfig& child, const ReplicaSettings& parent);

}  // namespace litestream::config
