#!/usr/bin/env bash
# The main job from a fresh clone: set up, ask a teacher for rationales, train students, compare them.
# Offline but for PyPI; two cores; about 20 minutes. A second call repeats nothing that is finished.
#
#   bash scripts/demo.sh                            results in outputs/
#   SEEDS="0 1 2 3" JOBS=4 bash scripts/demo.sh     more seeds, four trainings side by side
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
export WANDB_MODE=${WANDB_MODE:-offline} HF_HUB_OFFLINE=1
seeds=${SEEDS:-0 1}
jobs=${JOBS:-2}
# Optimiser steps of fine-tuning on everything, 128 examples each (docs/results.md); in the last tenth of a run the
# learning rate falls to nothing, so that it settles. The report flags every run whose best checkpoint is its last.
export STEPS=${STEPS:-3000}
export logs=outputs/demo

say() { printf '\n[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

# Train one student. Runs side by side would garble each other's lines, so each writes to a log of its own.
train() {
    local name="$1 on $2, seed $3" start=$SECONDS log="$logs/$1-$2-$3.log"
    local steps=$STEPS
    # Of 32 examples each: half as many in all.
    [ "$1" != step_by_step ] || steps=$((STEPS * 2))
    # On 1/8 the labels alone are learnt by heart at once and stay at chance, with many more steps as well.
    [ "$1 $2" != "finetune 0.125" ] || steps=$((STEPS / 10))
    export OMP_NUM_THREADS=1
    echo "        started   $name  ($log)"
    ln -sf "$(basename "$log")" "$logs/running-$1-$2-$3"
    if .venv/bin/python -m dsbs.train objective="$1" data_fraction="$2" seed="$3" \
        training.max_steps="$steps" training.eval_steps=$((steps / 10)) \
        training.lr_scheduler_type=warmup_stable_decay +training.lr_scheduler_kwargs.num_decay_steps=$((steps / 10)) \
        >"$log" 2>&1; then
        echo "        finished  $name  ($((SECONDS - start)) s)"
    else
        printf '        FAILED    %s; the end of %s:\n' "$name" "$log" >&2
        tail -n 15 "$log" | sed 's/^/          | /' >&2
        false
    fi
    local code=$?
    rm -f "$logs/running-$1-$2-$3" "$logs/said-$1-$2-$3"
    return $code
}
export -f train

# Tell every half minute how far the trainings are, where there is news.
watch_logs() {
    local log line name
    while sleep 30 >/dev/null 2>&1; do
        for log in "$logs"/running-*; do
            name=${log##*/running-}
            line=$(grep -s 'training: ' "$log" | tail -n 1 | cut -d ' ' -f 2- | cut -c 1-90 || true)
            [ "$line" != "$(cat "$logs/said-$name" 2>/dev/null)" ] || continue
            printf '        %-20s  %s\n' "$name" "$line"
            echo "$line" >"$logs/said-$name"
        done
    done
}

say "1/5 Setting up .venv (about three minutes the first time)"
bash scripts/setup.sh
mkdir -p "$logs"
rm -f "$logs"/running-* "$logs"/said-*

say "2/5 Asking the teacher 'handbook' for rationales: a scripted stand-in for an LLM"
.venv/bin/python -m dsbs.extract task=triage teacher=handbook

say "3/5 Asking a real LLM about a few messages: SmolLM2-135M on this machine. It is tiny; its accuracy is what it is"
.venv/bin/python -m dsbs.extract task=triage teacher=llama_cpp splits='[test]' limit=8 teacher.slots=1

say "4/5 Training students, $jobs side by side: on all labels, on 1/8 of them, and on 1/8 with rationales"
watch_logs &
watcher=$!
trap 'kill $watcher 2>/dev/null || true' EXIT
code=0
for setting in "finetune 1.0" "step_by_step 0.125" "finetune 0.125"; do
    for seed in $seeds; do echo "$setting $seed"; done
done | xargs -P "$jobs" -L 1 bash -c 'train "$@"' train || code=1
kill $watcher 2>/dev/null || true

say "5/5 Comparing"
.venv/bin/python -m dsbs.report runs=outputs/train/triage

say "Done."
echo "Plot:    $(ls outputs/report/triage/*.png)"
echo "Report:  outputs/report/triage/index.html"
exit $code
