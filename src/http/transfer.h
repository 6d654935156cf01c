#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/sync.h"
#include "http/client.h"

namespace litestream::http {

// One request between the thread that makes it and the thread that does its I/O: what libcurl gets
// to send, and what it hands over. Bodies pass through buffers of kStreamBufferBytes; when one is
// full, its side waits.
class Transfer {
 public:
  Transfer(const Request& request, const Clock& clock, const std::string& user_agent);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // ---- The caller's thread.
  // An error if the request cannot be sent at all.
  Result<void> Prepare();
  // Waits until the network wants more of the body. False: it wants no more.
  Result<bool> WaitForDemand(const Context& ctx);
  // The next piece of the body; taken by swap.
  void Supply(std::string& piece);
  // There is no more of it.
  void EndSupply();
  Result<void> WaitForHeaders(const Context& ctx, int& status, Headers& headers);
  // Takes what has arrived; "" at the end.
  Result<std::string> WaitForData(const Context& ctx);
  // Nobody is interested any more.
  void Abandon();

  // ---- The I/O thread, and before it knows of the transfer.
  void* handle() const { return easy_; }  // CURL*
  bool abandoned() const;
  // Goes on where a full or empty buffer had stopped it.
  void Resume();
  // The other side is too slow. Looked at about once a second.
  std::optional<Error> TooSlow(MonoTime now) const;
  void Finish(int curl_code);
  void Fail(Error error);

  const std::string& name() const { return name_; }  // "PUT https://host/path"

 private:
  static std::size_t OnRead(char* out, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t OnWrite(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static int OnSeek(void* self, long long offset, int origin) noexcept;
  std::size_t Send(char* out, std::size_t room);
  std::size_t Receive(std::string_view data);
  bool ReceiveHeader(std::string_view line);
  void SetOptions();
  void SetBody();
  void SetTls();
  void NoteProgress() { last_progress_ = clock_.Monotonic(); }
  Error Described(ErrorCode code, std::string_view what) const;

  const Request request_;  // Its source is not used here.
  const Clock& clock_;
  const std::string name_;
  const std::string user_agent_;
  void* easy_ = nullptr;
  void* header_list_ = nullptr;  // curl_slist*
  std::string curl_message_;     // CURL_ERROR_SIZE bytes that libcurl writes.
  bool options_ok_ = true;

  // The I/O thread's own.
  bool send_paused_ = false;
  bool receive_paused_ = false;
  bool sent_all_ = false;
  bool answered_ = false;
  std::uint64_t sent_bytes_ = 0;
  std::size_t header_bytes_ = 0;
  MonoTime last_progress_;
  Response incoming_;               // Status and headers, until they are whole.
  std::optional<Error> own_error_;  // Why a callback stopped it.

  mutable Mutex mu_{LockRank::kLeaf};
  CondVar changed_;
  std::string outgoing_ LS_GUARDED_BY(mu_);
  std::size_t outgoing_done_ LS_GUARDED_BY(mu_) = 0;
  bool no_more_ LS_GUARDED_BY(mu_) = false;
  std::string received_ LS_GUARDED_BY(mu_);
  bool has_headers_ LS_GUARDED_BY(mu_) = false;
  int status_ LS_GUARDED_BY(mu_) = 0;
  Headers headers_ LS_GUARDED_BY(mu_);
  bool done_ LS_GUARDED_BY(mu_) = false;
  bool abandoned_ LS_GUARDED_BY(mu_) = false;
  std::optional<Error> error_ LS_GUARDED_BY(mu_);
};

}  // namespace litestream::http
