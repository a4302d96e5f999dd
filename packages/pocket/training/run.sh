#!/usr/bin/env bash
# Pocket's training on every GPU of this machine.
# usage: run.sh autoencoder MINUTES | teacher MINUTES | student MINUTES | judge MINUTES | evaluate
#        run.sh all AUTOENCODER_MINUTES TEACHER_MINUTES STUDENT_MINUTES [JUDGE_MINUTES]
# Reads pack/ and ../model/tokenizer, writes runs/. To go on from other weights set VAE_RESUME, TEACHER_RESUME or
# STUDENT_RESUME (files outside runs/); GUIDANCE and TEACHER_OPTIONS (of train_teacher.py) may be set, too.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p runs
cpus=$(nproc --all)
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 TRITON_CACHE_DIR="$PWD/runs/triton"
gpus=$(nvidia-smi -L | wc -l)
workers=$(( (cpus - 2 * gpus - 2) / gpus ))
data=(--pack pack --tokenizer ../model/tokenizer/tokenizer.json)
guidance=${GUIDANCE:-3.0}

everywhere() { python3 -m torch.distributed.run --standalone --nproc-per-node "$gpus" "$@"; }
on_gpu() { CUDA_VISIBLE_DEVICES=$(( $1 % gpus )) python3 "${@:2}"; }
# Waits until a file exists, then the given seconds.
after() { until [ -e "$1" ]; do sleep 0.2; done; sleep "$2"; }

case $1 in
  autoencoder)
    everywhere train_vae.py "${data[@]}" --out runs/vae.pt --minutes "$2" --workers "$workers" ${VAE_RESUME:+--resume "$VAE_RESUME"}
    ;;
  judge)
    on_gpu "${3:-0}" train_judge.py "${data[@]}" --out runs/judge.pt --minutes "$2" --workers "$workers"
    ;;
  teacher)
    everywhere train_teacher.py "${data[@]}" --vae runs/vae.pt --out runs/teacher.pt --minutes "$2" --workers "$workers" ${TEACHER_RESUME:+--resume "$TEACHER_RESUME"} ${TEACHER_OPTIONS:-}
    ;;
  student)
    everywhere distill.py "${data[@]}" --vae runs/vae.pt --teacher runs/teacher.pt --out runs/student.pt --minutes "$2" --workers "$workers" --guidance "$guidance" ${STUDENT_RESUME:+--student "$STUDENT_RESUME"}
    ;;
  evaluate)
    common=("${data[@]}" --runs runs --out runs --guidance "$guidance")
    on_gpu 0 evaluate.py score --variant teacher "${common[@]}" &
    on_gpu 1 evaluate.py score --variant student "${common[@]}" &
    on_gpu 2 evaluate.py score --variant shipped "${common[@]}" &
    on_gpu 3 evaluate.py real "${common[@]}" &
    on_gpu 1 evaluate.py sheets "${common[@]}" --workers $(( cpus / 2 )) &
    wait
    python3 evaluate.py table --runs runs
    ;;
  all)
    # Each phase starts a little before its turn, loads and waits for the weights of the one before.
    rm -f runs/*.pt
    "$0" autoencoder "$2" &
    sleep "$(python3 -c "print(max(0, 60 * $2 - 5))")"
    "$0" teacher "$3" &
    after runs/vae.pt "$(python3 -c "print(max(0, 60 * $3 - 10))")"
    "$0" student "$4" &
    after runs/teacher.pt 0
    "$0" judge "${5:-0.8}" 1 &
    wait
    "$0" evaluate
    ;;
esac
