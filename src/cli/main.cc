#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/core_dump.h"
#include "cli/inherited_files.h"

int main(int argc, char** argv) {
  litestream::cli::NoteInheritedFiles();
  litestream::cli::KeepMemoryOutOfCoreDumps();
  return litestream::cli::RunMain(litestream::Env::Real(),
                                  std::vector<std::string>(argv + 1, argv + argc));
}
