#pragma once

#include <string_view>

namespace litestream::cli {

std::string_view Version();

}  // namespace litestream::cli
