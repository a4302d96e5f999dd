#!/usr/bin/env bash
# One phase of Pocket's training on every GPU of this machine.
# usage: run.sh autoencoder MINUTES | judge MINUTES | teacher MINUTES | student MINUTES | evaluate
# Reads pack/ and ../model/tokenizer, writes runs/.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p runs
cpus=$(nproc --all)
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 TORCHINDUCTOR_CACHE_DIR="$PWD/runs/inductor" TRITON_CACHE_DIR="$PWD/runs/triton"
gpus=$(nvidia-smi -L | wc -l)
workers=$(( (cpus - 4) / gpus ))
data=(--pack pack --tokenizer ../model/tokenizer/tokenizer.json)
guidance=${GUIDANCE:-3.0}

everywhere() { python3 -m torch.distributed.run --standalone --nproc-per-node "$gpus" "$@"; }
on_gpu() { CUDA_VISIBLE_DEVICES=$(( $1 % gpus )) python3 "${@:2}"; }

# Compiles the denoiser in the background, so that the later phases find it in the cache.
compile_denoiser() {
  mkdir -p runs/untrained
  python3 - <<'PY'
from pocket.flow import Denoiser
from pocket.models.vae import VAE_CONFIG, AutoencoderKL
from pocket.runtime import save
save({"config": VAE_CONFIG, "weights": AutoencoderKL().half().state_dict()}, "runs/untrained/vae.pt")
save(Denoiser().half().state_dict(), "runs/untrained/teacher.pt")
PY
  on_gpu $(( gpus - 1 )) distill.py "${data[@]}" --vae runs/untrained/vae.pt --teacher runs/untrained/teacher.pt \
    --out runs/untrained/student.pt --minutes 0.01 --workers 2 2>&1 | sed 's/^/compile /'
}

case $1 in
  autoencoder)
    compile_denoiser &
    everywhere train_vae.py "${data[@]}" --out runs/vae.pt --minutes "$2" --workers $(( workers - 4 ))
    wait
    ;;
  judge)
    on_gpu 0 train_judge.py "${data[@]}" --out runs/judge.pt --minutes "$2" --workers $(( workers * gpus ))
    ;;
  teacher)
    everywhere train_teacher.py "${data[@]}" --vae runs/vae.pt --out runs/teacher.pt --minutes "$2" --workers "$workers"
    ;;
  student)
    everywhere distill.py "${data[@]}" --vae runs/vae.pt --teacher runs/teacher.pt --out runs/student.pt --minutes "$2" --workers "$workers" --guidance "$guidance"
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
