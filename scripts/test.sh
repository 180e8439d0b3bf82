#!/usr/bin/env bash
# Everything that has to hold: lint, format, types, layers, tests. Runs all of them, then says what failed.
#
#   bash scripts/test.sh                     sets .venv up first where needed
#   bash scripts/test.sh -k triage -n 0      further arguments go to pytest (-n 0: in one process)
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONDONTWRITEBYTECODE  # with it, every process would compile all of its imports anew
# Memory in huge pages where the kernel gives them on request: in a virtual machine whose pages are slow to look up, that
# brought the tests from 573 to 228 s. Elsewhere it changes little.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1} PYTHONMALLOC=${PYTHONMALLOC:-malloc}
bash scripts/setup.sh || exit
SECONDS=0

# The caller's settings must not decide what the tests see; one thread for each of pytest's workers.
unset PYTHONPATH PYTHONHOME HYDRA_FULL_ERROR
export HF_HUB_OFFLINE=1 WANDB_MODE=offline OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
export PATH="$PWD/.venv/bin:$PATH"

summary=()
failed=()
stage() {
    local name=$1 start=$SECONDS verdict=ok
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" || { verdict=FAILED && failed+=("$name"); }
    summary+=("$(printf '%-8s %-7s %4d s' "$name" "$verdict" $((SECONDS - start)))")
}

# mypy takes one core for long, so it runs beside the tests.
types=.venv/mypy.log
mypy >"$types" 2>&1 &
mypy=$!
wait_for_mypy() {
    wait "$mypy"
    local code=$?
    cat "$types"
    return $code
}

stage lint ruff check .
stage format ruff format --check .
stage layers lint-imports
# Three, so that two cores have work while a test waits for a server.
stage tests pytest -n 3 --dist worksteal "$@"
stage types wait_for_mypy

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[*]}"
    exit 1
fi
echo "All passed in $SECONDS s."
