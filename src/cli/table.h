#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace litestream::cli {

// Rows of cells in columns: each padded to its widest cell and two blanks, the last not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string Format() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Characters, not bytes, of UTF-8 text.
std::size_t CountCharacters(std::string_view text);

// In powers of 1000 with one decimal below 10: "9 B", "4.2 kB", "33 kB".
std::string FormatBytes(std::uint64_t bytes);

}  // namespace litestream::cli
