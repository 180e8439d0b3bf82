#!/usr/bin/env bash
# The runs behind docs/results.md, and their reports. What is finished is not trained again, so a second call goes on.
#
#   bash scripts/results.sh triage              the curve: both methods on 1/16 … 1 of the built-in task
#   bash scripts/results.sh controls            step-by-step on 1/8 with every control, and fine-tuning at equal steps
#   bash scripts/results.sh hard | noise        triage_hard, triage_noise: what these experiments set
#   bash scripts/results.sh search              the same grid for both methods on 1/8 and on all, on validation alone
#   bash scripts/results.sh control_search      alpha and dropout for each control on 1/8, on validation alone
#   bash scripts/results.sh sizes | unlabelled  experiment=model_size, experiment=unlabelled
#   DATA=FOLDER bash scripts/results.sh cqa     SmolLM2 on CQA with the paper's rationales; DATA holds cqa/ and svamp/
#   DATA=FOLDER bash scripts/results.sh svamp   the same on SVAMP
#
# SEEDS=0,1,2   other seeds       JOBS=2   runs side by side, with `pip install 'dsbs[joblib]'`
# OUT=outputs   where it goes     Further words go to every training, such as
#   bash scripts/results.sh search task.name=triage_hard task.products=120 task.complaints=120 task.skew=1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
out=${OUT:-outputs}
jobs=${JOBS:-1}
export WANDB_MODE=${WANDB_MODE:-offline} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}  # huge pages: docs/training.md
more=("${@:2}" "output_dir=$out")
[ "$jobs" = 1 ] || more+=(launcher=joblib "hydra.launcher.n_jobs=$jobs")

train() { "$python" -m dsbs.train -m "$@" "${more[@]}"; }
report() { "$python" -m dsbs.report "runs=$out/train$1" "output_dir=$out" "${@:2}"; }
needs_data() {
    [ -d "${DATA:-}/$1" ] || {
        echo "results.sh: DATA=${DATA:-}: expected a folder that holds $1/ of the paper's release" >&2
        exit 1
    }
}
# SmolLM2-135M with all of its weights, as docs/results.md has it: bfloat16 on a CPU with AVX512-BF16, or a GPU.
smollm2() { # task, steps, then what differs
    train task="$1" task.path="$DATA/$1" teacher=recorded teacher.path="$DATA/$1/palm" student=smollm2 \
        training.max_steps="$2" training.eval_steps=$(($2 / 3)) training.bf16=true training.threads=1 \
        training.per_device_train_batch_size=16 training.learning_rate=1e-4 training.lr_scheduler_type=linear \
        training.warmup_steps=20 training.weight_decay=0.01 training.train_sampling_strategy=group_by_length \
        training.optim=adamw_torch_fused training.logging_steps=15 "${@:3}"
}

case "${1:-}" in
triage)
    train experiment=one_eighth seed="${SEEDS:-0,1,2,3,4}"
    report /triage fraction=1/8
    ;;
controls)
    train experiment=controls seed="${SEEDS:-0,1,2,3,4}"
    train experiment=controls seed="${SEEDS:-0,1,2,3,4}" control=teacher_noise control.rate=0.1,0.2,0.4
    train experiment=controls seed="${SEEDS:-0,1,2,3,4}" control=none objective=finetune
    report /triage fraction=1/8
    ;;
hard | noise)
    train experiment="triage_$1" seed="${SEEDS:-0,1,2,3,4}"
    report "/triage_$1" fraction=1/8
    ;;
search)
    train experiment=equal_search data_fraction=0.125,1.0 seed="${SEEDS:-0}"
    report ""
    ;;
control_search)
    train experiment=equal_search data_fraction=0.125 objective=step_by_step seed="${SEEDS:-0}" \
        control=none,shuffled,same_label,permuted,label_repeated,random_text,extra_compute,matched_information \
        objective.alpha=0.2,0.5 student.dropout_rate=0.0,0.2 training.learning_rate=1e-3 \
        training.per_device_train_batch_size=32 training.early_stopping_patience=5
    report /triage fraction=1/8
    ;;
sizes)
    train experiment=model_size seed="${SEEDS:-0,1,2}"
    report /triage
    ;;
unlabelled)
    train experiment=unlabelled seed="${SEEDS:-0,1,2,3,4}"
    report /triage baseline=distill
    ;;
cqa)
    needs_data cqa
    "$python" -m dsbs.extract task=cqa task.path="$DATA/cqa" teacher=recorded teacher.path="$DATA/cqa/palm" "output_dir=$out"
    smollm2 cqa 206 data_fraction=0.25 objective=finetune,step_by_step seed="${SEEDS:-0,1,2}"
    smollm2 cqa 206 data_fraction=0.25 objective=step_by_step control=shuffled seed="${SEEDS:-0,1,2}"
    smollm2 cqa 822 data_fraction=1.0 objective=finetune seed="${ALL_SEEDS:-0,1}"
    report /cqa fraction=1/4
    ;;
svamp)
    needs_data svamp
    "$python" -m dsbs.extract task=svamp task.path="$DATA/svamp" teacher=recorded teacher.path="$DATA/svamp/palm" \
        "output_dir=$out"
    smollm2 svamp 225 student.max_new_tokens=32 objective=finetune,step_by_step seed="${SEEDS:-0,1,2}"
    report /svamp
    ;;
*)
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 1
    ;;
esac
