#pragma once

#include <string_view>

namespace litestream {

// Where the program does otherwise than the reference, knowingly. What is not listed must be equal:
// exit code, stdout (JSON objects may have more keys), files that changed; stderr may say more.
struct CliDifference {
  std::string_view name;  // Group and case.
  int exit;
  // A part of the output; kEqual: as golden; kEmpty: nothing; kOwnHelp: the usage of our command.
  std::string_view out;
  std::string_view err;
  std::string_view why;
  std::string_view changes = "=";  // Of files, as JSON; "=": as golden.
};

inline constexpr std::string_view kEqual = "=";
inline constexpr std::string_view kEmpty = "";
inline constexpr std::string_view kOwnHelp = "?";

inline constexpr std::string_view kOtherHelp = "our own commands and flags";
inline constexpr std::string_view kNoFollow = "follow mode is not in this build";
inline constexpr std::string_view kFailsOnUnknown =
    "a database that is not configured is a mistake, not an empty answer";
inline constexpr std::string_view kOldCommand = "a command of v0.3 that is a command here";
inline constexpr std::string_view kYamlWords = "the parser's own words; file and line are there";
inline constexpr std::string_view kKeepsOld =
    "the old database is replaced only when the new one is complete";

inline constexpr CliDifference kCliDifferences[] = {
    // help
    {"help/help-restore", 0, "litestream restore [arguments] DB_PATH", kEqual,
     "help COMMAND describes the command"},
    {"help/run", 1, kEmpty, "Error: program required", "run is a command here"},
    {"help/v03-generations", 1, kEmpty, "Error: database path or replica URL required",
     kOldCommand},
    {"help/v03-snapshots", 1, kEmpty, "Error: database path or replica URL required", kOldCommand},
    {"help/version-verbose", 0, "OS/Arch:", kEqual, "compiler instead of Go version"},
    {"help/restore-h-two-dashes", 0, kOwnHelp, kEqual, "--h asks for help, so the exit code is 0"},
    {"help/restore-h-value", 0, kOwnHelp, kEqual, "-h=1 asks for help, so the exit code is 0"},

    // usage
    {"usage/reset-empty-argument", 1, kEmpty, "Error: database path required",
     "an empty argument is a missing one"},
    {"usage/restore-bad-duration", 1, kOwnHelp, "flag provided but not defined: -follow-interval",
     kNoFollow},
    {"usage/replicate-unknown-scheme", 1, kEmpty, "Error: unknown replica type in config: \"nope\"",
     "checked before anything is started"},
    {"usage/v03-restore-replica", 1, kEmpty,
     "Error: config file not found: ", "-replica chooses one of several replicas"},

    // config
    {"config/bad-yaml", 1, kEmpty, "$TMP/bad.yml:", kYamlWords},
    {"config/not-a-map", 1, kEmpty, "$TMP/bad.yml:1: the file must be a map", kYamlWords},
    {"config/tabs", 1, kEmpty, "$TMP/bad.yml:2: yaml: ", kYamlWords},
    {"config/status-unknown-db", 1, kEmpty, "Error: database not found in config: $TMP/other",
     kFailsOnUnknown},

    // databases
    {"databases/dir", 1, kEmpty, "no SQLite databases found in directory $TMP with pattern *.db",
     "directories are expanded; the reference prints the working directory"},

    // status
    {"status/unknown", 1, kEmpty, "Error: database not found in config: $TMP/nope",
     kFailsOnUnknown},
    {"status/unknown-json", 1, kEmpty, "Error: database not found in config: $TMP/nope",
     kFailsOnUnknown},

    // ltx
    {"ltx/unknown-scheme", 1, kEmpty, "Error: unknown replica type in config: \"nope\"",
     "we name the scheme"},

    // restore
    {"restore/integrity-json-by-config", 0, "\"txid\": \"0000000000000052\"",
     "post-restore integrity check passed", "with -json all logs go to stderr"},
    {"restore/sidecar-wal-without-database", 1, kEmpty,
     "Error: cannot restore, SQLite sidecar path already exists: $TMP/out-wal. Use -force to "
     "overwrite",
     "SQLite would play the old log into the restored database", "{}"},
    {"restore/txid-file-left-by-force", 0, kEqual, kEqual,
     "the note of a follower belongs to the database that was replaced",
     R"({"out": "a73c8a528162008f4f068f92fb3fddc503c7463e500d18cb544fcf4b30e2220c",
         "out-txid": "gone"})"},
    {"restore/stale-tmp", 0, kEqual, kEqual,
     "temporary files have names of their own, so the file is not ours to remove",
     R"({"out": "a73c8a528162008f4f068f92fb3fddc503c7463e500d18cb544fcf4b30e2220c"})"},
    {"restore/force-missing-replica", 1, kEmpty, kEqual, kKeepsOld, "{}"},
    {"restore/bit-flip", 1, kEmpty, "0000000000000005-0000000000000005.ltx",
     "the message names the damaged file", "{}"},
    {"restore/bit-flip-force", 1, kEmpty, "0000000000000005-0000000000000005.ltx", kKeepsOld, "{}"},
    {"restore/log-level-debug", 0, "level=DEBUG msg=\"restore plan\" replica=file n=1", kEqual,
     "one line of the plan"},
    {"restore/sqlite-url", 1, kEmpty, "Error: unknown replica type in config: \"sqlite\"",
     "we name the scheme"},
    {"restore/unknown-scheme", 1, kEmpty, "Error: unknown replica type in config: \"nope\"",
     "we name the scheme"},
    {"restore/dry-run-follow", 1, kOwnHelp, "flag provided but not defined: -f", kNoFollow},
    {"restore/follow-txid", 1, kOwnHelp, "flag provided but not defined: -f", kNoFollow},
    {"restore/follow-timestamp", 1, kOwnHelp, "flag provided but not defined: -f", kNoFollow},
    {"restore/follow-output-exists-without-txid-file", 1, kOwnHelp,
     "flag provided but not defined: -f", kNoFollow},
    {"restore/follow-bad-txid-file", 1, kOwnHelp, "flag provided but not defined: -f", kNoFollow},
    {"restore/follow-empty-txid-file", 1, kOwnHelp, "flag provided but not defined: -f", kNoFollow},
    {"restore/follow-nothing", 1, kOwnHelp, "flag provided but not defined: -f", kNoFollow},

