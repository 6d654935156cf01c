#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace litestream::config {

// Value of a variable; empty if unset.
using EnvironmentLookup = std::function<std::string(std::string_view name)>;
// The process environment; PID is the process id.
std::string LookupEnvironment(std::string_view name);

// Expands $NAME and ${NAME} in scalars of a YAML file, in two steps: before parsing every reference
// becomes a token that YAML takes for ordinary text, and in the parsed scalars the tokens become
// the values. So a value can never change the structure of the file, whatever it holds.
//
// The forms are those of Go's os.Expand: $NAME takes the longest run of [A-Za-z0-9_]; "$" with one
// of * # $ @ ! ? - or a digit is a variable of that name (normally empty); "${}" and a "${" that is
// not closed on its line vanish; any other "$" stays; there is no escape and no default syntax.
class EnvironmentExpander {
 public:
  explicit EnvironmentExpander(EnvironmentLookup lookup) : lookup_(std::move(lookup)) {}

  std::string InsertTokens(std::string_view text);
  std::string ReplaceTokens(std::string_view scalar) const;
  static bool HasToken(std::string_view scalar);

 private:
  std::string Token(std::string value);

  EnvironmentLookup lookup_;
  std::vector<std::string> values_;  // By token number.
};

}  // namespace litestream::config
