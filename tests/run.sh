#!/usr/bin/env bash
# Everything that a change must pass: formatting, lints, the TypeScript client, unit tests, then the black-box tests against the real binary, on both
# sets of engines and both ways to the wire.
# `tests/run.sh chaos` makes faults at random instead, for CHAOS_MINUTES, from CHAOS_SEED.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian packages that the tests use: a compiler for SQLite, a browser with a font, system call traces, a client for the README, reverse proxies, the production engines, and what
# fits a second RabbitMQ to its own libraries.
PACKAGES=(chromium curl fonts-dejavu-core gcc haproxy libc6-dev nginx patchelf postgresql rabbitmq-server redis-server strace)

# Those of them that are services, called as their packages.
SERVICES=(haproxy nginx postgresql rabbitmq-server redis-server)

# What the black-box tests on production engines leave out: what starts no server by itself, is about the embedded engines or about one process
# alone, or starts its own engines. Everything else runs on both.
ONCE=(chaos:: cli:: cluster:: demo_page:: docs:: durability:: engines:: operations::a_server_that_cannot_store pusher::clients::stock_clients_find_everything_across rfc6455:: stores:: tidy:: tls:: tracing::)

# What is run a second time with sockets on the other way to the wire, which the HTTP server carries.
MOUNTED=(drains::each_client order:: outboxes:: pipelining:: pusher::sockets:: refreshing:: retention:: rfc6455:: subscriptions:: tls:: tokens::)

# What takes all of the machine, and is run by itself: beside it, others would find their servers slow, and it would find its own so.
ALONE=(chaos:: cluster::drains:: cluster::pusher::five_hundred cluster::resumes:: cluster::revoked_flows::)

# What a broker is most likely to tell apart, run again on the next one.
BROKERS=(cluster::rabbitmq:: cluster::workers:: engines::rabbitmq:: stores::queue:: stores::rabbitmq::)

# The longest that one run of the black-box tests may take where nobody sits before it; they take a quarter of it. Tests bound their waits themselves:
# this ends one that does not, which has then been named as running for over 60 seconds.
BOUND=()
[[ -t 0 ]] || BOUND=(timeout 40m)

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
  # The packages start what they install. The tests start servers of their own, and none is to listen that nobody asked for: where there is an init
  # that would obey, the units are masked for the time of the install, and what is new does not start with the machine either.
  local units=() unit
  if [[ -d /run/systemd/system ]]; then
    for unit in "${SERVICES[@]}"; do
      [[ " ${missing[*]} " == *" $unit "* ]] && units+=("$unit.service")
    done
  fi
  ((${#units[@]} == 0)) || "${as_root[@]}" systemctl mask --runtime "${units[@]}"
  "${as_root[@]}" apt-get update
  "${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
  if ((${#units[@]} != 0)); then
    "${as_root[@]}" systemctl unmask --runtime "${units[@]}"
    "${as_root[@]}" systemctl disable "${units[@]}"
  fi
}

# Stock clients of Pusher, by Node and by Python, as their registries have them. Debian's Python comes without what makes environments.
install_libraries() {
  local python=${CARGO_TARGET_DIR:-target}/pusher-python stamp
  if [[ ! tests/pusher/node_modules/.package-lock.json -nt tests/pusher/package-lock.json ]]; then
    npm ci --prefix tests/pusher --no-audit --no-fund
    touch tests/pusher/node_modules/.package-lock.json
  fi
  stamp=$python/requirements.txt
  if ! cmp --silent tests/pusher/requirements.txt "$stamp"; then
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check --requirement tests/pusher/requirements.txt
    cp tests/pusher/requirements.txt "$stamp"
  fi
}

# The build before this one, for the test of a rolling upgrade: `tests/previous` names its commit. Dependencies are those of this build for
# the most part, so that little is compiled twice.
build_previous() {
  local commit target=${CARGO_TARGET_DIR:-target} source
  commit=$(<tests/previous)
  if [[ -e $target/previous-$commit ]]; then
    return
  fi
  if ! git cat-file -e "$commit^{commit}"; then
    echo "The commit $commit is not in this clone (a shallow one?): the rolling upgrade is from this build to itself"
    return
  fi
  source=$(mktemp --directory)
  git archive "$commit" | tar --extract --directory "$source"
  cargo build --manifest-path "$source/Cargo.toml" --target-dir "$target" --locked --package fanfare
  cp "$target/debug/fanfare" "$target/debug/fanfare-previous"
  touch "$target/previous-$commit"
  rm --recursive "$source"
}

# The TypeScript client, against the binary that was built; Node.js 20 or newer and npm are there already.
test_sdk() {
  local binary
  binary=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/fanfare
  npm --prefix sdk/js ci --no-progress
  npm --prefix sdk/js run lint
  npm --prefix sdk/js run build
  npm --prefix sdk/js run size
  npm --prefix sdk/js run docs
  FANFARE_BIN=$binary npm --prefix sdk/js test
}

step() {
  echo
  echo "== $*"
  "$@"
}

# Runs tests, and says once more at the very end what those that failed panicked with: before it stands all that their servers had to say.
tests() {
  local output
  output=$(mktemp)
  if step "$@" 2>&1 | tee "$output"; then
    rm "$output"
    return
  fi
  echo
  echo "== What failed, in short"
  awk '/^---- .* stdout ----$/ { print; next } /^thread .* panicked at/ { lines = 6 } lines-- > 0 { print substr($0, 1, 1000) }' "$output"
  grep '^test result: ' "$output" || true
  rm "$output"
  return 1
}

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  PACKAGES+=(python3 python3-venv)
fi
install_packages
if [[ "${1:-}" == chaos ]]; then
  step cargo build --workspace --all-targets --locked
  step cargo test --workspace --locked --test it -- --nocapture chaos::run
  exit
fi
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
step install_libraries
rabbitmq_4=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/rabbitmq-4
step tests/rabbitmq-4.sh "$rabbitmq_4"
step build_previous
# The same targets as those of the tests, so that dependencies are built once; it leaves the binary that the black-box tests start.
step cargo build --workspace --all-targets --locked
# Before the black-box tests, one of which runs the client that is built here.
step test_sdk
tests cargo test --workspace --locked --doc
tests cargo test --workspace --locked --lib --bins
tests "${BOUND[@]}" cargo test --workspace --locked --test it -- "${ALONE[@]/#/--skip=}"
tests "${BOUND[@]}" cargo test --workspace --locked --test it -- --test-threads=1 "${ALONE[@]}"
tests env FANFARE_TEST_RABBITMQ="$rabbitmq_4" "${BOUND[@]}" cargo test --workspace --locked --test it -- "${BROKERS[@]}"
tests env FANFARE_TEST_RABBITMQ="$rabbitmq_4" FANFARE_TEST_ENGINES=production "${BOUND[@]}" \
  cargo test --workspace --locked --test it -- "${ONCE[@]/#/--skip=}"
tests env FANFARE_WIRE=mounted "${BOUND[@]}" cargo test --workspace --locked --test it -- "${MOUNTED[@]}"