    // replicate
    {"replicate/once-missing-database", 1, kEqual,
     "Error: sync database $TMP/nope: ", "the path is named where the database is opened"},
    {"replicate/once-not-a-database", 1, kEqual,
     "Error: sync database $TMP/text: ", "the words of our SQLite"},
    {"replicate/restore-if-db-not-exists-no-backup", 1, kEqual,
     "Error: sync database $TMP/new: ", "the path is named where the database is opened"},
    {"replicate/exec-exit-7", 7, kEqual, kEqual, "the child's own exit code"},
    {"replicate/exec-unbalanced-quote", 1, kEmpty,
     "Error: cannot parse exec command: invalid command line string",
     "checked before anything is started"},
    {"replicate/bad-addr", 1, kEmpty, kEqual, "checked before anything is started"},
};

// Cases that would not end here.
inline constexpr std::string_view kCliNotRun[] = {
    "usage/replicate-two-urls",  // Several replicas are allowed.
};

// Commands of the reference that this build does not have.
inline constexpr std::string_view kCliUnknownCommands[] = {"info", "list", "register",  "start",
                                                           "stop", "sync", "unregister"};

// Lines of `replicate` that operators match on, and that appear here in the same order. The others
// are about what the reference does in the background.
inline constexpr std::string_view kReplicateMessages[] = {
    "msg=litestream ",
    "msg=\"initialized db\"",
    "msg=\"replicating to\"",
    "msg=\"syncing database\"",
    "msg=\"one-shot replication complete\"",
    "msg=\"replication complete, litestream shutting down\"",
    "msg=\"subprocess exited, litestream shutting down\"",
    "msg=\"litestream shut down\"",
    "msg=\"database exists, skipping restore\"",
    "msg=\"attempting restore before replication\"",
    "msg=\"restore completed\"",
    "msg=\"no backup found, starting fresh\"",
    "\"msg\":\"litestream\"",
    "\"msg\":\"initialized db\"",
    "\"msg\":\"replicating to\"",
    "\"msg\":\"syncing database\"",
    "\"msg\":\"one-shot replication complete\"",
    "\"msg\":\"litestream shut down\"",
};

}  // namespace litestream
