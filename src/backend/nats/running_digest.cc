#include "backend/nats/running_digest.h"

#include <array>

#include <openssl/evp.h>

#include "backend/nats/meta.h"

namespace litestream::nats {

struct RunningDigest::Context {
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> evp{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

RunningDigest::RunningDigest() : context_(std::make_unique<Context>()) {
  EVP_DigestInit_ex(context_->evp.get(), EVP_sha256(), nullptr);
}

RunningDigest::~RunningDigest() = default;

void RunningDigest::Add(std::string_view bytes) {
  EVP_DigestUpdate(context_->evp.get(), bytes.data(), bytes.size());
}

std::string RunningDigest::Take() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned int size = 0;
  EVP_DigestFinal_ex(context_->evp.get(), out.data(), &size);
  return "SHA-256=" + Base64Url({reinterpret_cast<const char*>(out.data()), size});
}

}  // namespace litestream::nats
