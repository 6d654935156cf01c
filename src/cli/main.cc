#include <string>
#include <vector>

#include "cli/command.h"

int main(int argc, char** argv) {
  return litestream::cli::RunMain(litestream::Env::Real(),
                                  std::vector<std::string>(argv + 1, argv + argc));
}
