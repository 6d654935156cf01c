#include "http/engine.h"

#include <utility>

#include <curl/curl.h>
#include <fmt/core.h>

#include "base/try.h"
#include "http/curl_error.h"
#include "http/transfer.h"

namespace litestream::http {
namespace {

constexpr std::chrono::seconds kLookInterval{1};
constexpr int kIdlePollMs = 3'600'000;  // Nothing is under way: only a wake-up counts.
constexpr long kKeptConnections = 64;

CURLM* MakeMulti() {
  // Once in a process, before the first handle.
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  return global == CURLE_OK ? curl_multi_init() : nullptr;
}

// "https://host:port".
std::string HostOf(const std::string& url) {
  const std::string shown = PublicUrl(url);
  const std::size_t scheme = shown.find("://");
  return scheme == std::string::npos ? shown : shown.substr(0, shown.find('/', scheme + 3));
}

}  // namespace

// ---- Turns

Result<void> HostTurns::Take(const Context& ctx, const std::string& host,
                             std::chrono::nanoseconds timeout) {
  LS_TRY(ctx.Check());
  if (ctx.deadline()) {
    timeout =
        std::min<std::chrono::nanoseconds>(timeout, *ctx.deadline() - ctx.clock().Monotonic());
  }
  MutexLock lock(mu_);
  Host& turns = hosts_[host];
  const auto place = turns.waiting.insert(turns.waiting.end(), &lock);
  const bool granted = changed_.WaitFor(mu_, ctx.stop(), timeout, [&]() LS_REQUIRES(mu_) {
    return turns.active < limit_ && turns.waiting.begin() == place;
  });
  turns.waiting.erase(place);
  if (granted) ++turns.active;
  changed_.NotifyAll();
  if (granted) return {};
  const int active = turns.active;
  if (active == 0 && turns.waiting.empty()) hosts_.erase(host);
  LS_TRY(ctx.Check());
  return Error(
      ErrorCode::kThrottled,
      fmt::format("{} requests to {} are under way, and none ended in time", active, host));
}

void HostTurns::Give(const std::string& host) {
  MutexLock lock(mu_);
  Host& turns = hosts_[host];
  if (--turns.active == 0 && turns.waiting.empty()) hosts_.erase(host);
  changed_.NotifyAll();
}

// ---- One thread

IoThread::IoThread(const Clock& clock, HostTurns& turns)
    : clock_(clock), turns_(turns), multi_(MakeMulti()) {
  if (multi_ == nullptr) return;  // Start says so.
  curl_multi_setopt(static_cast<CURLM*>(multi_), CURLMOPT_MAXCONNECTS, kKeptConnections);
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

IoThread::~IoThread() {
  if (multi_ == nullptr) return;
  thread_.request_stop();
  curl_multi_wakeup(static_cast<CURLM*>(multi_));
  thread_.join();
  curl_multi_cleanup(static_cast<CURLM*>(multi_));
}

int IoThread::load() const {
  MutexLock lock(mu_);
  return load_;
}

void IoThread::Start(std::shared_ptr<Transfer> transfer, std::string host) {
  if (multi_ == nullptr) {
    turns_.Give(host);
    transfer->Fail({ErrorCode::kInternal, "libcurl cannot be set up"});
    return;
  }
  {
    MutexLock lock(mu_);
    ++load_;
    new_.push_back({.transfer = std::move(transfer), .host = std::move(host)});
  }
  curl_multi_wakeup(static_cast<CURLM*>(multi_));
}

void IoThread::Touch(const std::shared_ptr<Transfer>& transfer) {
  if (multi_ == nullptr) return;
  {
    MutexLock lock(mu_);
    touched_.push_back(transfer);
  }
  curl_multi_wakeup(static_cast<CURLM*>(multi_));
}

void IoThread::Run(const std::stop_token& stop) {
  auto* const multi = static_cast<CURLM*>(multi_);
  while (!stop.stop_requested()) {
    TakeNew();
    LookAtTouched();
    int running = 0;
    curl_multi_perform(multi, &running);
    TakeFinished();
    EndSlow();
    const int timeout = active_.empty()
                            ? kIdlePollMs
                            : static_cast<int>(kLookInterval / std::chrono::milliseconds(1));
    curl_multi_poll(multi, nullptr, 0, timeout, nullptr);
  }
  TakeNew();
  while (!active_.empty()) {
    Transfer& transfer = *active_.begin()->second.transfer;
    transfer.Fail({ErrorCode::kCancelled, "the program stops"});
    End(transfer);
  }
}

void IoThread::TakeNew() {
  std::vector<Active> fresh;
  {
    MutexLock lock(mu_);
    fresh.swap(new_);
  }
  for (Active& active : fresh) {
    Transfer* const transfer = active.transfer.get();
    active_.emplace(transfer, std::move(active));
    const CURLMcode code =
        curl_multi_add_handle(static_cast<CURLM*>(multi_), static_cast<CURL*>(transfer->handle()));
    if (code == CURLM_OK) continue;
    transfer->Fail({ErrorCode::kInternal, curl_multi_strerror(code)});
    End(*transfer);
  }
}

void IoThread::LookAtTouched() {
  std::vector<std::shared_ptr<Transfer>> touched;
  {
    MutexLock lock(mu_);
    touched.swap(touched_);
  }
  for (const auto& transfer : touched) {
    if (!active_.contains(transfer.get())) continue;
    if (transfer->abandoned()) {
      End(*transfer);
    } else {
      transfer->Resume();
    }
  }
}

void IoThread::TakeFinished() {
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(static_cast<CURLM*>(multi_), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    char* owner = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
    auto& transfer = *reinterpret_cast<Transfer*>(owner);
    // Its turn ends first: who waits for the answer may ask for the next one at once.
    const std::shared_ptr<Transfer> kept = active_.at(&transfer).transfer;
    End(transfer);
    transfer.Finish(code);
  }
}

void IoThread::EndSlow() {
  const MonoTime now = clock_.Monotonic();
  if (now < next_look_) return;
  next_look_ = now + kLookInterval;
  for (auto it = active_.begin(); it != active_.end();) {
    const std::shared_ptr<Transfer> transfer = (it++)->second.transfer;
    if (auto error = transfer->TooSlow(now)) {
      End(*transfer);
      transfer->Fail(std::move(*error));
    }
  }
}

void IoThread::End(const Transfer& transfer) {
  const auto found = active_.find(&transfer);
  curl_multi_remove_handle(static_cast<CURLM*>(multi_), static_cast<CURL*>(transfer.handle()));
  turns_.Give(found->second.host);
  active_.erase(found);
  MutexLock lock(mu_);
  --load_;
}

// ---- All of them

Engine::Engine(const ClientOptions& options)
    : options_(options), turns_(options.requests_per_host) {
  for (int i = 0; i < std::max(1, options.threads); ++i) {
    threads_.push_back(std::make_unique<IoThread>(*options.clock, turns_));
  }
}

Result<std::unique_ptr<Exchange>> Engine::Start(const Context& ctx, const Request& request,
                                                const std::shared_ptr<Engine>& self) {
  // Shared: see Exchange.
  auto transfer = std::make_shared<Transfer>(request, *options_.clock, options_.user_agent);
  LS_TRY(transfer->Prepare());
  const std::string host = HostOf(request.url);
  LS_TRY(turns_.Take(ctx, host, options_.turn_timeout), "{}", transfer->name());
  // The first with the least to do, so that a lone caller finds his connection again.
  IoThread* chosen = threads_.front().get();
  for (const auto& thread : threads_) {
    if (thread->load() < chosen->load()) chosen = thread.get();
  }
  chosen->Start(transfer, host);
  return std::make_unique<Exchange>(self, *chosen, std::move(transfer));
}

}  // namespace litestream::http
