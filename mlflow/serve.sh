#!/usr/bin/env bash
# Servers on this machine, for its user alone: `mlflow/serve.sh start` starts Prefect's server, MLflow's server and a
# worker, `mlflow/serve.sh stop` ends them, and `mlflow/serve.sh ui` serves MLflow's pages until it is interrupted.
# PREFECT_PORT and MLFLOW_PORT choose the ports, PREFECT_FILE the deployments, SERVE_HOME the folder of the logs, of
# the password and of Prefect's database.
set -euo pipefail
set -m # each program runs in its own process group, which `stop` ends as a whole

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bin=$(cd "${BIN:-.venv/bin}" && pwd)
home=${SERVE_HOME:-$root/mlflow/serve}
user=triptych
# No telemetry, and no proxy for servers on this machine.
export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true
export NO_PROXY=127.0.0.1,${NO_PROXY:-} no_proxy=127.0.0.1,${no_proxy:-}

fail() {
  echo "serve: $1" >&2
  exit 2
}

# pid_of NAME: its pid, if the process with that number is still the one that was started here.
pid_of() {
  local pid command
  { read -r pid && read -r command; } 2>/dev/null <"$home/$1.pid" || return 1
  [[ $(ps -ww -o args= -p "$pid") == *"$command" ]] && echo "$pid"
}

# group_of NAME: its process group, if any program of this checkout is left in it: those that the one which was started
# here has started live on where it was killed, and hold its port.
group_of() {
  local pid
  { read -r pid; } 2>/dev/null <"$home/$1.pid" || return 1
  pgrep --pgroup "$pid" --full "$bin/" >/dev/null && echo "$pid"
}

# launch NAME PROGRAM ARGUMENTS...: start a program in the background, with a log file and a pid file.
launch() {
  local name=$1
  shift
  nohup "$bin/$1" "${@:2}" >"$home/$name.log" 2>&1 </dev/null &
  printf '%s\n' "$!" "$bin/$*" >"$home/$name.pid"
  disown "$!"
}

# wait_for NAME COMMAND...: wait until the command succeeds; fail if the program ends first.
wait_for() {
  local name=$1
  shift
  for _ in {1..360}; do
    "$@" && return
    sleep 0.5
    pid_of "$name" >/dev/null || fail "$name ended before it was ready: see $home/$name.log"
  done
  fail "$name was not ready after three minutes: see $home/$name.log"
}

answers() {
  "$bin/python" -c 'import sys, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=5)' \
    "$1" 2>/dev/null
}

is_free() {
  "$bin/python" -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null
}

check_port() { # PORT VARIABLE TARGET
  is_free "$1" ||
    fail "port $1 is in use or invalid: stop the program that uses it, or choose another with \`make $3 $2=...\`"
}

random() {
  "$bin/python" -c 'import secrets; print(secrets.token_urlsafe(32))'
}

# Read the password of both servers, which the first start makes. Other users of the machine read neither this folder
# nor the environment of the programs, but they do read command lines: the password is never on one.
open_home() {
  mkdir -p "$home"
  chmod 700 "$home"
  [ -s "$home/password" ] || random >"$home/password"
  chmod 600 "$home/password"
  password=$(<"$home/password")
}

# The address that a page may have: its own.
origins() { # PORT
  echo "http://127.0.0.1:$1,http://localhost:$1"
}

# With a password, Prefect's newer page would load a script for statistics from elsewhere; the older one loads nothing.
launch_prefect() {
  PREFECT_SERVER_UI_V2_ENABLED=false PREFECT_SERVER_API_AUTH_STRING=$user:$password PREFECT_SERVER_CSRF_PROTECTION_ENABLED=true \
    PREFECT_SERVER_CORS_ALLOWED_ORIGINS=$(origins "$prefect_port") \
    launch prefect prefect server start --host 127.0.0.1 --port "$prefect_port"
}

launch_mlflow() { # NAME
  # Its only user is made anew at each start, so that the password is the one of the file.
  rm -f "$home/$1-users.db"
  cat >"$home/$1.ini" <<END
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///$home/$1-users.db
authorization_function = triptych.origins:authenticate
auth_cache_ttl_seconds = 3600
END
  MLFLOW_AUTH_CONFIG_PATH=$home/$1.ini MLFLOW_AUTH_ADMIN_USERNAME=$user MLFLOW_AUTH_ADMIN_PASSWORD=$password \
    MLFLOW_FLASK_SERVER_SECRET_KEY=$(random) MLFLOW_BASIC_AUTH_FAIL_CLOSED=true \
    MLFLOW_SERVER_ALLOWED_HOSTS=127.0.0.1:$mlflow_port,localhost:$mlflow_port \
    MLFLOW_SERVER_CORS_ALLOWED_ORIGINS=$(origins "$mlflow_port") MLFLOW_SERVER_X_FRAME_OPTIONS=DENY \
    launch "$1" mlflow --env-file mlflow/server.env server --app-name basic-auth --host 127.0.0.1 --port "$mlflow_port"
}

