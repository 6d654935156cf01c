#!/usr/bin/env bash
# Installs what building and testing needs: Debian 12 packages, and the npm packages pinned in
# package-lock.json (SQLite's amalgamation, the stock SQLite extension that reads our replicas in a
# test, a server of Azure Blob Storage). Installs only what is missing, so that a second call does
# nothing and needs no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
  # Building.
  g++ cmake ninja-build git python3
  libfmt-dev liblz4-dev libyaml-cpp-dev nlohmann-json3-dev prometheus-cpp-dev
  libcurl4-openssl-dev libssl-dev libpugixml-dev
  libssh-dev libnats-dev
  # Tests and benchmarks.
  libgtest-dev libgmock-dev libbenchmark-dev sqlite3 lz4 openssl
  # A real S3 server for the tests of that backend.
  radosgw ceph-mon ceph-osd
  # Servers of SFTP, NATS and WebDAV: tests start instances of their own.
  openssh-server openssh-client nats-server apache2-bin
  # Another client of many stores, and a server of some.
  rclone
  # A server of HTTP/2.
  nghttp2-server
  # The simulator: calls that stand still in the middle. ucontext makes two system calls a switch.
  libboost-context-dev
  # Fuzzing, static checks, formatting.
  clang-14 clang-tidy-14 clang-format-14 libclang-rt-14-dev
  # npm, over TLS.
  ca-certificates
)
# Where nodejs is not Debian's, it brings npm and conflicts with Debian's package of that name.
command -v npm >/dev/null || packages+=(npm)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} > 0)); then
  as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || {
      echo "These Debian packages are missing: ${missing[*]}" >&2
      echo "Install them, or run this as root or with sudo installed." >&2
      exit 1
    }
    as_root=(sudo)
  fi
  echo "installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

# npm keeps a lock file of what it installed; the same packages there: nothing to do.
if ! python3 tools/npm_packages_match.py package-lock.json node_modules/.package-lock.json; then
  echo "installing npm packages from package-lock.json"
  # No install scripts run: we want sources, one binary and one server of plain JavaScript, not a
  # build. Messages about engines are about packages that nobody runs in Node here.
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
fi
