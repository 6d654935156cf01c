#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "litestream/result.h"

namespace litestream::cli {

enum class ParseOutcome : unsigned char {
  kRun,
  kHelp,  // The usage text was asked for and printed.
};

// The flags of one command, in the syntax of Go's flag package: -name value, -name=value, one dash
// or two; a boolean only -name or -name=value; parsing stops at the first argument that is no flag,
// or behind "--". The last of repeated flags wins.
class FlagSet {
 public:
  // `usage` is printed for -h and after a mistake; it must live as long as the set.
  explicit FlagSet(std::string_view usage) : usage_(usage) {}

  void String(std::string_view name, std::string* out);
  void Bool(std::string_view name, bool* out);
  void Integer(std::string_view name, std::int64_t* out);
  // Anything else. The error's message stands in `invalid value "v" for flag -name: <message>`.
  void Value(std::string_view name, std::function<Result<void>(std::string_view)> set);

  // Reads the flags off `arguments`; the rest is in positional(). A mistake is printed on stderr,
  // the usage on stdout, and the same error returned.
  Result<ParseOutcome> Parse(const std::vector<std::string>& arguments);
  const std::vector<std::string>& positional() const { return positional_; }
  // Whether the command line had "--" before the positional arguments.
  bool dashes() const { return dashes_; }

 private:
  struct Flag {
    std::string name;
    bool boolean = false;
    std::function<Result<void>(std::string_view)> set;
  };
  Result<ParseOutcome> ParseAll(const std::vector<std::string>& arguments);

  std::string_view usage_;
  std::vector<Flag> flags_;
  std::vector<std::string> positional_;
  bool dashes_ = false;
};

}  // namespace litestream::cli
