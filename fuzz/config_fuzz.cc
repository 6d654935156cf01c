// Any text as a configuration file: it is refused with a message that says where, or what comes out
// keeps the promises of config/config.h.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/memory_env.h"
#include "config/config.h"
#include "config/glob.h"
#include "fuzz/require.h"

namespace litestream::config {
namespace {

constexpr std::string_view kName = "f.yml";

void TestConfig(Env& env, std::string_view text, bool expand) {
  LoadOptions options;
  options.expand_environment = expand;
  options.lookup = [](std::string_view name) { return "v{" + std::string(name) + "}: x"; };
  const auto config = ParseConfig(env, text, kName, options);
  if (!config.ok()) {
    Require(config.error().message().starts_with(kName));
    return;
  }
  for (const DatabaseConfig& database : config.value().databases) {
    Require(database.path.empty() != database.dir.empty());
    Require(database.path.empty() || database.path.starts_with('/'));
    Require(database.dir.empty() || !database.pattern.empty());
    Require(!database.replicas.empty());
    for (const ReplicaConfig& replica : database.replicas) {
      Require(!replica.type.empty() && !replica.name.empty());
      Require(replica.sync_interval && replica.sync_interval->count() > 0);
      Require(replica.type != "file" || !replica.path.empty());
    }
  }
  Require(config.value().snapshot_interval.count() > 0);
  const auto available = CheckAvailable(config.value());
  Require(available.ok() || !available.error().message().empty());
}

// The text as a pattern, a line feed, and a name.
void TestGlob(std::string_view text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view pattern = text.substr(0, end);
  const auto matched = GlobMatch(pattern, text.substr(std::min(end + 1, text.size())));
  Require(matched.ok() == CheckGlob(pattern).ok());
}

}  // namespace
}  // namespace litestream::config

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  litestream::MemoryEnv env(litestream::Clock::Real(), /*seed=*/1);
  litestream::config::TestConfig(env, text, /*expand=*/true);
  litestream::config::TestConfig(env, text, /*expand=*/false);
  litestream::config::TestGlob(text);
  return 0;
}
