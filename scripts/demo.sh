#!/usr/bin/env bash
# The main job from a fresh clone: set up, ask a teacher for rationales, train students, compare them.
# Offline but for PyPI; two cores; about 15 minutes. A second call repeats nothing that is finished.
#
#   bash scripts/demo.sh                       equal labels: both methods on 1/8 of the data, three seeds each
#   DEMO=full bash scripts/demo.sh             five seeds of fine-tuning on all of it as well: is 1/8 no worse? (longer)
#   SEEDS="0 1" JOBS=4 bash scripts/demo.sh    other seeds; four trainings side by side
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
export WANDB_MODE=${WANDB_MODE:-offline} HF_HUB_OFFLINE=1
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}  # huge pages: docs/training.md

say() { printf '\n[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

say "1/5 Setting up .venv (about three minutes the first time)"
bash scripts/setup.sh

say "2/5 Asking the teacher 'handbook' for rationales: a scripted stand-in for an LLM, which knows the rules of the task"
.venv/bin/python -m dsbs.extract task=triage teacher=handbook

say "3/5 Measuring a few steps of each training, to say how long all of them will take"
.venv/bin/python scripts/demo.py forecast

say "4/5 Asking a real LLM about a few messages: SmolLM2-135M on this machine. It is tiny; its accuracy is what it is"
.venv/bin/python -m dsbs.extract task=triage teacher=llama_cpp splits='[test]' limit=8 teacher.slots=1

say "5/5 Training students, and comparing them"
code=0
.venv/bin/python scripts/demo.py train || code=$?

say "Done. The whole report: outputs/report/triage/index.html"
exit $code
