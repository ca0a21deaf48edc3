#!/usr/bin/env bash
# Prefect's server, MLflow's server and a worker on this machine: `mlflow/serve.sh start`, `mlflow/serve.sh stop`.
# PREFECT_PORT and MLFLOW_PORT choose the ports, PREFECT_FILE the deployments, SERVE_HOME the folder of the logs and of
# Prefect's database.
set -euo pipefail
set -m # each program leads a process group of its own, which `stop` ends as a whole

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bin=$(cd "${BIN:-.venv/bin}" && pwd)
home=${SERVE_HOME:-$root/mlflow/serve}
export MLFLOW_PORT=${MLFLOW_PORT:-5000}
prefect_port=${PREFECT_PORT:-4200}
prefect_page=http://127.0.0.1:$prefect_port
mlflow_page=http://127.0.0.1:$MLFLOW_PORT

# Prefect has a home here, so that nothing else that somebody scheduled on this machine runs or is changed.
export PREFECT_HOME=$home/prefect
export PREFECT_API_URL=$prefect_page/api
export PREFECT_SERVER_UI_API_URL=$PREFECT_API_URL # else the page looks at port 4200
# Nothing phones home, and what is on this machine is not asked through a proxy.
export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true
export NO_PROXY=127.0.0.1,${NO_PROXY:-} no_proxy=127.0.0.1,${no_proxy:-}

fail() {
  echo "serve: $1" >&2
  exit 2
}

# pid_of NAME: its pid, if the process of that number is still the one that was started here.
pid_of() {
  local pid command
  { read -r pid && read -r command; } 2>/dev/null <"$home/$1.pid" || return 1
  [[ $(ps -ww -o args= -p "$pid") == *"$command" ]] && echo "$pid"
}

# launch NAME PROGRAM ARGUMENTS...: start one in the background, with a log file and a pid file.
launch() {
  local name=$1
  shift
  nohup "$bin/$1" "${@:2}" >"$home/$name.log" 2>&1 </dev/null &
  printf '%s\n' "$!" "$bin/$*" >"$home/$name.pid"
  disown "$!"
}

# wait_for NAME COMMAND...: wait until the command succeeds; fail where the program ends before.
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
    fail "port $1 is taken or no port: end what listens there, or choose another with \`make serve $2=...\`"
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

# The worker first: runs that it cuts short still tell both servers.
end_all() {
  for name in worker mlflow prefect; do end "$name"; done
}

start() {
  if pid_of prefect >/dev/null && pid_of mlflow >/dev/null && pid_of worker >/dev/null; then
    echo "The servers run already; \`make stop\` ends them."
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
A worker runs what is scheduled or started on Prefect's page; logs are in $home.
For commands of yours: export PREFECT_API_URL=$PREFECT_API_URL MLFLOW_TRACKING_URI=$mlflow_page
END
}

stop() {
  end_all
  echo "Ended:${ended:- nothing, as nothing of this checkout ran}"
}

case ${1:-} in
start | stop) "$1" ;;
*) fail "\`${1:-}\` is no command: use start or stop" ;;
esac
