#include <condition_variable>
#include <mutex>
#include <string_view>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include "http/client.h"
#include "tests/support/http_server.h"

// A name that is looked up for ever: libcurl finds this function before that of the C library.
namespace {

constexpr std::string_view kStuckHost = "stuck.invalid";
std::mutex mu;
std::condition_variable changed;
int looking = 0;
bool released = false;

}  // namespace

extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints,
                           addrinfo** out) {
  if (host != nullptr && host == kStuckHost) {
    std::unique_lock lock(mu);
    ++looking;
    changed.notify_all();
    changed.wait(lock, [] { return released; });
    --looking;
    changed.notify_all();
    return EAI_AGAIN;
  }
  using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(host, service, hints, out);
}

namespace litestream::http {
namespace {

TEST(HttpResolve, ANameThatIsLookedUpHoldsNobodyElseUp) {
  HttpServer server([](const ServedRequest&, ServedPeer& peer) { peer.Answer(200, {}, "here"); });
  Client client({.threads = 1});
  const Context never = Context::Background();
  auto stuck = client.Begin(never, {.url = "http://" + std::string(kStuckHost) + "/"});
  ASSERT_TRUE(stuck.ok()) << stuck.error().message();
  {
    std::unique_lock lock(mu);
    changed.wait(lock, [] { return looking == 1; });
  }
  stuck.value().reset();  // Given up.
  const Clock& clock = Clock::Real();
  const Context bounded({}, clock.Monotonic() + std::chrono::seconds(20), clock);
  const auto answer = client.Do(bounded, {.url = server.url() + "/"});
  EXPECT_TRUE(answer.ok()) << answer.error().message();
  std::unique_lock lock(mu);
  released = true;
  changed.notify_all();
  changed.wait(lock, [] { return looking == 0; });
}

}  // namespace
}  // namespace litestream::http
