#pragma once

#include <cstdlib>

namespace litestream {

// What must hold for any input; a fuzz target that breaks it has found something.
inline void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace litestream
