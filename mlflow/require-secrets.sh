#!/bin/sh
# require-secrets.sh NAME... [-- COMMAND...]: run the command, unless one of these secrets is missing, short, or still
# that of an example. The units and compose.yaml start their programs after it.
refused=
while [ $# -gt 0 ]; do
  name=$1
  shift
  [ "$name" != -- ] || break
  value=$(printenv "$name")
  case $name in *_AUTH_STRING) value=${value#*:} ;; esac
  case $value in
  *change-me*) refused="$refused $name" ;;
  ????????????*) ;;
  *) refused="$refused $name" ;;
  esac
done
if [ -n "$refused" ]; then
  echo "triptych: not started, set a secret of your own, of 12 characters or more:$refused" >&2
  exit 2
fi
[ $# -eq 0 ] || exec "$@"
