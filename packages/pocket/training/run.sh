#!/usr/bin/env bash
# One phase of Pocket's training on every GPU of this machine.
# usage: run.sh autoencoder MINUTES | judge MINUTES | teacher MINUTES | student MINUTES | evaluate
# Reads pack/ and ../model/tokenizer, writes runs/. COMPILE=1 uses torch.compile, which pays in long runs.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p runs
cpus=$(nproc --all)
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR="$PWD/runs/inductor" TRITON_CACHE_DIR="$PWD/runs/triton"
gpus=$(nvidia-smi -L | wc -l)
workers=$(( cpus * 7 / 10 / gpus ))
data=(--pack pack --tokenizer ../model/tokenizer/tokenizer.json)
guidance=${GUIDANCE:-3.0}
compile=${COMPILE:+--compile}

everywhere() { python3 -m torch.distributed.run --standalone --nproc-per-node "$gpus" "$@"; }
on_gpu() { CUDA_VISIBLE_DEVICES=$(( $1 % gpus )) python3 "${@:2}"; }

case $1 in
  autoencoder)
    everywhere train_vae.py "${data[@]}" --out runs/vae.pt --minutes "$2" --workers "$workers" $compile
    ;;
  judge)
    on_gpu 0 train_judge.py "${data[@]}" --out runs/judge.pt --minutes "$2" --workers $(( workers * gpus ))
    ;;
  teacher)
    everywhere train_teacher.py "${data[@]}" --vae runs/vae.pt --out runs/teacher.pt --minutes "$2" --workers "$workers" $compile
    ;;
  student)
    everywhere distill.py "${data[@]}" --vae runs/vae.pt --teacher runs/teacher.pt --out runs/student.pt --minutes "$2" --workers "$workers" --guidance "$guidance" $compile
    ;;
  evaluate)
    common=("${data[@]}" --runs runs --out runs --guidance "$guidance")
    on_gpu 0 evaluate.py score --variant teacher "${common[@]}" --every 2 &
    on_gpu 1 evaluate.py score --variant student "${common[@]}" &
    on_gpu 2 evaluate.py score --variant shipped "${common[@]}" &
    on_gpu 2 evaluate.py real "${common[@]}" &
    on_gpu 3 evaluate.py sheets "${common[@]}" --workers $(( cpus / 2 )) &
    wait
    python3 evaluate.py table --runs runs
    ;;
esac
