#!/usr/bin/env bash
# Everything that a change must pass: formatting, lints, unit tests, then the black-box tests against the real binary.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian packages that the tests use: a compiler for SQLite, a browser with a font, system call traces, a second database engine, a client for the README.
PACKAGES=(chromium curl fonts-dejavu-core gcc libc6-dev postgresql strace)

install_packages() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    return
  fi
  echo "Installing ${missing[*]}"
  local as_root=(env DEBIAN_FRONTEND=noninteractive)
  if ((EUID != 0)); then
    as_root=(sudo "${as_root[@]}")
  fi
  "${as_root[@]}" apt-get update
  "${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
}

step() {
  echo
  echo "== $*"
  "$@"
}

install_packages
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
# The same targets as those of the tests, so that dependencies are built once; it leaves the binary that the black-box tests start.
step cargo build --workspace --all-targets --locked
step cargo test --workspace --locked --doc
step cargo test --workspace --locked --lib --bins
step cargo test --workspace --locked --test it
