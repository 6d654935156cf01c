#include "http/transfer.h"

#include <algorithm>
#include <cstring>

#include <curl/curl.h>
#include <fmt/core.h>
#include <sys/socket.h>

#include "base/try.h"
#include "http/curl_error.h"

namespace litestream::http {
namespace {

constexpr long kNetworkBufferBytes = 128 * 1024;

// libcurl's own would be inherited by the programs that we start.
curl_socket_t OpenSocket(void*, curlsocktype, curl_sockaddr* address) noexcept {
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// How long until the context ends it, or for ever.
std::chrono::nanoseconds TimeLeft(const Context& ctx) {
  constexpr std::chrono::hours kLong{24};
  if (!ctx.deadline()) return kLong;
  const auto left = *ctx.deadline() - ctx.clock().Monotonic();
  return std::clamp<std::chrono::nanoseconds>(left, std::chrono::nanoseconds::zero(), kLong);
}

bool HasControl(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

Transfer::Transfer(const Request& request, const Clock& clock, const std::string& user_agent)
    : request_(request),
      clock_(clock),
      name_(fmt::format("{} {}", request.method, PublicUrl(request.url))),
      user_agent_(user_agent),
      curl_message_(CURL_ERROR_SIZE, '\0') {}

Transfer::~Transfer() {
  curl_easy_cleanup(static_cast<CURL*>(easy_));
  curl_slist_free_all(static_cast<curl_slist*>(header_list_));
}

Error Transfer::Described(ErrorCode code, std::string_view what) const {
  return {code, fmt::format("{}: {}", name_, what)};
}

Result<void> Transfer::Prepare() {
  const auto invalid = [this](std::string_view what) {
    return Described(ErrorCode::kInvalidArgument, what);
  };
  if (request_.url.size() > kMaxUrlBytes) return invalid("the URL is too long");
  if (HasControl(request_.url) || request_.url.find(' ') != std::string::npos) {
    return invalid("the URL has characters that must be escaped");
  }
  if (!request_.url.starts_with("http://") && !request_.url.starts_with("https://")) {
    return invalid("not a URL of http or https");
  }
  const std::size_t host = request_.url.find("://");
  const std::string_view authority =
      host == std::string::npos ? "" : std::string_view(request_.url).substr(host + 3);
  if (authority.substr(0, authority.find_first_of("/?#")).find('@') != std::string_view::npos) {
    return invalid("a URL with user and password is not taken");
  }
  std::size_t bytes = 0;
  for (const Header& header : request_.headers) {
    bytes += header.name.size() + header.value.size();
    if (HasControl(header.name) || HasControl(header.value) || header.name.empty()) {
      return invalid(fmt::format("the header \"{}\" has characters that it must not have",
                                 HasControl(header.name) ? "" : header.name));
    }
  }
  if (bytes > kMaxHeaderBytes) return invalid("the headers are too large");
  easy_ = curl_easy_init();
  if (easy_ == nullptr) return Described(ErrorCode::kInternal, "out of memory");
  SetOptions();
  SetBody();
  SetTls();
  if (!options_ok_) return Described(ErrorCode::kInternal, "libcurl does not take an option");
  NoteProgress();
  return {};
}

// A macro, because each option has a type of its own.
// NOLINTNEXTLINE(cppcoreguidelines-macro-usage)
#define LS_SET(option, value) \
  options_ok_ &= curl_easy_setopt(static_cast<CURL*>(easy_), option, value) == CURLE_OK

void Transfer::SetOptions() {
  LS_SET(CURLOPT_URL, request_.url.c_str());
  LS_SET(CURLOPT_PATH_AS_IS, 1L);  // "/./" and "/../" are parts of names, and signed.
  LS_SET(CURLOPT_PROTOCOLS_STR, "http,https");
  LS_SET(CURLOPT_FOLLOWLOCATION, 0L);
  LS_SET(CURLOPT_NOSIGNAL, 1L);
  // A request that ends does not wait for a name that is still looked up, and the others with it.
  LS_SET(CURLOPT_QUICK_EXIT, 1L);
  LS_SET(CURLOPT_NOPROGRESS, 1L);
  LS_SET(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  LS_SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  LS_SET(CURLOPT_BUFFERSIZE, kNetworkBufferBytes);
  LS_SET(CURLOPT_UPLOAD_BUFFERSIZE, kNetworkBufferBytes);
  LS_SET(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.timeouts.connect.count()));
  LS_SET(CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeouts.total.count()));
  LS_SET(CURLOPT_ERRORBUFFER, curl_message_.data());
  LS_SET(CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
  LS_SET(CURLOPT_USERAGENT, user_agent_.c_str());
  LS_SET(CURLOPT_PRIVATE, this);
  LS_SET(CURLOPT_WRITEFUNCTION, &OnWrite);
  LS_SET(CURLOPT_WRITEDATA, this);
  LS_SET(CURLOPT_HEADERFUNCTION, &OnHeader);
  LS_SET(CURLOPT_HEADERDATA, this);
  if (!request_.use_proxy) LS_SET(CURLOPT_NOPROXY, "*");
  curl_slist* list = nullptr;
  const auto append = [&](const std::string& line) {
    curl_slist* const longer = curl_slist_append(list, line.c_str());
    options_ok_ &= longer != nullptr;
    if (longer != nullptr) list = longer;
  };
  for (const Header& header : request_.headers) {
    // "name;" is libcurl's way to send an empty value; "name:" would drop the header.
    append(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  }
  // Not every server answers "100 Continue"; libcurl would wait a second for it.
  append("Expect:");
  if (FindHeader(request_.headers, "Accept") == nullptr) append("Accept: */*");
  header_list_ = list;
  LS_SET(CURLOPT_HTTPHEADER, list);
}

void Transfer::SetBody() {
  if (request_.source == nullptr && !request_.body) {
    sent_all_ = true;
    if (request_.method == "HEAD") {
      LS_SET(CURLOPT_NOBODY, 1L);
    } else if (request_.method != "GET") {
      LS_SET(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
    }
    return;
  }
  LS_SET(CURLOPT_UPLOAD, 1L);
  LS_SET(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  LS_SET(CURLOPT_READFUNCTION, &OnRead);
  LS_SET(CURLOPT_READDATA, this);
  curl_off_t size = -1;
  if (request_.body) {
    size = static_cast<curl_off_t>(request_.body->size());
    LS_SET(CURLOPT_SEEKFUNCTION, &OnSeek);
    LS_SET(CURLOPT_SEEKDATA, this);
  } else if (request_.source_bytes) {
    size = static_cast<curl_off_t>(*request_.source_bytes);
  }
  sent_all_ = size == 0;
  LS_SET(CURLOPT_INFILESIZE_LARGE, size);
}

void Transfer::SetTls() {
  const TlsOptions& tls = request_.tls;
  LS_SET(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  LS_SET(CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  LS_SET(CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  if (!tls.ca_file.empty()) LS_SET(CURLOPT_CAINFO, tls.ca_file.c_str());
  if (!tls.client_certificate.empty()) LS_SET(CURLOPT_SSLCERT, tls.client_certificate.c_str());
  if (!tls.client_key.empty()) LS_SET(CURLOPT_SSLKEY, tls.client_key.c_str());
}
#undef LS_SET

// ---- What libcurl calls, on the I/O thread

std::size_t Transfer::OnRead(char* out, std::size_t size, std::size_t count, void* self) noexcept {
  return static_cast<Transfer*>(self)->Send(out, size * count);
}

std::size_t Transfer::OnWrite(char* data, std::size_t size, std::size_t count,
                              void* self) noexcept {
  return static_cast<Transfer*>(self)->Receive({data, size * count});
}

std::size_t Transfer::OnHeader(char* data, std::size_t size, std::size_t count,
                               void* self) noexcept {
  const std::size_t bytes = size * count;
  return static_cast<Transfer*>(self)->ReceiveHeader({data, bytes}) ? bytes : 0;
}

// A connection that was used before may turn out to be dead: libcurl then sends again on another.
int Transfer::OnSeek(void* self, long long offset, int origin) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  if (origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_CANTSEEK;
  transfer.sent_bytes_ = static_cast<std::uint64_t>(offset);
  transfer.sent_all_ = transfer.sent_bytes_ >= transfer.request_.body->size();
  return CURL_SEEKFUNC_OK;
}

std::size_t Transfer::Send(char* out, std::size_t room) {
  NoteProgress();
  if (request_.body) {
    const std::string& body = *request_.body;
    const std::size_t count = std::min(room, body.size() - static_cast<std::size_t>(sent_bytes_));
    body.copy(out, count, static_cast<std::size_t>(sent_bytes_));
    sent_bytes_ += count;
    sent_all_ = sent_bytes_ == body.size();
    return count;
  }
  MutexLock lock(mu_);
  if (abandoned_) return CURL_READFUNC_ABORT;
  const std::size_t count = std::min(room, outgoing_.size() - outgoing_done_);
  if (count == 0) {
    if (no_more_) {
      sent_all_ = true;
      return 0;
    }
    send_paused_ = true;
    return CURL_READFUNC_PAUSE;
  }
  std::memcpy(out, outgoing_.data() + outgoing_done_, count);
  outgoing_done_ += count;
  sent_bytes_ += count;
  sent_all_ = request_.source_bytes && sent_bytes_ == *request_.source_bytes;
  if (outgoing_done_ == outgoing_.size()) changed_.NotifyAll();
  return count;
}

std::size_t Transfer::Receive(std::string_view data) {
  NoteProgress();
  MutexLock lock(mu_);
  if (abandoned_) return 0;
  if (received_.size() >= kStreamBufferBytes) {
    receive_paused_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  received_.append(data);
  changed_.NotifyAll();
  return data.size();
}

bool Transfer::ReceiveHeader(std::string_view line) {
  NoteProgress();
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHeaderBytes) {
    own_error_ = Described(ErrorCode::kUnavailable, "the headers of the answer are too large");
    return false;
  }
  if (answered_) return true;       // Trailers.
  if (line.starts_with("HTTP/")) {  // Another one follows a "100 Continue".
    incoming_ = {};
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return true;
    for (const char c : line.substr(space + 1, 3)) {
      if (c >= '0' && c <= '9') incoming_.status = incoming_.status * 10 + (c - '0');
    }
    return true;
  }
  if (line.find_first_not_of("\r\n") == std::string_view::npos) {
    if (incoming_.status < 200) return true;
    answered_ = true;
    MutexLock lock(mu_);
    has_headers_ = true;
    status_ = incoming_.status;
    headers_ = std::move(incoming_.headers);
    changed_.NotifyAll();
    return true;
  }
  Header header;
  if (ParseHeader(line, header)) incoming_.headers.push_back(std::move(header));
  return true;
}

bool Transfer::abandoned() const {
  MutexLock lock(mu_);
  return abandoned_;
}

void Transfer::Resume() {
  bool go_on = false;
  {
    MutexLock lock(mu_);
    const bool can_send = outgoing_done_ < outgoing_.size() || no_more_;
    if (send_paused_ && can_send) {
      send_paused_ = false;
      go_on = true;
    }
    if (receive_paused_ && received_.size() < kStreamBufferBytes) {
      receive_paused_ = false;
      go_on = true;
    }
  }
  if (!go_on) return;
  NoteProgress();
  const int still = (send_paused_ ? CURLPAUSE_SEND : 0) | (receive_paused_ ? CURLPAUSE_RECV : 0);
  curl_easy_pause(static_cast<CURL*>(easy_), still);
}

std::optional<Error> Transfer::TooSlow(MonoTime now) const {
  const bool ours = answered_ ? receive_paused_ : send_paused_;
  if (ours) return std::nullopt;
  const bool waits_for_answer = sent_all_ && !answered_;
  const auto limit = waits_for_answer ? request_.timeouts.first_byte : request_.timeouts.stall;
  if (limit.count() == 0 || now - last_progress_ < limit) return std::nullopt;
  return Described(ErrorCode::kTimeout,
                   waits_for_answer
                       ? fmt::format("the server did not answer within {} ms", limit.count())
                       : fmt::format("not a byte for {} ms", limit.count()));
}

void Transfer::Finish(int curl_code) {
  if (curl_code == CURLE_OK) {
    MutexLock lock(mu_);
    done_ = true;
    changed_.NotifyAll();
    return;
  }
  if (own_error_) {
    Fail(*own_error_);
    return;
  }
  std::string message = curl_message_.c_str();
  if (message.empty()) message = curl_easy_strerror(static_cast<CURLcode>(curl_code));
  Fail(Described(CodeOfCurl(curl_code), message));
}

void Transfer::Fail(Error error) {
  MutexLock lock(mu_);
  done_ = true;
  if (!error_) error_ = std::move(error);
  changed_.NotifyAll();
}

// ---- What callers do

Result<bool> Transfer::WaitForDemand(const Context& ctx) {
  MutexLock lock(mu_);
  const bool ready = changed_.WaitFor(mu_, ctx.stop(), TimeLeft(ctx), [this]() LS_REQUIRES(mu_) {
    return done_ || outgoing_done_ == outgoing_.size() || (has_headers_ && status_ >= 300);
  });
  if (!ready) {
    LS_TRY(ctx.Check(), "{}", name_);
    return Described(ErrorCode::kTimeout, "deadline passed");
  }
  return !done_ && !(has_headers_ && status_ >= 300);
}

void Transfer::Supply(std::string& piece) {
  MutexLock lock(mu_);
  outgoing_.swap(piece);
  outgoing_done_ = 0;
}

void Transfer::EndSupply() {
  MutexLock lock(mu_);
  no_more_ = true;
}

Result<void> Transfer::WaitForHeaders(const Context& ctx, int& status, Headers& headers) {
  MutexLock lock(mu_);
  const bool ready = changed_.WaitFor(mu_, ctx.stop(), TimeLeft(ctx),
                                      [this]() LS_REQUIRES(mu_) { return done_ || has_headers_; });
  if (!ready) {
    LS_TRY(ctx.Check(), "{}", name_);
    return Described(ErrorCode::kTimeout, "deadline passed");
  }
  if (!has_headers_) {
    return error_ ? *error_ : Described(ErrorCode::kUnavailable, "the answer has no status");
  }
  status = status_;
  headers = headers_;
  return {};
}

Result<std::string> Transfer::WaitForData(const Context& ctx) {
  MutexLock lock(mu_);
  const bool ready = changed_.WaitFor(mu_, ctx.stop(), TimeLeft(ctx), [this]() LS_REQUIRES(mu_) {
    return done_ || !received_.empty();
  });
  if (!ready) {
    LS_TRY(ctx.Check(), "{}", name_);
    return Described(ErrorCode::kTimeout, "deadline passed");
  }
  if (received_.empty() && error_) return *error_;
  std::string taken;
  taken.swap(received_);
  return taken;
}

void Transfer::Abandon() {
  MutexLock lock(mu_);
  abandoned_ = true;
}

}  // namespace litestream::http
