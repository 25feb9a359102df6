#!/usr/bin/env bash
# Set up what a door of the Makefile needs, on a fresh machine: `tools/setup.sh run|test|check|bench|docs`.
# Everything but Debian's packages lands in ignored folders of this tree. Done steps are remembered in
# .cache/setup by the content they were done for, so that a second call takes no time.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?run, test, check, bench or docs}
case $what in
  run | test | check | bench | docs) ;;
  *) echo "tools/setup.sh: there is no door \`$what\`: run, test, check, bench or docs" >&2; exit 2 ;;
esac
mkdir -p .cache/setup
missing=()

say() { printf '\033[2m· %s\033[0m\n' "$*" >&2; }

# once NAME FILES… -- COMMAND…: run the command unless it was done for these files as they are.
once() {
  local name=$1 files=() mark
  shift
  while [ "$1" != -- ]; do files+=("$1"); shift; done
  shift
  mark=.cache/setup/$name-$(find "${files[@]}" -type f -print0 2>/dev/null | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
  [ -e "$mark" ] && return 0
  say "$name"
  "$@"
  rm -f .cache/setup/"$name"-*
  touch "$mark"
}

need() {
  command -v "$1" >/dev/null 2>&1 || { echo "tidegate: $1 is missing; install $2" >&2; exit 1; }
}

debian() {
  local wanted=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || wanted+=("$package")
  done
  [ ${#wanted[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Debian packages: ${wanted[*]}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}"; } \
      >.cache/apt.log 2>&1 || { missing+=("${wanted[@]}"); tail -n 5 .cache/apt.log >&2; }
  else
    missing+=("${wanted[@]}")
  fi
}

environment() {
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check uv
}

packages() {
  .venv/bin/uv pip install -q --require-hashes -r "requirements/$1.txt"
}

engine() {
  # One engine is installed at a time: whatever was built for another door has to be put back for it.
  rm -f .cache/setup/engine-*
  .venv/bin/maturin develop --profile "$profile" --uv --quiet
}

need python3 "Python 3.11 or newer"
need cargo "Rust (cargo) 1.89 or newer"
once environment requirements/run.txt -- environment
case $what in
  run)
    once packages-run requirements -- packages run
    ;;
  *)
    need npm "Node.js with npm"
    case $what in
      test) debian postgresql nginx-light iproute2 chromium fonts-dejavu-core dbus-daemon gnome-keyring apache2-bin lighttpd lighttpd-mod-openssl redis-server libpangoft2-1.0-0 gnupg ;;
      bench) debian nginx-light haproxy varnish squid trafficserver wrk postgresql redis-server ;;
    esac
    once packages-dev requirements -- packages dev
    once npm package.json package-lock.json -- npm ci --silent --no-progress
    ;;
esac
peers() {
  [ -x .cache/bench-venv/bin/python ] || python3 -m venv .cache/bench-venv
  .venv/bin/uv pip install -q --python .cache/bench-venv/bin/python --require-hashes -r requirements/bench.txt
}
[ "$what" = bench ] && once peers requirements/bench.txt -- peers
fideslang() {
  [ -x .cache/fideslang-venv/bin/python ] || python3 -m venv .cache/fideslang-venv
  .venv/bin/uv pip install -q --python .cache/fideslang-venv/bin/python --require-hashes -r requirements/fideslang.txt
}
[ "$what" = test ] && once fideslang requirements/fideslang.txt -- fideslang
[ "$what" = docs ] && once packages-docs requirements -- packages docs
# As users run it; tests and checks take the profile that is built sooner.
profile=dist
case $what in test | check) profile=tested ;; esac
once "engine-$profile" Cargo.toml Cargo.lock native pyproject.toml README.md -- engine

if [ ${#missing[@]} -gt 0 ]; then
  echo "tidegate: could not install Debian's ${missing[*]} (needs root): install them, then try again." >&2
  exit 1
fi
