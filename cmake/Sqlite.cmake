# SQLite, built static from the amalgamation inside the npm package
# better-sqlite3 (pinned with its integrity hash in package-lock.json), or the
# system's with -DLITESTREAM_SYSTEM_SQLITE=ON.
option(LITESTREAM_SYSTEM_SQLITE "Link the system's SQLite instead of the pinned one" OFF)

if(LITESTREAM_SYSTEM_SQLITE)
  find_package(SQLite3 REQUIRED)
  include(CheckSymbolExists)
  set(CMAKE_REQUIRED_LIBRARIES SQLite::SQLite3)
  check_symbol_exists(sqlite3_snapshot_get "sqlite3.h" LITESTREAM_HAVE_SNAPSHOT)
  unset(CMAKE_REQUIRED_LIBRARIES)
  if(NOT LITESTREAM_HAVE_SNAPSHOT)
    message(FATAL_ERROR "The system's SQLite has no sqlite3_snapshot_get; capture needs it. "
                        "Build with -DLITESTREAM_SYSTEM_SQLITE=OFF.")
  endif()
  if(SQLite3_VERSION VERSION_LESS 3.51.3)
    message(WARNING "SQLite ${SQLite3_VERSION} has the WAL-reset bug (fixed in 3.51.3).")
  endif()
  add_library(ls_sqlite3 INTERFACE)
  target_link_libraries(ls_sqlite3 INTERFACE SQLite::SQLite3)
else()
  set(sqlite_dir ${PROJECT_SOURCE_DIR}/node_modules/better-sqlite3/deps/sqlite3)
  if(NOT EXISTS ${sqlite_dir}/sqlite3.c)
    message(FATAL_ERROR "${sqlite_dir}/sqlite3.c is missing; run `make deps`.")
  endif()
  add_library(ls_sqlite3 STATIC ${sqlite_dir}/sqlite3.c)
  target_include_directories(ls_sqlite3 SYSTEM PUBLIC ${sqlite_dir})
  # ENABLE_SNAPSHOT: exact change test and leapfrog (docs/decisions/). No
  # lookaside and no page cache preallocation: 10,000 connections must be small.
  target_compile_definitions(ls_sqlite3 PUBLIC SQLITE_ENABLE_SNAPSHOT=1)
  target_compile_definitions(ls_sqlite3 PRIVATE
    SQLITE_THREADSAFE=1 SQLITE_DQS=0 SQLITE_OMIT_DEPRECATED SQLITE_OMIT_LOAD_EXTENSION
    SQLITE_OMIT_SHARED_CACHE SQLITE_DEFAULT_MEMSTATUS=0 SQLITE_DEFAULT_LOOKASIDE=0,0
    SQLITE_DEFAULT_PCACHE_INITSZ=0 SQLITE_DEFAULT_CACHE_SIZE=-64 SQLITE_MAX_MMAP_SIZE=0
    SQLITE_LIKE_DOESNT_MATCH_BLOBS SQLITE_USE_URI=0)
  target_compile_options(ls_sqlite3 PRIVATE -w -O2)
  target_link_libraries(ls_sqlite3 PUBLIC Threads::Threads m)
endif()
