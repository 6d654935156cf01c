#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace litestream::http {

// Every byte but A-Z a-z 0-9 - . _ ~ as %XX, upper case.
std::string EscapeComponent(std::string_view text);
// The same, slashes kept: a key as the path of a URL. Nothing is cleaned: "//", "/./" stay.
std::string EscapePath(std::string_view text);
// %XX taken back, and "+" as a space, as in a form. What is no escape stays.
std::string UnescapeForm(std::string_view text);
// Each %XX as the byte it stands for. Unset if a "%" is followed by something else, or stands for
// no character at all ("%00").
std::optional<std::string> Unescape(std::string_view text);

using QueryParameters = std::vector<std::pair<std::string, std::string>>;
// "a=1&b=", escaped and in the order of the escaped names, as signatures want it.
std::string CanonicalQuery(const QueryParameters& parameters);

struct SplitUrl {
  std::string scheme;     // Lower case.
  std::string authority;  // host[:port], lower case
  std::string host;       // Without port and brackets.
  std::string path;       // As it is; "" if there is none.
};
// Of an http or https URL without user, query and fragment. False if it is none.
bool ParseUrl(std::string_view url, SplitUrl& out);
// Whether a host, as SplitUrl has it, is this machine: "localhost", a name below it, or an address
// of the loopback. A name that only begins like an address is none.
bool IsThisMachine(std::string_view host);
// The same, or an address of a private network (RFC 1918).
bool IsPrivateHost(std::string_view host);
// A name that means nothing in the public DNS: without a dot ("nas", a container's), or of a domain
// for local networks. Lower case.
bool IsLocalName(std::string_view host);
// What the Host header holds: the port only if it is not the scheme's.
std::string HostHeader(const SplitUrl& url);

}  // namespace litestream::http
