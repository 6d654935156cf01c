#include "cli/version.h"

#include <fmt/core.h>

#include "base/try.h"
#include "cli/command.h"
#include "cli/flags.h"

namespace litestream::cli {
namespace {

constexpr std::string_view kUsage =
    "Prints the version.\n\n"
    "Usage:\n\n"
    "\tlitestream version [arguments]\n\n"
    "Arguments:\n\n"
    "\t-verbose\n"
    "\t    Print detailed build metadata (compiler, commit, build time, OS/arch).\n\n";

constexpr std::string_view kArchitecture =
#if defined(__x86_64__)
    "amd64";
#elif defined(__aarch64__)
    "arm64";
#elif defined(__arm__)
    "arm";
#else
    "unknown";
#endif

}  // namespace

std::string_view Version() {
  return LITESTREAM_VERSION;
}

Result<int> RunVersion(const Invocation& call) {
  FlagSet flags(kUsage);
  bool verbose = false;
  flags.Bool("verbose", &verbose);
  if (LS_TRY(flags.Parse(call.arguments)) == ParseOutcome::kHelp) return 0;
  if (!verbose) {
    fmt::print("{}\n", Version());
    return 0;
  }
  const auto line = [](std::string_view label, std::string_view value) {
    if (!value.empty()) fmt::print("{:<13}{}\n", label, value);
  };
  line("Version:", Version());
  line("Compiler:", LITESTREAM_COMPILER);
  line("Git Commit:", LITESTREAM_COMMIT);
  line("Commit Time:", LITESTREAM_COMMIT_TIME);
  line("OS/Arch:", fmt::format("linux/{}", kArchitecture));
  return 0;
}

}  // namespace litestream::cli
