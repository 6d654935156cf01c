#include "cloud/temporary_keys.h"

#include <memory>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "base/try.h"
#include "format/names.h"
#include "http/curl_error.h"
#include "http/uri.h"

namespace litestream::cloud {
namespace {

std::string TextOf(const nlohmann::json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

Result<http::Response> Ask(const Context& ctx, http::Client& http, const std::string& url,
                           const http::Headers& headers, std::string_view method = "GET") {
  http::Request request{.method = std::string(method),
                        .url = url,
                        .headers = headers,
                        .timeouts = kLocalTimeouts,
                        .use_proxy = false};
  if (method == "PUT") request.body = std::make_shared<const std::string>();
  return http.Do(ctx, request, kMaxKeysBytes);
}

}  // namespace

Result<TemporaryKeys> ParseJsonKeys(std::string_view text, const KeyNames& names) {
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error(ErrorCode::kUnavailable, "credentials: not JSON");
  if (const std::string code = TextOf(json, "Code"); !code.empty() && code != "Success") {
    return Error(ErrorCode::kDenied,
                 fmt::format("credentials: the service says {} ({})", http::Shown(code),
                             http::Shown(TextOf(json, "Message"))));
  }
  if (const auto inner = json.find("Credentials"); inner != json.end() && inner->is_object()) {
    json = nlohmann::json(*inner);
  }
  TemporaryKeys found{.secret = {.access_key_id = TextOf(json, "AccessKeyId"),
                                 .secret_access_key = TextOf(json, names.secret),
                                 .session_token = TextOf(json, names.token)}};
  if (found.secret.access_key_id.empty() || found.secret.secret_access_key.empty()) {
    return Error(ErrorCode::kDenied, "credentials: the answer has no keys");
  }
  const std::string expires = TextOf(json, "Expiration");
  if (!expires.empty()) {
    found.expires_at = LS_TRY(ParseTimestamp(expires), "credentials: when they expire");
  }
  return found;
}

Result<std::string> ReadToken(Env& env, const std::string& path) {
  std::string text = LS_TRY(ReadSmallFile(env, path, kMaxKeysBytes), "read {}", path);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

Result<std::string> AskForRoleKeys(const Context& ctx, http::Client& http,
                                   const MetadataService& service) {
  const std::string& name = service.name;
  const auto token = LS_TRY(Ask(ctx, http, service.origin + "/latest/api/token",
                                {{service.token_header + "-ttl-seconds", "21600"}}, "PUT"),
                            "{}", name);
  http::Headers headers;
  if (token.status == 200) {
    headers.push_back({service.token_header, token.body});
  } else if ((token.status != 403 && token.status != 404 && token.status != 405) ||
             service.needs_token) {
    return Error(ErrorCode::kUnavailable,
                 fmt::format("{}: no token, the service says {}", name, token.status));
  }
  const std::string base = service.origin + service.roles_path;
  std::string role = service.role;
  if (role.empty()) {
    const auto roles = LS_TRY(Ask(ctx, http, base, headers), "{}", name);
    role = roles.body.substr(0, roles.body.find_first_of("\r\n"));
    if (roles.status != 200 || role.empty()) {
      return Error(ErrorCode::kDenied, name + ": this machine has no role");
    }
  }
  auto answer = LS_TRY(Ask(ctx, http, base + http::EscapeComponent(role), headers), "{}", name);
  if (answer.status == 200) return std::move(answer).body;
  return Error(
      answer.status == 404 ? ErrorCode::kDenied : ErrorCode::kUnavailable,
      fmt::format("{}: role {}: the service says {}", name, http::Shown(role), answer.status));
}

Result<TemporaryKeys> KeysOfMachine(bool switched_off, std::string_view advice,
                                    const std::function<Result<TemporaryKeys>()>& ask) {
  std::string why = "the metadata service is switched off";
  if (!switched_off) {
    auto found = ask();
    if (found.ok() || found.error().Is(ErrorCode::kCancelled)) return found;
    why = found.error().message();
  }
  return Error(ErrorCode::kDenied, fmt::format("no credentials: {} ({})", advice, why));
}

}  // namespace litestream::cloud
