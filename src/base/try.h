#pragma once

#include <utility>

#include <fmt/core.h>

#include "litestream/result.h"

// LS_TRY(expr) unwraps a Result or returns its error from the enclosing function; further arguments
// say (as for fmt::format) what was being done: LS_TRY(OpenForRead(path), "open {}", path).
#define LS_TRY(expr, ...)                                                                  \
  __extension__({                                                                          \
    auto ls_try_result = (expr);                                                           \
    if (!ls_try_result.ok()) [[unlikely]]                                                  \
      return std::move(ls_try_result).error() __VA_OPT__(.Wrap(fmt::format(__VA_ARGS__))); \
    std::move(ls_try_result).value();                                                      \
  })
