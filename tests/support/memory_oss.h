#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/memory_s3.h"

namespace litestream {

// Buckets in memory as Alibaba Cloud OSS has them, for tests of its client: no server of theirs can
// be installed. What it checks, and the page below help.aliyun.com/en/oss/ that says so:
//   signatures, version 4   developer-reference/recommend-to-use-signature-version-4
//   the clock, 15 minutes   user-guide/http-403-error-code (RequestTimeTooSkewed)
//   names of objects        user-guide/object-naming-conventions
//   no If-Match on a PUT    user-guide/0017-00000245
//   x-oss-forbid-overwrite  user-guide/0026-00000002, 0042-00000214; not where versions are kept
//   Content-MD5             developer-reference/putobject (InvalidDigest)
//   parts                   developer-reference/uploadpart, completemultipartupload; 0042-00000213
//   deletes of many         developer-reference/deletemultipleobjects
//   lists                   developer-reference/listobjectsv2: pages of 100 unless more is wanted
//   ranges                  developer-reference/getobject (x-oss-range-behavior)
// Path-style URLs, as for any server whose name is an IP address. Beside the protocol: see
// MemoryS3.
class MemoryOss final : public MemoryS3 {
 public:
  struct Account {
    std::string access_key_id;
    std::string secret;
    std::string security_token;  // Empty: none.
  };
  struct Rules {
    std::vector<Account> accounts;
    std::string region = "cn-hangzhou";
    std::set<std::string> buckets;
    std::set<std::string> versioned;  // Those of them that keep old versions.
  };
  MemoryOss(const Options& options, Rules rules) : MemoryS3(options), rules_(std::move(rules)) {}

 private:
  std::optional<Reply> Refuse(const Asked& asked, std::string_view body) const override;
  std::optional<Reply> Condition(const Asked& asked) const override;
  std::string_view meta_prefix() const override { return "x-oss-meta-"; }
  std::size_t DefaultPageKeys() const override { return 100; }
  std::string ShownKey(const Asked& asked, std::string_view key) const override;
  std::vector<std::string> SumHeaders(const Asked& asked,
                                      const std::vector<Piece>& pieces) const override;
  std::string PartTag(const Piece& piece) override;
  std::optional<Reply> CheckParts(const Upload& upload, std::string_view body) const override;
  bool IgnoresOddRanges(const Asked& asked) const override;
  void Complement(const Asked& asked, Reply& reply) const override;
  Reply BucketInfo(const Asked& asked) const override;

  std::optional<Reply> RefuseSignature(const Asked& asked) const;
  std::optional<Reply> RefuseUpload(const Asked& asked, std::string_view body) const;
  std::optional<Reply> RefuseBatch(const Asked& asked, std::string_view body) const;
  static Reply Refusal(int status, std::string_view code, std::string_view detail = "",
                       std::string_view message = "");

  const Rules rules_;
};

}  // namespace litestream
