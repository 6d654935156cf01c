#include "backend/gs/jwt.h"

#include <memory>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "http/digest.h"

namespace litestream::gs {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// Nobody is there to be asked for one.
int NoPassword(char*, int, int, void*) noexcept {
  return -1;
}

// What OpenSSL noted in this thread would be taken for an error of the next TLS connection.
Error NotSigned(std::string message) {
  ERR_clear_error();
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

}  // namespace

std::string Base64Url(std::string_view bytes) {
  std::string text = http::Base64(bytes);
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

Result<std::string> SignJwt(std::string_view private_key, std::string_view header,
                            std::string_view claims) {
  const std::unique_ptr<BIO, Free> pem(
      BIO_new_mem_buf(private_key.data(), static_cast<int>(private_key.size())));
  const std::unique_ptr<EVP_PKEY, Free> key(
      pem == nullptr ? nullptr : PEM_read_bio_PrivateKey(pem.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return NotSigned("private_key is no private key in PEM");
  if (EVP_PKEY_base_id(key.get()) != EVP_PKEY_RSA) return NotSigned("private_key is no RSA key");
  std::string text = Base64Url(header) + "." + Base64Url(claims);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
  const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
  std::size_t size = 0;
  if (context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) != 1) {
    return NotSigned("private_key cannot sign");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     bytes, text.size()) != 1) {
    return NotSigned("private_key cannot sign");
  }
  signature.resize(size);
  return text + "." + Base64Url(signature);
}

}  // namespace litestream::gs
