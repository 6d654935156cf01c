#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace litestream::config {

// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other,
// upper and lower case being the same.
std::size_t EditDistance(std::string_view a, std::string_view b);

// The candidate that `word` is most likely a misspelling of; nullopt if none is near.
std::optional<std::string> Nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace litestream::config
