#include "backend/sftp/authentication.h"

#include <cstring>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <libssh/libssh.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "backend/sftp/libssh_types.h"
#include "base/env.h"
#include "base/fd.h"
#include "base/try.h"
#include "http/curl_error.h"

namespace litestream::sftp {
namespace {

constexpr std::size_t kMaxKeyFileBytes = 64 * 1024;
constexpr int kMaxRounds = 8;  // A server may want several proofs, but not without end.

Error InvalidKey(const std::string& path, std::string_view why) {
  return {ErrorCode::kInvalidArgument, fmt::format("sftp: key-path {}: {}", path, why)};
}

Result<std::string> ReadKeyFile(const std::string& path) {
  auto text = ReadSmallFile(Env::Real(), path, kMaxKeyFileBytes);
  if (text.ok()) return text;
  return InvalidKey(path, fmt::format("cannot read it: {}", text.error().message()));
}

// Called when the key is encrypted and no passphrase was given.
int NotePassphraseWanted(const char*, char*, std::size_t, int, int, void* wanted) noexcept {
  *static_cast<bool*>(wanted) = true;
  return -1;
}

struct PrivateKey {
  Key key;
  bool took_password = false;  // To open it.
};

Result<PrivateKey> LoadKey(const ConnectOptions& options) {
  const std::string text = LS_TRY(ReadKeyFile(options.key_path));
  bool wanted = false;
  ssh_key raw = nullptr;
  int code =
      ssh_pki_import_privkey_base64(text.c_str(), nullptr, NotePassphraseWanted, &wanted, &raw);
  if (code == SSH_OK) return PrivateKey{.key = Key(raw)};
  if (!wanted) return InvalidKey(options.key_path, "it is no private key that can be used");
  if (options.password.empty()) {
    return InvalidKey(options.key_path,
                      "it is encrypted; give its passphrase as `password`, or load it into an "
                      "ssh-agent and leave key-path out");
  }
  code =
      ssh_pki_import_privkey_base64(text.c_str(), options.password.c_str(), nullptr, nullptr, &raw);
  if (code == SSH_OK) return PrivateKey{.key = Key(raw), .took_password = true};
  return InvalidKey(options.key_path, "it is encrypted, and `password` does not open it");
}

class Login {
 public:
  Login(const Steps& steps, ssh_session session, const ConnectOptions& options)
      : steps_(steps), session_(session), options_(options) {}

  Result<void> Run();

 private:
  // Each returns the last answer of the server (SSH_AUTH_...).
  template <typename Step>
  Result<int> Try(std::string_view what, Step step) {
    tried_ += tried_.empty() ? "" : ", ";
    tried_ += what;
    return Ask(std::move(step));
  }
  template <typename Step>
  Result<int> Ask(Step step) {
    const int answer = LS_TRY(steps_.Drive(session_, std::move(step), SSH_AUTH_AGAIN));
    if (answer == SSH_AUTH_ERROR) {
      return Error(ErrorCode::kUnavailable,
                   fmt::format("sftp: log in to {}:{}: {}", options_.host, options_.port,
                               http::Shown(ssh_get_error(session_))));
    }
    return answer;
  }
  bool Offers(int method) const { return (ssh_userauth_list(session_, nullptr) & method) != 0; }
  // One round: what is left to try, in order. SSH_AUTH_DENIED if nothing helps.
  Result<int> Round();
  Result<int> WithAgent();
  Result<int> WithQuestions();
  Error Refused() const;

