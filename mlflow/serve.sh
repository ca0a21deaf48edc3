#!/usr/bin/env bash
# Prefect's server, MLflow's server and a worker on this machine: `mlflow/serve.sh start`, `mlflow/serve.sh stop`.
# PREFECT_PORT and MLFLOW_PORT choose the ports, PREFECT_FILE the deployments, SERVE_HOME the folder of the logs and of
# Prefect's database.
set -euo pipefail
set -m # each program runs in its own process group, which `stop` ends as a whole

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bin=$(cd "${BIN:-.venv/bin}" && pwd)
home=${SERVE_HOME:-$root/mlflow/serve}
export MLFLOW_PORT=${MLFLOW_PORT:-5000}
prefect_port=${PREFECT_PORT:-4200}
prefect_page=http://127.0.0.1:$prefect_port
mlflow_page=http://127.0.0.1:$MLFLOW_PORT

# A separate home for Prefect, so that other deployments on this machine neither run here nor are changed.
export PREFECT_HOME=$home/prefect
export PREFECT_API_URL=$prefect_page/api
export PREFECT_SERVER_UI_API_URL=$PREFECT_API_URL # otherwise the page calls port 4200
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

check_port() { # PORT VARIABLE
  "$bin/python" -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null ||
    fail "port $1 is in use or invalid: stop the program that uses it, or choose another with \`make serve $2=...\`"
}

deploy() {
  "$bin/prefect" --no-prompt deploy --all --prefect-file "${PREFECT_FILE:-prefect.yaml}" >"$home/deploy.log" 2>&1 ||
    fail "prefect deploy failed: see $home/deploy.log"
}

end() { # NAME
  local pid
  if pid=$(pid_of "$1"); then
    kill -TERM -- "-$pid"
    for _ in {1..60}; do
      kill -0 -- "-$pid" 2>/dev/null || break
      sleep 0.5
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
    ended="${ended:-} $1"
  fi
  rm -f "$home/$1.pid"
}

# The worker first, so that runs which it interrupts can still reach both servers.
end_all() {
  for name in worker mlflow prefect; do end "$name"; done
}

start() {
  if pid_of prefect >/dev/null && pid_of mlflow >/dev/null && pid_of worker >/dev/null; then
    echo "The servers are running already; \`make stop\` stops them."
    return
  fi
  end_all
  [ "$prefect_port" != "$MLFLOW_PORT" ] || fail "PREFECT_PORT and MLFLOW_PORT are both $MLFLOW_PORT: choose two ports"
  check_port "$prefect_port" PREFECT_PORT
  check_port "$MLFLOW_PORT" MLFLOW_PORT
  mkdir -p "$PREFECT_HOME"
  trap end_all EXIT
  launch prefect prefect server start --host 127.0.0.1 --port "$prefect_port"
  launch mlflow mlflow --env-file mlflow/server.env server --host 127.0.0.1 --port "$MLFLOW_PORT"
  wait_for prefect answers "$prefect_page/api/health"
  wait_for mlflow answers "$mlflow_page/health"
  export MLFLOW_TRACKING_URI=$mlflow_page MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false MPLBACKEND=Agg
  launch worker prefect worker start --pool local-process --type process --name "serve-$prefect_port"
  wait_for worker grep -q "started!" "$home/worker.log"
  deploy
  trap - EXIT
  cat <<END
Prefect  $prefect_page
MLflow   $mlflow_page
The worker runs what is scheduled, or started on Prefect's page. Logs are in $home.
For your own commands: export PREFECT_API_URL=$PREFECT_API_URL MLFLOW_TRACKING_URI=$mlflow_page
END
}

stop() {
  end_all
  echo "Stopped:${ended:- nothing, because nothing of this checkout was running}"
}

case ${1:-} in
start | stop) "$1" ;;
*) fail "unknown command \`${1:-}\`: use start or stop" ;;
esac
