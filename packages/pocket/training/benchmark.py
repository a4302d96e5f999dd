"""Checks the fused kernels against plain PyTorch and times every phase's step on this GPU.

usage: benchmark.py [denoiser] [autoencoder] [judge]
"""

import sys
import time

import torch
from torch import nn

from pocket import fused
from pocket.flow import Denoiser, style_guided_velocity, training_times
from pocket.judge import Judge
from pocket.models.clip_text import TEXT_CONFIG
from pocket.models.vae import AutoencoderKL
from pocket.runtime import Devices, Optimiser
from train_vae import VaeLoss

LATENT = (8, 32, 32)


def check_group_norm(devices):
    """Forward and gradients in bfloat16 against float32, at the denoiser's and the autoencoder's shapes."""
    worst = 0.0
    for n, channels, groups, size, shifted in ((64, 128, 32, 32, True), (64, 448, 32, 16, False), (8, 32, 8, 256, True)):
        results = []
        torch.manual_seed(0)
        values = [torch.randn(shape, device=devices.device).bfloat16() for shape in ((n, channels, size, size), (n, channels), (n, channels, size, size))]
        weight, bias = torch.randn(2, channels, device=devices.device).bfloat16()
        for dtype in (torch.float32, torch.bfloat16):
            x, shift, gradient = (v.to(dtype).clone() for v in values)
            norm = nn.GroupNorm(groups, channels).to(devices.device, dtype)
            norm.weight.data.copy_(weight)
            norm.bias.data.copy_(bias)
            x, shift = x.contiguous(memory_format=torch.channels_last).requires_grad_(), shift.requires_grad_()
            y = fused.group_norm(x, norm, shift if shifted else None)
            y.backward(gradient)
            results.append([y, x.grad, norm.weight.grad, norm.bias.grad] + ([shift.grad] if shifted else []))
        worst = max(worst, *(((b.float() - a).norm() / a.norm()).item() for a, b in zip(*results)))
    devices.log(f"fused group norm: worst relative error {worst:.1e}")
    assert worst < 1e-2


def rate(devices, label, batch, step, seconds=0.8):
    """Steps and samples per second of an asynchronous step."""
    begin = time.time()
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    warm, count, start = time.time() - begin, 0, time.time()
    while time.time() - start < seconds:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
        count += 5
    speed = count / (time.time() - start)
    devices.log(f"{label} batch {batch}: {speed:.1f} steps/s, {speed * batch:.0f} samples/s, first steps {warm:.1f} s, {torch.cuda.max_memory_allocated() / 2**30:.0f} GiB")


def timed(devices, label, action):
    start = time.time()
    result = action()
    torch.cuda.synchronize()
    devices.log(f"{label}: {time.time() - start:.1f} s")
    return result


def denoiser(devices):
    ids_of = lambda batch: torch.randint(TEXT_CONFIG["vocab_size"], (batch, 32), device=devices.device)
    for searching, batch in ((False, 128), (True, 128), (True, 256)):
        torch.backends.cudnn.benchmark = searching
        model = devices.place(Denoiser())
        optimiser = Optimiser(model, devices)
        x, ids = torch.randn(batch, *LATENT, device=devices.device), ids_of(batch)

        def step():
            velocity = model(x, training_times(batch, devices.device), ids)
            loss = velocity.square().mean()
            optimiser.backward(loss)
            return loss.detach()

        label = f"denoiser, cudnn search {searching}"
        if searching and batch == 128:
            timed(devices, "search", step)
            rate(devices, f"{label}, eager", batch, step)
        replay = timed(devices, "record", lambda: devices.record(step))
        rate(devices, label, batch, replay)
        rate(devices, "optimiser", batch, lambda: optimiser.step(1e-4), 0.5)
        optimiser.quantised = True
        rate(devices, "optimiser, quantised", batch, lambda: optimiser.step(1e-4), 0.5)
    with torch.no_grad():
        empty, unstyled = ids_of(1)[0], ids_of(batch)
        guided = devices.record(lambda: style_guided_velocity(model, x, torch.ones(batch, device=devices.device), ids, unstyled, empty, 3.0, 2.0))
        rate(devices, "guided teacher", batch, guided)
    if "profile" in sys.argv:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            replay()
            torch.cuda.synchronize()
        print(profile.key_averages().table(sort_by="cuda_time_total", row_limit=28, max_name_column_width=70))


def autoencoder(devices):
    for batch in (32, 64):
        vae = devices.place(AutoencoderKL())
        optimiser, loss_of = Optimiser(vae, devices), VaeLoss(vae)
        pictures = torch.rand(batch, 256, 256, 3, device=devices.device).permute(0, 3, 1, 2) * 2 - 1

        def step():
            losses = loss_of(pictures)
            optimiser.backward(losses[0])
            return losses[0].detach()

        rate(devices, "autoencoder", batch, timed(devices, "record", lambda: devices.record(step)))
    with torch.no_grad():
        pictures = torch.rand(128, 3, 256, 256, device=devices.device).to(devices.dtype, memory_format=torch.channels_last)
        rate(devices, "encoder", 128, devices.record(lambda: vae.encode(pictures)))


def judge(devices):
    model = devices.place(Judge(1300))
    optimiser = Optimiser(model, devices)
    pictures = torch.rand(256, 3, 256, 256, device=devices.device)

    def step():
        loss = model(pictures)["concepts"].float().square().mean()
        for head in model.heads.values():
            loss = loss + 0 * head.weight.float().sum() + 0 * head.bias.float().sum()
        optimiser.backward(loss)
        return loss.detach()

    rate(devices, "judge", 256, timed(devices, "record", lambda: devices.record(step)))


def main():
    devices = Devices()
    timed(devices, "kernels", lambda: check_group_norm(devices))
    for name in sys.argv[1:] or ["denoiser", "autoencoder", "judge"]:
        if name != "profile":
            {"denoiser": denoiser, "autoencoder": autoencoder, "judge": judge}[name](devices)


if __name__ == "__main__":
    main()
