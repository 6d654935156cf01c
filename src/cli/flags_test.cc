#include "cli/flags.h"

#include <gtest/gtest.h>

namespace litestream::cli {
namespace {

// A command line, and what the flags -s, -b, -n are after it.
struct Parsed {
  Result<ParseOutcome> outcome;
  std::string s;
  bool b;
  std::int64_t n;
  std::vector<std::string> positional;
};

Parsed Parse(const std::vector<std::string>& arguments) {
  FlagSet flags("usage\n");
  std::string s;
  bool b = false;
  std::int64_t n = 0;
  flags.String("s", &s);
  flags.Bool("b", &b);
  flags.Integer("n", &n);
  flags.Value("v", [](std::string_view text) -> Result<void> {
    if (text == "good") return {};
    return Error(ErrorCode::kInvalidArgument, "not good");
  });
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  auto outcome = flags.Parse(arguments);
  const std::string out = testing::internal::GetCapturedStdout();
  const std::string err = testing::internal::GetCapturedStderr();
  const bool quiet = outcome.ok() && outcome.value() == ParseOutcome::kRun;
  EXPECT_EQ(out, quiet ? "" : "usage\n");
  EXPECT_EQ(err, outcome.ok() ? "" : outcome.error().message() + "\n");
  return {std::move(outcome), s, b, n, flags.positional()};
}

TEST(Flags, Values) {
  const struct {
    std::vector<std::string> arguments;
    std::string s;
    bool b;
    std::int64_t n;
    std::vector<std::string> positional;
  } cases[] = {
      {{}, "", false, 0, {}},
      {{"-s", "x"}, "x", false, 0, {}},
      {{"--s=x"}, "x", false, 0, {}},
      {{"-s=a=b"}, "a=b", false, 0, {}},
      {{"-s", "-b"}, "-b", false, 0, {}},
      {{"-b"}, "", true, 0, {}},
      {{"-b=false"}, "", false, 0, {}},
      {{"-b=T"}, "", true, 0, {}},
      {{"-b", "true"}, "", true, 0, {"true"}},
      {{"-n", "0x10"}, "", false, 16, {}},
      {{"-n", "-1_000"}, "", false, -1000, {}},
      {{"-s", "x", "-s", "y"}, "y", false, 0, {}},
      {{"p", "-s", "x"}, "", false, 0, {"p", "-s", "x"}},
      {{"-b", "--", "-s"}, "", true, 0, {"-s"}},
      {{"-"}, "", false, 0, {"-"}},
      {{""}, "", false, 0, {""}},
      {{"-s", ""}, "", false, 0, {}},
      {{"-v", "good"}, "", false, 0, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(testing::PrintToString(c.arguments));
    const Parsed got = Parse(c.arguments);
    ASSERT_TRUE(got.outcome.ok());
    EXPECT_EQ(got.outcome.value(), ParseOutcome::kRun);
    EXPECT_EQ(got.s, c.s);
    EXPECT_EQ(got.b, c.b);
    EXPECT_EQ(got.n, c.n);
    EXPECT_EQ(got.positional, c.positional);
  }
}

TEST(Flags, Mistakes) {
  const struct {
    std::vector<std::string> arguments;
    const char* says;
  } cases[] = {
      {{"-x"}, "flag provided but not defined: -x"},
      {{"--x=1"}, "flag provided but not defined: -x"},
      {{"-s"}, "flag needs an argument: -s"},
      {{"-b=maybe"}, "invalid boolean value \"maybe\" for -b: parse error"},
      {{"-b="}, "invalid boolean value \"\" for -b: parse error"},
      {{"-n", "x"}, "invalid value \"x\" for flag -n: parse error"},
      {{"-n", "99999999999999999999"},
       "invalid value \"99999999999999999999\" for flag -n: value out of range"},
      {{"-v", "bad"}, "invalid value \"bad\" for flag -v: not good"},
      {{"---s"}, "bad flag syntax: ---s"},
      {{"-=x"}, "bad flag syntax: -=x"},
      {{"--=x"}, "bad flag syntax: --=x"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.says);
    const Parsed got = Parse(c.arguments);
    ASSERT_FALSE(got.outcome.ok());
    EXPECT_EQ(got.outcome.error().message(), c.says);
  }
}

TEST(Flags, Help) {
  for (const char* const flag : {"-h", "--h", "-help", "--help", "-h=1"}) {
    const Parsed got = Parse({flag});
    ASSERT_TRUE(got.outcome.ok()) << flag;
    EXPECT_EQ(got.outcome.value(), ParseOutcome::kHelp) << flag;
  }
}

}  // namespace
}  // namespace litestream::cli
