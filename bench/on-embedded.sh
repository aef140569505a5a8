#!/usr/bin/env bash
# Runs a scenario of `fanfare-bench` against `fanfare serve` on the embedded engines, in a folder that is gone afterwards:
#
#     bench/on-embedded.sh publish --connections 64
#
# Needs a release build (PROFILE=debug takes that one). What the scenario may want to know, the id of the process, stands in a variable that it reads.
set -euo pipefail
cd "$(dirname "$0")/.."

built=${CARGO_TARGET_DIR:-target}/${PROFILE:-release}
folder=$(mktemp --directory)

clean_up() {
  kill "$BENCH_PIDS" 2>/dev/null || true
  wait "$BENCH_PIDS" 2>/dev/null || true
  rm --recursive --force "$folder"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# It offers more than the plan `default` takes.
case ${1:-} in
  publish) export FANFARE_PLAN_DEFAULT=${FANFARE_PLAN_DEFAULT:-unlimited} ;;
esac
url=http://127.0.0.1:$(free_port)
FANFARE_DATA_DIR="$folder" FANFARE_LISTEN="${url#http://}" FANFARE_OPS_LISTEN="127.0.0.1:$(free_port)" "$built/fanfare" serve >"$folder/fanfare.log" 2>&1 &
export BENCH_PIDS=$!
trap clean_up EXIT
for _ in {1..100}; do
  grep --quiet "Fanfare is ready" "$folder/fanfare.log" && break
  sleep 0.1
done
grep --quiet "Fanfare is ready" "$folder/fanfare.log" || { cat "$folder/fanfare.log" >&2; exit 1; }

"$built/fanfare-bench" --url "$url" "$@"
