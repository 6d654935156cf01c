#include "cli/flags.h"

#include <array>
#include <cstdio>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/try.h"
#include "config/units.h"

namespace litestream::cli {
namespace {

Error Mistake(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

std::optional<bool> ParseBool(std::string_view text) {
  for (const std::string_view word : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == word) return true;
  }
  for (const std::string_view word : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == word) return false;
  }
  return std::nullopt;
}

}  // namespace

void FlagSet::String(std::string_view name, std::string* out) {
  Value(name, [out](std::string_view text) -> Result<void> {
    *out = std::string(text);
    return {};
  });
}

void FlagSet::Bool(std::string_view name, bool* out) {
  Value(name, [out](std::string_view text) -> Result<void> {
    const auto value = ParseBool(text);
    if (!value) return Mistake("parse error");
    *out = *value;
    return {};
  });
  flags_.back().boolean = true;
}

void FlagSet::Integer(std::string_view name, std::int64_t* out) {
  Value(name, [out](std::string_view text) -> Result<void> {
    const config::IntegerResult parsed = config::ParseInteger(text);
    if (parsed.error) {
      return Mistake(parsed.error == config::IntegerError::kRange ? "value out of range"
                                                                  : "parse error");
    }
    *out = parsed.value;
    return {};
  });
}

void FlagSet::Value(std::string_view name, std::function<Result<void>(std::string_view)> set) {
  flags_.push_back({.name = std::string(name), .set = std::move(set)});
}

Result<ParseOutcome> FlagSet::Parse(const std::vector<std::string>& arguments) {
  auto outcome = ParseAll(arguments);
  if (!outcome.ok()) fmt::print(stderr, "{}\n", outcome.error().message());
  if (!outcome.ok() || outcome.value() == ParseOutcome::kHelp) fmt::print("{}", usage_);
  return outcome;
}

Result<ParseOutcome> FlagSet::ParseAll(const std::vector<std::string>& arguments) {
  std::size_t next = 0;
  while (next < arguments.size()) {
    const std::string& argument = arguments[next];
    if (argument.size() < 2 || argument.front() != '-') break;
    ++next;
    if (argument == "--") {
      dashes_ = true;
      break;
    }
    std::string_view name = std::string_view(argument).substr(argument[1] == '-' ? 2 : 1);
    if (name.empty() || name.front() == '-' || name.front() == '=') {
      return Mistake(fmt::format("bad flag syntax: {}", argument));
    }
    std::optional<std::string> value;
    if (const std::size_t equals = name.find('='); equals != std::string_view::npos) {
      value = std::string(name.substr(equals + 1));
      name = name.substr(0, equals);
    }
    const Flag* flag = nullptr;
    for (const Flag& candidate : flags_) {
      if (candidate.name == name) flag = &candidate;
    }
    if (flag == nullptr) {
      if (name == "h" || name == "help") return ParseOutcome::kHelp;
      return Mistake(fmt::format("flag provided but not defined: -{}", name));
    }
    if (!value && flag->boolean) value = "true";
    if (!value) {
      if (next == arguments.size()) {
        return Mistake(fmt::format("flag needs an argument: -{}", name));
      }
      value = arguments[next++];
    }
    auto set = flag->set(*value);
    if (set.ok()) continue;
    return Mistake(flag->boolean ? fmt::format("invalid boolean value \"{}\" for -{}: {}", *value,
                                               name, set.error().message())
                                 : fmt::format("invalid value \"{}\" for flag -{}: {}", *value,
                                               name, set.error().message()));
  }
  positional_.assign(arguments.begin() + static_cast<std::ptrdiff_t>(next), arguments.end());
  return ParseOutcome::kRun;
}

}  // namespace litestream::cli
