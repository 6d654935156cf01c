// Logins and greetings that the real servers of the tests do not have, by a server of our own that
// says what it is told to.
#include "backend/sftp/ssh.h"

#include <cstring>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libssh/libssh.h>
#include <libssh/server.h>

#include "backend/sftp/connection.h"
#include "base/fd.h"
#include "base/try.h"
#include "tests/support/tcp_relay.h"

namespace litestream::sftp {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::string_literals;

const Context kNever = Context::Background();
const std::string kHello = "\0\0\0\x05\x02\0\0\0\x03"s;

struct Script {
  int methods = SSH_AUTH_METHOD_PASSWORD;
  std::string password = "right";
  // What keyboard-interactive asks, and whether the answer is shown as it is typed.
  std::vector<std::pair<std::string, bool>> questions;
  bool password_then_questions = false;
  bool has_sftp = true;
  std::string greeting = kHello;
  std::string answer;  // To the first request.
};

// Serves one connection.
class ScriptedServer {
 public:
  explicit ScriptedServer(Script script) : script_(std::move(script)) {
    listener_ = ListenOnLoopback(port_);
    thread_ = std::jthread([this] { Run(); });
  }
  ~ScriptedServer() {
    thread_.join();
    EXPECT_EQ(::shutdown(listener_.get(), SHUT_RDWR), 0);
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  ConnectOptions Options() const {
    return {.host = "127.0.0.1", .port = port_, .user = "me", .password = "right"};
  }
  int passwords_seen() const { return passwords_seen_; }

 private:
  void Run() {
    ssh_bind const bind = ssh_bind_new();
    ssh_key key = nullptr;
    EXPECT_EQ(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key), SSH_OK);
    ssh_bind_options_set(bind, SSH_BIND_OPTIONS_IMPORT_KEY, key);
    ssh_session const session = ssh_new();
    const int fd = ::accept(listener_.get(), nullptr, nullptr);
    if (ssh_bind_accept_fd(bind, session, fd) == SSH_OK) {
      ssh_set_auth_methods(session, script_.methods);
      if (ssh_handle_key_exchange(session) == SSH_OK) Serve(session);
    }
    ssh_disconnect(session);
    ssh_free(session);
    ssh_bind_free(bind);
  }

  void Serve(ssh_session session) {
    session_ = session;
    while (ssh_message const message = ssh_message_get(session)) {
      const int type = ssh_message_type(message);
      if (type == SSH_REQUEST_AUTH) {
        Login(message);
      } else if (type == SSH_REQUEST_CHANNEL_OPEN) {
        channel_ = ssh_message_channel_request_open_reply_accept(message);
      } else if (type == SSH_REQUEST_CHANNEL && script_.has_sftp) {
        ssh_message_channel_request_reply_success(message);
        ssh_message_free(message);
        return Talk();
      } else {
        ssh_message_reply_default(message);
      }
      ssh_message_free(message);
    }
  }

  void Login(ssh_message message) {
    const int method = ssh_message_subtype(message);
    ssh_message_auth_set_methods(message, script_.methods);
    if (method == SSH_AUTH_METHOD_PASSWORD) {
      ++passwords_seen_;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \
    "-Wdeprecated-declarations"  // Its successor wants a server of callbacks.
      const char* const given = ssh_message_auth_password(message);
#pragma GCC diagnostic pop
      if (given == nullptr || script_.password != given) {
        ssh_message_reply_default(message);
      } else if (script_.password_then_questions) {
        script_.methods = SSH_AUTH_METHOD_INTERACTIVE;
        ssh_message_auth_set_methods(message, script_.methods);
        ssh_message_auth_reply_success(message, 1);
      } else {
        ssh_message_auth_reply_success(message, 0);
      }
      return;
    }
    if (method != SSH_AUTH_METHOD_INTERACTIVE) {
      ssh_message_reply_default(message);
      return;
    }
    if (ssh_message_auth_kbdint_is_response(message) == 0) {
      std::vector<const char*> prompts;
      std::vector<char> echoes;
      for (const auto& [prompt, echo] : script_.questions) {
        prompts.push_back(prompt.c_str());
        echoes.push_back(echo ? 1 : 0);
      }
      ssh_message_auth_interactive_request(message, "name", "instruction",
                                           static_cast<unsigned>(prompts.size()), prompts.data(),
                                           echoes.data());
      return;
    }
    const char* const given = ssh_userauth_kbdint_getnanswers(session_) == 1
                                  ? ssh_userauth_kbdint_getanswer(session_, 0)
                                  : nullptr;
    if (given != nullptr && script_.password == given) {
      ssh_message_auth_reply_success(message, 0);
    } else {
      ssh_message_reply_default(message);
    }
  }

  void Talk() {
    Say(script_.greeting);
    char buffer[1000];
    // INIT, then the first request; then until the client goes.
    if (ssh_channel_read(channel_, buffer, 9, 0) <= 0) return;
    if (ssh_channel_read(channel_, buffer, sizeof buffer, 0) <= 0) return;
    Say(script_.answer);
    while (ssh_channel_read(channel_, buffer, sizeof buffer, 0) > 0) {
    }
  }
  void Say(const std::string& text) {
    ssh_channel_write(channel_, text.data(), static_cast<std::uint32_t>(text.size()));
  }

