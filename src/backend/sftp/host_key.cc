#include "backend/sftp/host_key.h"

#include <memory>
#include <string>
#include <string_view>

#include <fmt/core.h>
#include <libssh/libssh.h>

#include "backend/sftp/libssh_types.h"
#include "base/try.h"

namespace litestream::sftp {
namespace {

struct KeyLine {
  std::string type;
  std::string base64;
};

// "ssh-ed25519 AAAA... comment".
KeyLine SplitKeyLine(std::string_view line) {
  KeyLine key;
  for (std::string* part : {&key.type, &key.base64}) {
    const std::size_t begin = line.find_first_not_of(" \t\r\n");
    if (begin == std::string_view::npos) break;
    line.remove_prefix(begin);
    *part = line.substr(0, line.find_first_of(" \t\r\n"));
    line.remove_prefix(part->size());
  }
  return key;
}

Result<Key> ParseHostKey(const std::string& line) {
  const KeyLine text = SplitKeyLine(line);
  const ssh_keytypes_e type = ssh_key_type_from_name(text.type.c_str());
  ssh_key key = nullptr;
  if (type == SSH_KEYTYPE_UNKNOWN ||
      ssh_pki_import_pubkey_base64(text.base64.c_str(), type, &key) != SSH_OK) {
    return Error(ErrorCode::kInvalidArgument,
                 "cannot parse sftp host key: it has to be a line as \"ssh-ed25519 AAAA...\"; "
                 "`ssh-keyscan HOST` shows it");
  }
  return Key(key);
}

// The algorithms with which a server proves that it has a key of this kind.
std::string Algorithms(const std::string& type) {
  return type == "ssh-rsa" ? "rsa-sha2-512,rsa-sha2-256" : type;
}

std::string Fingerprint(ssh_key key) {
  unsigned char* hash = nullptr;
  std::size_t size = 0;
  if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &size) != 0) return "?";
  char* const text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, size);
  std::string shown = text == nullptr ? "?" : text;
  ssh_string_free_char(text);
  ssh_clean_pubkey_hash(&hash);
  return shown;
}

}  // namespace

Result<void> PrepareHostKey(ssh_session session, const ConnectOptions& options) {
  if (!options.host_key.empty()) {
    LS_TRY(ParseHostKey(options.host_key));
    // Else it may show us one of another kind, and that would be a mismatch.
    const std::string algorithms = Algorithms(SplitKeyLine(options.host_key).type);
    if (ssh_options_set(session, SSH_OPTIONS_HOSTKEYS, algorithms.c_str()) == SSH_OK) return {};
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("sftp: host keys of the kind {} are not supported", algorithms));
  }
  const std::string& path =
      options.known_hosts_path.empty() ? "/dev/null" : options.known_hosts_path;
  ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, path.c_str());
  return {};
}

Result<void> CheckHostKey(ssh_session session, const ConnectOptions& options, bool& unverified) {
  ssh_key raw = nullptr;
  if (ssh_get_server_publickey(session, &raw) != SSH_OK) {
    return Error(ErrorCode::kUnavailable, "sftp: the server shows no key");
  }
  const Key key(raw);
  const auto mismatch = [&](std::string_view where) {
    return Error(
        ErrorCode::kDenied,
        fmt::format("ssh: host key mismatch: {}:{} shows the key {} {}, and {} has "
                    "another one; if the server's key was changed, change it there, else "
                    "somebody stands in between",
                    options.host, options.port, ssh_key_type_to_char(ssh_key_type(key.get())),
                    Fingerprint(key.get()), where));
  };
  if (!options.host_key.empty()) {
    const Key known = LS_TRY(ParseHostKey(options.host_key));
    if (ssh_key_cmp(known.get(), key.get(), SSH_KEY_CMP_PUBLIC) != 0) return mismatch("host-key");
    return {};
  }
  switch (ssh_session_is_known_server(session)) {
    case SSH_KNOWN_HOSTS_OK:
      return {};
    case SSH_KNOWN_HOSTS_CHANGED:
    case SSH_KNOWN_HOSTS_OTHER:
      return mismatch(options.known_hosts_path);
    case SSH_KNOWN_HOSTS_NOT_FOUND:
    case SSH_KNOWN_HOSTS_UNKNOWN:
      unverified = true;
      return {};
    case SSH_KNOWN_HOSTS_ERROR:
      break;
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("sftp: cannot read {}", options.known_hosts_path));
}

}  // namespace litestream::sftp