  const Steps& steps_;
  ssh_session session_;
  const ConnectOptions& options_;
  PrivateKey key_;
  bool agent_tried_ = false;
  bool password_tried_ = false;
  bool questions_tried_ = false;
  std::string tried_;
};

Result<void> Login::Run() {
  if (!options_.key_path.empty()) key_ = LS_TRY(LoadKey(options_));
  int answer = LS_TRY(Ask([&] { return ssh_userauth_none(session_, nullptr); }));
  for (int round = 0; answer != SSH_AUTH_SUCCESS; ++round) {
    if (round == kMaxRounds || (answer == SSH_AUTH_DENIED && round > 0)) return Refused();
    answer = LS_TRY(Round());
  }
  return {};
}

Result<int> Login::Round() {
  int answer = SSH_AUTH_DENIED;
  const auto open = [&answer] { return answer == SSH_AUTH_DENIED; };
  if (key_.key && Offers(SSH_AUTH_METHOD_PUBLICKEY)) {
    const Key key = std::move(key_.key);
    answer = LS_TRY(Try(fmt::format("the key {}", options_.key_path),
                        [&] { return ssh_userauth_publickey(session_, nullptr, key.get()); }));
  }
  if (open() && options_.key_path.empty() && !options_.agent_socket.empty() && !agent_tried_ &&
      Offers(SSH_AUTH_METHOD_PUBLICKEY)) {
    agent_tried_ = true;
    answer = LS_TRY(WithAgent());
  }
  // The passphrase of a key is nobody else's business.
  if (options_.password.empty() || key_.took_password) return answer;
  if (open() && !password_tried_ && Offers(SSH_AUTH_METHOD_PASSWORD)) {
    password_tried_ = true;
    answer = LS_TRY(Try("the password", [&] {
      return ssh_userauth_password(session_, nullptr, options_.password.c_str());
    }));
  }
  if (open() && !questions_tried_ && Offers(SSH_AUTH_METHOD_INTERACTIVE)) {
    questions_tried_ = true;
    answer = LS_TRY(WithQuestions());
  }
  return answer;
}

Result<int> Login::WithAgent() {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX};
  if (!socket.valid() || options_.agent_socket.size() >= sizeof address.sun_path) {
    return SSH_AUTH_DENIED;
  }
  std::memcpy(address.sun_path, options_.agent_socket.data(), options_.agent_socket.size());
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    tried_ += tried_.empty() ? "" : ", ";
    tried_ += fmt::format("the agent at {} (not there)", options_.agent_socket);
    return SSH_AUTH_DENIED;
  }
  // libssh waits for the agent, who may ask a person; this ends the wait.
  const int fd = socket.get();
  const std::stop_callback on_stop(steps_.ctx().stop(), [fd] { ::shutdown(fd, SHUT_RDWR); });
  const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);  // libssh closes its own.
  if (own < 0 || ssh_set_agent_socket(session_, own) != SSH_OK) return SSH_AUTH_DENIED;
  auto answer = Try("the agent's keys", [&] { return ssh_userauth_agent(session_, nullptr); });
  LS_TRY(steps_.ctx().Check());
  return answer;
}

// The password is the answer to the only question that is not shown as it is typed.
Result<int> Login::WithQuestions() {
  int answer = LS_TRY(Try("the password (keyboard-interactive)",
                          [&] { return ssh_userauth_kbdint(session_, nullptr, nullptr); }));
  bool answered = false;
  for (int round = 0; answer == SSH_AUTH_INFO && round < kMaxRounds; ++round) {
    const int prompts = ssh_userauth_kbdint_getnprompts(session_);
    for (int i = 0; i < prompts; ++i) {
      char echo = 0;
      const char* const prompt =
          ssh_userauth_kbdint_getprompt(session_, static_cast<unsigned>(i), &echo);
      if (echo != 0 || answered) {
        return Error(ErrorCode::kDenied,
                     fmt::format("sftp: {}:{} asks \"{}\", which only a person can answer; use a "
                                 "key",
                                 options_.host, options_.port,
                                 http::Shown(prompt == nullptr ? "" : prompt)));
      }
      answered = true;
      ssh_userauth_kbdint_setanswer(session_, static_cast<unsigned>(i), options_.password.c_str());
    }
    answer = LS_TRY(Ask([&] { return ssh_userauth_kbdint(session_, nullptr, nullptr); }));
  }
  return answer == SSH_AUTH_INFO ? SSH_AUTH_DENIED : answer;
}

Error Login::Refused() const {
  std::string wants;
  const struct {
    int method;
    std::string_view name;
  } names[] = {{SSH_AUTH_METHOD_PUBLICKEY, "a key"},
               {SSH_AUTH_METHOD_PASSWORD, "a password"},
               {SSH_AUTH_METHOD_INTERACTIVE, "answers to questions"}};
  for (const auto& name : names) {
    if (!Offers(name.method)) continue;
    wants += wants.empty() ? "" : ", ";
    wants += name.name;
  }
  return {ErrorCode::kDenied,
          fmt::format("sftp: {}:{} does not let user {} in: it takes {}, and refused {}; check "
                      "user, password and key-path, and what the server allows this user",
                      options_.host, options_.port, options_.user,
                      wants.empty() ? "nothing that we know" : wants,
                      tried_.empty() ? "nothing, as we have none of it" : tried_)};
}

}  // namespace

Result<void> Authenticate(const Steps& steps, ssh_session session, const ConnectOptions& options) {
  return Login(steps, session, options).Run();
}

}  // namespace litestream::sftp
