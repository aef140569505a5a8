#!/usr/bin/env bash
# Runs a scenario of `fanfare-bench` against `fanfare serve` on private production engines, which are gone afterwards:
#
#     bench/on-production.sh flood --seconds 5
#     GATEWAYS=2 bench/on-production.sh run paced
#
# With GATEWAYS there are an API, that many gateways and a worker in place of `fanfare serve`. `run` is told every process; what other scenarios
# may want to know, the ids of the processes and where the engines are, stands in variables that they read.
# Needs Debian's postgresql, rabbitmq-server and redis-server, and a release build (PROFILE=debug takes that one).
set -euo pipefail
cd "$(dirname "$0")/.."

built=${CARGO_TARGET_DIR:-target}/${PROFILE:-release}
postgres=$(ls -d /usr/lib/postgresql/*/bin | sort --version-sort | tail -1)
folder=$(mktemp --directory)
running=()

clean_up() {
  local pid
  for pid in "${running[@]}"; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm --recursive --force "$folder"
}
trap clean_up EXIT

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until a line of a log says so; gives up with the log.
until_said() {
  local _
  for _ in {1..600}; do
    grep --quiet "$2" "$folder/$1.log" && return
    sleep 0.1
  done
  cat "$folder/$1.log" >&2
  return 1
}

# Starts a program with its output in a log of that name.
start() {
  local name=$1
  shift
  : >"$folder/$name.log"
  "$@" >"$folder/$name.log" 2>&1 &
  running=("$!" "${running[@]}")
}

chmod 755 "$folder"
database_port=$(free_port) redis_port=$(free_port) amqp_port=$(free_port) names_port=$(free_port)

# Postgres refuses to run as root.
as_owner=()
mkdir "$folder/postgres" "$folder/rabbitmq"
if ((EUID == 0)); then
  as_owner=(setpriv --reuid postgres --regid postgres --clear-groups)
  chown postgres: "$folder/postgres"
fi
(cd "$folder/postgres" && "${as_owner[@]}" "$postgres/initdb" --auth=trust --username=postgres --encoding=UTF8 --pgdata="$folder/postgres/data" >/dev/null)
start database "${as_owner[@]}" "$postgres/postgres" -D "$folder/postgres/data" -k "$folder/postgres" -p "$database_port" -c listen_addresses=127.0.0.1 \
  -c max_connections=300

start redis redis-server --bind 127.0.0.1 --port "$redis_port" --save "" --appendonly no --dir "$folder"

start names epmd -debug -address 127.0.0.1 -port "$names_port"
printf 'listeners.tcp.1 = 127.0.0.1:%s\ndisk_free_limit.absolute = 50MB\n' "$amqp_port" >"$folder/rabbitmq/rabbitmq.conf"
echo '[].' >"$folder/rabbitmq/enabled_plugins"
start rabbitmq env HOME="$folder/rabbitmq" RABBITMQ_NODENAME="bench$amqp_port@localhost" RABBITMQ_MNESIA_BASE="$folder/rabbitmq/mnesia" \
  RABBITMQ_LOG_BASE="$folder/rabbitmq/log" RABBITMQ_CONF_ENV_FILE="$folder/rabbitmq/env.conf" RABBITMQ_CONFIG_FILE="$folder/rabbitmq/rabbitmq.conf" \
  RABBITMQ_ADVANCED_CONFIG_FILE="$folder/rabbitmq/advanced.config" RABBITMQ_GENERATED_CONFIG_DIR="$folder/rabbitmq/generated" \
  RABBITMQ_ENABLED_PLUGINS_FILE="$folder/rabbitmq/enabled_plugins" RABBITMQ_PLUGINS_EXPAND_DIR="$folder/rabbitmq/plugins" \
  RABBITMQ_PID_FILE="$folder/rabbitmq/pid" RABBITMQ_DIST_PORT="$(free_port)" ERL_EPMD_PORT="$names_port" ERL_EPMD_ADDRESS=127.0.0.1 \
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" /usr/lib/rabbitmq/bin/rabbitmq-server

until_said database "ready to accept connections"
until_said redis "Ready to accept connections"
until_said rabbitmq "Starting broker... completed"

export FANFARE_DATABASE_URL="postgres://postgres@127.0.0.1:$database_port/postgres" FANFARE_REDIS_URL="redis://127.0.0.1:$redis_port"
export FANFARE_AMQP_URL="amqp://guest:guest@127.0.0.1:$amqp_port/%2f" FANFARE_DATA_DIR="$folder/fanfare"
FANFARE_MASTER_KEY=$(openssl rand -hex 32)
export FANFARE_MASTER_KEY
# Load from files, and what a publish costs, are not meant to meet the limits of a plan; the other scenarios are about them.
case $1 in
  run | publish | durable-latency) export FANFARE_PLAN_DEFAULT=${FANFARE_PLAN_DEFAULT:-unlimited} ;;
esac
export BENCH_ENGINE_PIDS=rabbitmq=${running[0]},redis=${running[2]},postgres=${running[3]} BENCH_PIDS=

# Starts a role of Fanfare under a name of its own; its address is in `url`, its process in `told`.
serve() {
  url=http://127.0.0.1:$(free_port)
  start "$2" env FANFARE_LISTEN="${url#http://}" FANFARE_OPS_LISTEN="127.0.0.1:$(free_port)" "$built/fanfare" "$1"
  told+=(--pid "$1=${running[0]}")
  BENCH_PIDS+=${BENCH_PIDS:+,}${running[0]}
  until_said "$2" "Fanfare is ready"
}

told=()
if [[ -z ${GATEWAYS:-} ]]; then
  serve serve fanfare
else
  "$built/fanfare" migrate
  serve worker worker
  for number in $(seq "$GATEWAYS"); do
    serve gateway "gateway-$number"
    told+=(--gateway-url "$url")
  done
  serve api api
fi
[[ $1 == run ]] || told=()

"$built/fanfare-bench" --url "$url" "$@" "${told[@]}"