# What clients of the servers need: the worker, `prefect deploy`, and the user's own commands.
use_servers() {
  export PREFECT_API_AUTH_STRING=$user:$password MLFLOW_TRACKING_URI=$mlflow_page
  export MLFLOW_TRACKING_USERNAME=$user MLFLOW_TRACKING_PASSWORD=$password
}

write_env() {
  local name
  for name in PREFECT_API_URL PREFECT_API_AUTH_STRING MLFLOW_TRACKING_{URI,USERNAME,PASSWORD}; do
    printf 'export %s=%q\n' "$name" "${!name}"
  done >"$home/env"
}

deploy() {
  "$bin/prefect" --no-prompt deploy --all --prefect-file "${PREFECT_FILE:-prefect.yaml}" >"$home/deploy.log" 2>&1 ||
    fail "prefect deploy failed: see $home/deploy.log"
}

wait_for_group() { # PID
  for _ in {1..60}; do
    kill -0 -- "-$1" 2>/dev/null || break
    sleep 0.5
  done
}

end() { # NAME
  local pid
  if pid=$(group_of "$1"); then
    kill -TERM -- "-$pid"
    wait_for_group "$pid"
    kill -KILL -- "-$pid" 2>/dev/null || true
    ended="${ended:-} $1"
  fi
  rm -f "$home/$1.pid"
}

# Runs close themselves in both servers, while these and the worker are still there; `start` then continues them.
end_runs() {
  local worker
  worker=$(pid_of worker) && pkill -TERM --parent "$worker" || return 0
  for _ in {1..120}; do
    pgrep --parent "$worker" >/dev/null || break
    sleep 0.5
  done
}

end_all() {
  end_runs
  for name in worker mlflow prefect; do end "$name"; done
}

choose_ports() {
  prefect_port=${PREFECT_PORT:-4200}
  mlflow_port=${MLFLOW_PORT:-5000}
  prefect_page=http://127.0.0.1:$prefect_port
  mlflow_page=http://127.0.0.1:$mlflow_port
  # A separate home for Prefect, so that other deployments on this machine neither run here nor are changed.
  export PREFECT_HOME=$home/prefect
  export PREFECT_API_URL=$prefect_page/api
  export PREFECT_SERVER_UI_API_URL=$PREFECT_API_URL # otherwise the page calls port 4200
}

start() {
  choose_ports
  if pid_of prefect >/dev/null && pid_of mlflow >/dev/null && pid_of worker >/dev/null; then
    echo "The servers are running already; \`make stop\` stops them."
    return
  fi
  end_all
  [ "$prefect_port" != "$mlflow_port" ] || fail "PREFECT_PORT and MLFLOW_PORT are both $mlflow_port: choose two ports"
  check_port "$prefect_port" PREFECT_PORT serve
  check_port "$mlflow_port" MLFLOW_PORT serve
  open_home
  mkdir -p "$PREFECT_HOME"
  trap end_all EXIT
  launch_prefect
  launch_mlflow mlflow
  wait_for prefect answers "$prefect_page/api/health"
  wait_for mlflow answers "$mlflow_page/health"
  use_servers
  write_env
  export MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false MPLBACKEND=Agg
  launch worker prefect worker start --pool local-process --type process --name "serve-$prefect_port"
  wait_for worker grep -q "started!" "$home/worker.log"
  deploy
  trap - EXIT
  cat <<END
Prefect  $prefect_page
MLflow   $mlflow_page
The worker runs what is scheduled, or started on Prefect's page. Logs are in $home.
Both pages ask for a password, which is in $home/password:
Prefect's for $user:PASSWORD, MLflow's for the user $user and PASSWORD.
For your own commands: source $home/env
END
}

stop() {
  end_all
  echo "Stopped:${ended:- nothing, because nothing of this checkout was running}"
}

ui() {
  mlflow_port=${MLFLOW_PORT:-5000}
  if [ -n "${MLFLOW_PORT:-}" ]; then
    check_port "$mlflow_port" MLFLOW_PORT ui
  elif ! is_free "$mlflow_port"; then
    mlflow_port=$("$bin/python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
  fi
  mlflow_page=http://127.0.0.1:$mlflow_port
  open_home
  trap "end ui-$mlflow_port" EXIT
  launch_mlflow "ui-$mlflow_port"
  set +m # so that Ctrl-C ends the wait
  wait_for "ui-$mlflow_port" answers "$mlflow_page/health"
  use_servers
  echo "MLflow   $mlflow_page"
  "$bin/triptych" show --link
  echo "The page asks for the user $user and a password, which is in $home/password. Ctrl-C ends the server."
  while pid_of "ui-$mlflow_port" >/dev/null; do sleep 1; done
  fail "ui ended: see $home/ui-$mlflow_port.log"
}

case ${1:-} in
start | stop | ui) "$1" ;;
*) fail "unknown command \`${1:-}\`: use start, stop or ui" ;;
esac
