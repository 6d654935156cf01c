#include "backend/s3/provider.h"

#include <algorithm>
#include <string>
#include <vector>

namespace litestream::s3 {
namespace {

// Whether one of the "-"-separated parts of a label is "storage".
bool HasStoragePart(std::string_view label) {
  while (!label.empty()) {
    const std::size_t dash = label.find('-');
    if (label.substr(0, dash) == "storage") return true;
    if (dash == std::string_view::npos) return false;
    label.remove_prefix(dash + 1);
  }
  return false;
}

struct Rule {
  std::string_view host;  // With a leading dot: a suffix.
  Provider provider;
};

bool Matches(std::string_view host, std::string_view rule) {
  return rule.starts_with('.') ? host.ends_with(rule) && host.size() > rule.size() : host == rule;
}

}  // namespace

bool IsGoogleHost(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::vector<std::string_view> labels;
  for (std::size_t begin = 0; begin <= host.size();) {
    const std::size_t dot = std::min(host.find('.', begin), host.size());
    labels.push_back(host.substr(begin, dot - begin));
    if (labels.back().empty()) return false;
    begin = dot + 1;
  }
  const std::size_t count = labels.size();
  if (count < 3 || labels[count - 1] != "com" || labels[count - 2] != "googleapis") return false;
  if (!HasStoragePart(labels[0])) return false;
  return count == 3 || !HasStoragePart(labels[1]);
}

Provider ProviderOf(std::string_view host) {
  static const Rule rules[] = {
      {"fly.storage.tigris.dev",
       {.name = "Tigris", .path_style = true, .content_md5 = false, .consistent_header = true}},
      {"t3.storage.dev",
       {.name = "Tigris", .path_style = true, .content_md5 = false, .consistent_header = true}},
      {".r2.cloudflarestorage.com",
       {.name = "Cloudflare R2", .path_style = true, .equal_parts = true, .concurrency = 2}},
      {".backblazeb2.com", {.name = "Backblaze B2", .path_style = true}},
      {".digitaloceanspaces.com", {.name = "DigitalOcean Spaces"}},
      {".scw.cloud", {.name = "Scaleway"}},
      {"s3.filebase.com", {.name = "Filebase", .path_style = true}},
      {".your-objectstorage.com", {.name = "Hetzner", .path_style = true}},
      {".supabase.co", {.name = "Supabase", .path_style = true}},
      {".oraclecloud.com", {.name = "Oracle Cloud", .path_style = true}},
      {".amazonaws.com", {.name = "AWS"}},
      {".amazonaws.com.cn", {.name = "AWS"}},
  };
  if (host.empty()) return {.name = "AWS"};
  for (const Rule& rule : rules) {
    if (Matches(host, rule.host)) return rule.provider;
  }
  if (IsGoogleHost(host)) {
    return {.name = "Google Cloud Storage", .path_style = true, .batch_delete = false};
  }
  // MinIO, Ceph, Garage, SeaweedFS, ...: few of them have names for buckets.
  return {.name = "S3", .path_style = true};
}

}  // namespace litestream::s3
