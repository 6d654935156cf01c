#include "cli/inherited_files.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

#include <dirent.h>
#include <linux/close_range.h>
#include <unistd.h>

namespace litestream::cli {
namespace {

// Ascending, from 3. Written before there is a second thread.
std::vector<unsigned> inherited;

}  // namespace

void NoteInheritedFiles() {
  inherited.clear();
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return;
  const int own = ::dirfd(directory);
  while (const dirent* const entry = ::readdir(directory)) {
    int fd = -1;
    const char* const end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, fd).ptr != end) continue;
    if (fd > STDERR_FILENO && fd != own) inherited.push_back(static_cast<unsigned>(fd));
  }
  ::closedir(directory);
  std::ranges::sort(inherited);
}

void KeepInheritedFilesOnly() {
  unsigned first = STDERR_FILENO + 1;
  for (const unsigned fd : inherited) {
    if (fd > first) (void)::close_range(first, fd - 1, CLOSE_RANGE_CLOEXEC);
    first = fd + 1;
  }
  (void)::close_range(first, ~0U, CLOSE_RANGE_CLOEXEC);
}

}  // namespace litestream::cli
