#!/usr/bin/env bash
# Measures Fanfare beside Nchan (from Debian's packages) and Sockudo (from crates.io, into the target folder), which are installed where they are
# not there, and started privately for each measurement:
#
#     bench/beside-peers.sh --rounds 3 --json peers.json
#
# Needs a release build of the workspace. What cannot be installed is left out, and said.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath "${CARGO_TARGET_DIR:-target}")
peers=()

install() {
  local as_root=(env DEBIAN_FRONTEND=noninteractive)
  ((EUID == 0)) || as_root=(sudo "${as_root[@]}")
  # The package starts what it installs, and nothing is to listen that nobody asked for.
  local starts=()
  if [[ -d /run/systemd/system ]] && ! systemctl cat nginx.service >/dev/null 2>&1; then
    starts=(nginx.service)
    "${as_root[@]}" systemctl mask --runtime "${starts[@]}"
  fi
  "${as_root[@]}" apt-get update
  "${as_root[@]}" apt-get install --yes --no-install-recommends "$@"
  if ((${#starts[@]} != 0)); then
    "${as_root[@]}" systemctl unmask --runtime "${starts[@]}"
    "${as_root[@]}" systemctl disable "${starts[@]}" || true
  fi
}

# Debian packages that its build uses.
install_sockudo() {
  install cmake libprotobuf-dev libssl-dev pkg-config protobuf-compiler && cargo install sockudo --locked --root "$target/peers"
}

if [[ -e /usr/lib/nginx/modules/ngx_nchan_module.so ]] || install nginx libnginx-mod-nchan; then
  peers+=(--nchan)
else
  echo "Nchan cannot be installed (Debian's nginx and libnginx-mod-nchan): it is left out"
fi

sockudo=$target/peers/bin/sockudo
if [[ -x $sockudo ]] || install_sockudo; then
  peers+=(--sockudo "$sockudo")
else
  echo "Sockudo cannot be installed from the registry: it is left out"
fi

"$target/release/fanfare-bench" suite paced flat-out idle "${peers[@]}" "$@"
