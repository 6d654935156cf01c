#include "cli/exec.h"

#include <gtest/gtest.h>

namespace litestream::cli {
namespace {

TEST(Exec, SplitCommand) {
  const struct {
    const char* command;
    std::vector<std::string> want;
  } cases[] = {
      {"true", {"true"}},
      {" a  b\tc\nd ", {"a", "b", "c", "d"}},
      {"echo 'one two' three", {"echo", "one two", "three"}},
      {"sh -c \"a 'b' \\\"c\\\"\"", {"sh", "-c", "a 'b' \"c\""}},
      {"a\\ b", {"a b"}},
      {"'a\\b'", {"a\\b"}},
      {"a''b \"\"", {"ab", ""}},
      {"echo $HOME `x`", {"echo", "$HOME", "`x`"}},
      {"sh -c 'a; b | c > d & (e)'", {"sh", "-c", "a; b | c > d & (e)"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.command);
    const auto got = SplitCommand(c.command);
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(got.value(), c.want);
  }
  const struct {
    const char* command;
    const char* says;
  } bad[] = {
      {"", "empty"},
      {"  ", "empty"},
      {"sh -c 'x", "invalid command line string"},
      {"a \"b", "invalid command line string"},
      {"a \\", "invalid command line string"},
      {"a (b)", "invalid command line string"},
      {"a; b", "';' outside quotes"},
      {"a | b", "'|' outside quotes"},
      {"a > b", "'>' outside quotes"},
      {"a &", "'&' outside quotes"},
  };
  for (const auto& c : bad) {
    SCOPED_TRACE(c.command);
    const auto got = SplitCommand(c.command);
    ASSERT_FALSE(got.ok());
    EXPECT_NE(got.error().message().find(c.says), std::string::npos) << got.error().message();
  }
}

TEST(Exec, ChildEnds) {
  const struct {
    std::vector<std::string> command;
    int code;
    int signal;
    const char* words;
  } cases[] = {
      {{"true"}, 0, 0, "exit status 0"},
      {{"sh", "-c", "exit 7"}, 7, 0, "exit status 7"},
      {{"sh", "-c", "kill -TERM $$"}, 143, 15, "signal: terminated"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.words);
    const auto child = ChildProcess::Start(c.command);
    ASSERT_TRUE(child.ok()) << child.error().message();
    child.value().WaitForEnd();
    EXPECT_TRUE(child.value().Signal(15).ok()) << "it keeps its pid until it is reaped";
    const ChildEnd end = child.value().Reap();
    EXPECT_EQ(end.exit_code, c.code);
    EXPECT_EQ(end.signal, c.signal);
    EXPECT_EQ(end.Describe(), c.words);
  }
}

TEST(Exec, StartFails) {
  const struct {
    const char* program;
    ErrorCode code;
    const char* says;
  } cases[] = {
      {"/no/such/program", ErrorCode::kNotFound,
       "fork/exec /no/such/program: no such file or directory"},
      {"/etc/passwd", ErrorCode::kDenied, "fork/exec /etc/passwd: permission denied"},
      {"no-such-program-anywhere", ErrorCode::kNotFound,
       "exec: \"no-such-program-anywhere\": executable file not found in $PATH"},
  };
  for (const auto& c : cases) {
    const auto child = ChildProcess::Start({c.program});
    ASSERT_FALSE(child.ok());
    EXPECT_EQ(child.error().code(), c.code);
    EXPECT_EQ(child.error().message(), c.says);
  }
}

}  // namespace
}  // namespace litestream::cli