  Script script_;
  std::uint16_t port_ = 0;
  Fd listener_;
  ssh_session session_ = nullptr;
  ssh_channel channel_ = nullptr;
  std::atomic<int> passwords_seen_ = 0;
  std::jthread thread_;
};

// "in", or why not.
std::string LoginAt(const Script& script, const std::string& password = "right",
                    ErrorCode* code = nullptr) {
  const ScriptedServer server(script);
  ConnectOptions options = server.Options();
  options.password = password;
  bool unverified = false;
  const auto channel = OpenChannel(kNever, options, unverified);
  EXPECT_TRUE(unverified || !channel.ok());
  if (channel.ok()) return "in";
  if (code != nullptr) *code = channel.error().code();
  return channel.error().message();
}

TEST(SshLoginTest, Password) {
  EXPECT_EQ(LoginAt({}), "in");
  EXPECT_THAT(LoginAt({}, "wrong"), HasSubstr("refused the password"));
  EXPECT_THAT(LoginAt({}, ""), HasSubstr("it takes a password, and refused nothing"));
}

// As servers with PAM often have it.
TEST(SshLoginTest, ThePasswordAnswersTheOnlyQuestion) {
  Script script{.methods = SSH_AUTH_METHOD_INTERACTIVE, .questions = {{"Password: ", false}}};
  EXPECT_EQ(LoginAt(script), "in");
  EXPECT_THAT(LoginAt(script, "wrong"), HasSubstr("refused the password (keyboard-interactive)"));
}

TEST(SshLoginTest, QuestionsForPeopleAreNotAnswered) {
  ErrorCode code{};
  const Script shown{.methods = SSH_AUTH_METHOD_INTERACTIVE, .questions = {{"Your\nname: ", true}}};
  EXPECT_THAT(LoginAt(shown, "right", &code), HasSubstr("asks \"Your name: \""));
  EXPECT_EQ(code, ErrorCode::kDenied);
  const Script two{.methods = SSH_AUTH_METHOD_INTERACTIVE,
                   .questions = {{"Password: ", false}, {"Code: ", false}}};
  EXPECT_THAT(LoginAt(two), HasSubstr("asks \"Code: \""));
}

TEST(SshLoginTest, OneProofAfterTheOther) {
  Script script{.questions = {{"Password: ", false}}, .password_then_questions = true};
  EXPECT_EQ(LoginAt(script), "in");
}

TEST(SshLoginTest, NothingThatWeHave) {
  const Script script{.methods = SSH_AUTH_METHOD_PUBLICKEY};
  EXPECT_THAT(LoginAt(script, "secret"), HasSubstr("it takes a key, and refused nothing"));
  EXPECT_THAT(LoginAt(script, "secret"), Not(HasSubstr("secret")));
}

TEST(SshGreetingTest, WhatIsNoSftpIsSaid) {
  const struct {
    const char* why;
    Script script;
    const char* says;
  } cases[] = {
      {"no subsystem", {.has_sftp = false}, "offers no SFTP"},
      {"a text", {.greeting = "Welcome to this machine\n"}, "print a text at login"},
      {"an old version", {.greeting = "\0\0\0\x05\x02\0\0\0\x02"s}, "it speaks version 2"},
      {"another packet", {.greeting = "\0\0\0\x05\x65\0\0\0\x02"s}, "is no SFTP"},
      {"cut off", {.greeting = "\0\0\0\x02\x02\0"s}, "a version that is cut off"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    ErrorCode code{};
    EXPECT_THAT(LoginAt(c.script, "right", &code), HasSubstr(c.says));
    EXPECT_EQ(code, ErrorCode::kUnsupported);
  }
}

// ---- Answers

// What the first request is answered with; the number of a request is 1.
Result<Reply> AnswerOf(const std::string& answer) {
  const ScriptedServer server({.answer = answer});
  Engine engine;
  bool unverified = false;
  auto connection = std::make_shared<Connection>(
      LS_TRY(OpenChannel(kNever, server.Options(), unverified)), std::chrono::milliseconds(60'000),
      std::chrono::milliseconds(60'000));
  LS_TRY(engine.Add(connection));
  return connection->Ask(kNever, PacketType::kLstat, Body().String("/x"));
}

TEST(ConnectionTest, AnAnswerIsForWhoAsked) {
  const auto reply = AnswerOf(MakePacket(PacketType::kStatus, 1, Body().U32(2).bytes()));
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  EXPECT_EQ(reply.value().type, PacketType::kStatus);
}

TEST(ConnectionTest, WhatNobodyAskedEndsTheConnection) {
  const struct {
    const char* why;
    std::string answer;
    const char* says;
  } cases[] = {
      {"another number", MakePacket(PacketType::kStatus, 2, Body().U32(0).bytes()),
       "what nobody asked"},
      {"too short", "\0\0\0\x04\x65\0\0\0"s, "too short"},
      {"too long", "\x7f\0\0\0\x65\0\0\0"s, "no SFTP"},
      {"empty", "\0\0\0\0"s, "no SFTP"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.why);
    const auto reply = AnswerOf(c.answer);
    ASSERT_FALSE(reply.ok());
    EXPECT_EQ(reply.error().code(), ErrorCode::kUnavailable);
    EXPECT_THAT(reply.error().message(), HasSubstr(c.says));
  }
}

}  // namespace
}  // namespace litestream::sftp
