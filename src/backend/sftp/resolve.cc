#include "backend/sftp/resolve.h"

#include <cstring>
#include <memory>

#include <fmt/core.h>
#include <netdb.h>

#include "base/sync.h"
#include "base/try.h"

namespace litestream::sftp {
namespace {

constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 50'000'000};

// A question that glibc's threads answer.
struct Question {
  std::string host;
  std::string port;
  addrinfo hints{};
  gaicb control{};

  ~Question() {
    if (control.ar_result != nullptr) ::freeaddrinfo(control.ar_result);
  }
};

// Questions that nobody waits for any more, but that glibc still writes to.
class Abandoned {
 public:
  void Add(std::unique_ptr<Question> question) {
    MutexLock lock(mu_);
    std::erase_if(questions_, [](const std::unique_ptr<Question>& old) {
      return ::gai_error(&old->control) != EAI_INPROGRESS;
    });
    questions_.push_back(std::move(question));
  }

 private:
  Mutex mu_{LockRank::kLeaf};
  std::vector<std::unique_ptr<Question>> questions_ LS_GUARDED_BY(mu_);
};

Abandoned& AbandonedQuestions() {
  static Abandoned& abandoned = *new Abandoned;  // Never destroyed: glibc's threads go on.
  return abandoned;
}

Error ResolveError(int code, const std::string& host) {
  const bool passes = code == EAI_AGAIN || code == EAI_MEMORY || code == EAI_SYSTEM;
  return {passes ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument,
          fmt::format("sftp: find host {}: {}", host, ::gai_strerror(code))};
}

}  // namespace

Result<std::vector<Address>> Resolve(const Context& ctx, const std::string& host,
                                     std::uint16_t port) {
  LS_TRY(ctx.Check());
  auto question = std::make_unique<Question>();
  question->host = host;
  question->port = std::to_string(port);
  question->hints.ai_family = AF_UNSPEC;
  question->hints.ai_socktype = SOCK_STREAM;
  question->control.ar_name = question->host.c_str();
  question->control.ar_service = question->port.c_str();
  question->control.ar_request = &question->hints;
  gaicb* list[] = {&question->control};
  int code = ::getaddrinfo_a(GAI_NOWAIT, list, 1, nullptr);
  if (code != 0) return ResolveError(code, host);
  while ((code = ::gai_error(&question->control)) == EAI_INPROGRESS) {
    if (auto go_on = ctx.Check(); !go_on.ok()) {
      if (::gai_cancel(&question->control) == EAI_NOTCANCELED) {
        AbandonedQuestions().Add(std::move(question));
      }
      return std::move(go_on).error();
    }
    ::gai_suspend(list, 1, &kLook);
  }
  if (code != 0) return ResolveError(code, host);
  std::vector<Address> addresses;
  for (const addrinfo* info = question->control.ar_result; info != nullptr; info = info->ai_next) {
    Address address{.size = info->ai_addrlen};
    std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    addresses.push_back(address);
  }
  return addresses;
}

}  // namespace litestream::sftp
