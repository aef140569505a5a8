#!/usr/bin/env bash
# RabbitMQ 4 as Debian 13 packages it, unpacked into a folder with its Erlang and the libraries of both, beside what is installed, which stays as it is:
# `tests/rabbitmq-4.sh FOLDER`. The tests start it with FANFARE_TEST_RABBITMQ=FOLDER. Needs patchelf.
set -euo pipefail

PACKAGES=(erlang-{asn1,base,crypto,eldap,inets,mnesia,os-mon,parsetools,public-key,runtime-tools,ssl,syntax-tools,tools,xmerl} rabbitmq-server)
LIBRARIES=(libc6 libcap2 libgcc-s1 libssl3t64 libstdc++6 libsystemd0 libtinfo6 libzstd1 zlib1g)

folder=$(realpath --canonicalize-missing "$1")
if [[ -e $folder/complete ]]; then
  exit
fi
rm --recursive --force "$folder"
mkdir --parents "$folder"/apt/{lists,cache/archives}/partial

# The machine's own mirror, asked for the other release by lists of its own.
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort --unique)
if ! mirror=$(grep --max-count=1 '/debian/$' <<<"$mirrors"); then
  echo "None of this machine's package sources is a mirror of Debian (…/debian/), from which RabbitMQ 4 would be taken: ${mirrors:-there are none}" >&2
  exit 1
fi
architecture=$(dpkg --print-architecture)
echo "deb [arch=$architecture signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$folder/apt/sources.list"
touch "$folder/apt/status"
apt() {
  apt-get --quiet --quiet --option Dir::Etc::SourceList="$folder/apt/sources.list" --option Dir::Etc::SourceParts=- \
    --option Dir::State::Lists="$folder/apt/lists" --option Dir::State::Status="$folder/apt/status" --option Dir::Cache="$folder/apt/cache" \
    --option APT::Architecture="$architecture" --option APT::Sandbox::User=root "$@"
}
apt update
(cd "$folder/apt" && apt download "${PACKAGES[@]}" "${LIBRARIES[@]}")
for package in "$folder"/apt/*.deb; do
  dpkg-deb --extract "$package" "$folder"
done
rm --recursive "$folder/apt"

# Its programs take its own libraries, also those that the libraries need themselves.
libraries=$(echo "$folder"/usr/lib/*-linux-gnu)
find "$folder/usr/lib/erlang" -type f \( -perm -u+x -o -name '*.so' \) -print0 | while IFS= read -r -d '' file; do
  [[ $(head --bytes=4 "$file" | tail --bytes=3) == ELF ]] || continue
  patchelf --force-rpath --set-rpath "$libraries" "$file"
  [[ $file == *.so ]] || patchelf --set-interpreter "$libraries/$(basename "$(patchelf --print-interpreter "$file")")" "$file"
done
sed --in-place "s|=/usr/lib/erlang|=$folder/usr/lib/erlang|" "$folder/usr/lib/erlang/bin/erl"
touch "$folder/complete"
