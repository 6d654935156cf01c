#include "cli/core_dump.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

namespace litestream::cli {
namespace {

// Which kinds of memory a dump has, as a hexadecimal mask: core(5).
constexpr const char* kFilter = "/proc/self/coredump_filter";

// Written before there is a second thread. "0x33\n"; empty: nothing was changed.
std::array<char, 32> before = {};

bool Write(const char* mask, std::size_t size) {
  const int fd = ::open(kFilter, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, mask, size) == static_cast<ssize_t>(size);
  ::close(fd);
  return written;
}

}  // namespace

void KeepMemoryOutOfCoreDumps() {
  const char* const wanted = std::getenv("LITESTREAM_CORE_DUMPS");
  if (wanted != nullptr && std::string_view(wanted) == "full") return;
  const int fd = ::open(kFilter, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  // The kernel gives it without "0x", and takes it with one only.
  before[0] = '0';
  before[1] = 'x';
  const ssize_t count = ::read(fd, before.data() + 2, before.size() - 3);
  ::close(fd);
  if (count <= 0 || !Write("0", 1)) before = {};
}

void RestoreCoreDumps() {
  if (before[0] != 0) Write(before.data(), std::strlen(before.data()));
}

}  // namespace litestream::cli
