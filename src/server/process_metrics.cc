#include "server/process_metrics.h"

#include <cstdlib>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

namespace litestream {
namespace {

constexpr std::size_t kMaxStatBytes = 1U << 20;

double Number(const std::string& text) {
  return std::strtod(text.c_str(), nullptr);
}

// Fields of /proc/self/stat behind the name, which may hold blanks; the first is the state, which
// proc(5) numbers 3.
std::vector<std::string> StatFields(Env& env) {
  const auto text = ReadSmallFile(env, "/proc/self/stat", kMaxStatBytes);
  if (!text.ok()) return {};
  const std::size_t name_end = text.value().rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream in(text.value().substr(name_end + 1));
  std::vector<std::string> fields(3);
  for (std::string field; in >> field;) fields.push_back(field);
  return fields;
}

std::optional<double> BootTime(Env& env) {
  const auto text = ReadSmallFile(env, "/proc/stat", kMaxStatBytes);
  if (!text.ok()) return std::nullopt;
  std::istringstream in(text.value());
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("btime ")) return Number(line.substr(6));
  }
  return std::nullopt;
}

std::optional<double> SoftLimit(__rlimit_resource_t resource) {
  rlimit limit = {};
  if (::getrlimit(resource, &limit) != 0) return std::nullopt;
  if (limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<double>::infinity();
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

ProcessMetrics ReadProcessMetrics(Env& env) {
  ProcessMetrics out;
  const std::vector<std::string> stat = StatFields(env);
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  if (stat.size() > 24 && ticks > 0) {
    out.cpu_seconds = (Number(stat[14]) + Number(stat[15])) / ticks;
    if (const auto boot = BootTime(env)) out.start_time_seconds = *boot + Number(stat[22]) / ticks;
    out.virtual_bytes = std::strtoull(stat[23].c_str(), nullptr, 10);
    out.resident_bytes =
        std::strtoull(stat[24].c_str(), nullptr, 10) * static_cast<std::uint64_t>(::getpagesize());
  }
  const auto files = env.List("/proc/self/fd");
  // One of them is that of the listing.
  if (files.ok() && !files.value().empty()) out.open_files = files.value().size() - 1;
  out.max_open_files = SoftLimit(RLIMIT_NOFILE);
  out.max_virtual_bytes = SoftLimit(RLIMIT_AS);
  return out;
}

}  // namespace litestream
