#pragma once

#include <string_view>

#include "backend/s3/options.h"

namespace litestream::s3 {

// What differs from server to server. Found by the endpoint's host; a setting that is given goes
// before what the provider wants.
struct Provider {
  std::string_view name = "S3";
  bool path_style = false;
  bool content_md5 = true;         // On DeleteObjects; else a CRC-32.
  bool batch_delete = true;        // DeleteObjects exists.
  bool equal_parts = false;        // All parts but the last have one size.
  bool consistent_header = false;  // X-Tigris-Consistent on every request.
  int concurrency = 5;
};

// `host`: without port, in lower case; empty: AWS itself.
Provider ProviderOf(std::string_view host);
// Google's XML interface.
bool IsGoogleHost(std::string_view host);

}  // namespace litestream::s3
