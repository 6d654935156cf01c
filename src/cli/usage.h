#pragma once

// Parts of usage texts that several commands share.

#define LITESTREAM_USAGE_CONFIG               \
  "\t-config PATH\n"                          \
  "\t    Specifies the configuration file.\n" \
  "\t    Defaults to $LITESTREAM_CONFIG, else /etc/litestream.yml\n\n"

#define LITESTREAM_USAGE_NO_EXPAND \
  "\t-no-expand-env\n"             \
  "\t    Disables environment variable expansion in configuration file.\n\n"

#define LITESTREAM_USAGE_REPLICA                     \
  "\t-replica NAME\n"                                \
  "\t    Only the replica with this name or type.\n" \
  "\t    Defaults to all replicas of the database.\n\n"

#define LITESTREAM_USAGE_JSON \
  "\t-json\n"                 \
  "\t    Output raw JSON instead of human-readable text.\n\n"
