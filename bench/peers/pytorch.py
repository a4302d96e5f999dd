"""Times networks of Stable Diffusion's shapes in PyTorch, eager and as CUDA graphs, for `npm run bench` to be compared with.

    python3 bench/peers/pytorch.py --out pytorch.json [--only NAME] [--runs 15] && npm run bench -- --add pytorch.json

The modules are written here for their shapes alone (weights are random), so that nothing but PyTorch is needed. Attention
and GroupNorm are PyTorch's own. A row is what the benchmark writes; `relativeL2` compares float16 with float32 of the same
weights. `--device cpu --tiny` runs everything in small, to see that it works.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class UNetShape:
    channels: tuple[int, ...]
    blocks: tuple[int, ...]  # transformer blocks at each level
    middle: int  # transformer blocks in the middle
    context: int
    head: int | None = None  # size of a head; eight heads where there is none
    added: int = 0  # size of the added conditioning


SD15 = UNetShape((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 768)
SD_TURBO = UNetShape((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 1024, 64)
SDXL = UNetShape((320, 640, 1280), (0, 2, 10), 10, 2048, 64, 2816)


class Attention(nn.Module):
    def __init__(self, width, context, heads, out_bias=True):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(context, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=out_bias)

    def forward(self, x, context):
        def split(t):
            return t.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        k, v = self.kv(context).chunk(2, -1)
        y = F.scaled_dot_product_attention(split(self.q(x)), split(k), split(v))
        return self.out(y.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    def __init__(self, width, context, heads):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own = Attention(width, width, heads)
        self.cross = Attention(width, context, heads)
        self.gate = nn.Linear(width, 8 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x, context):
        n = self.norms[0](x)
        x = x + self.own(n, n)
        x = x + self.cross(self.norms[1](x), context)
        value, gate = self.gate(self.norms[2](x)).chunk(2, -1)
        return x + self.out(value * F.gelu(gate))


class Transformer(nn.Module):
    def __init__(self, width, shape, depth):
        super().__init__()
        heads = width // shape.head if shape.head else 8
        self.norm = nn.GroupNorm(32, width)
        self.enter, self.leave = nn.Linear(width, width), nn.Linear(width, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, shape.context, heads) for _ in range(depth))

    def forward(self, x, context):
        y = self.enter(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.blocks:
            y = block(y, context)
        return x + self.leave(y).transpose(1, 2).unflatten(2, x.shape[2:])


class Resnet(nn.Module):
    def __init__(self, inside, outside, time=None):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, inside), nn.GroupNorm(32, outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.time = nn.Linear(time, outside) if time else None
        self.short = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x, time=None):
        y = self.conv1(F.silu(self.norm1(x)))
        if self.time:
            y = y + self.time(F.silu(time))[:, :, None, None]
        return self.short(x) + self.conv2(F.silu(self.norm2(y)))


class UNet(nn.Module):
    def __init__(self, shape: UNetShape):
        super().__init__()
        self.shape = shape
        channels, time = shape.channels, 4 * shape.channels[0]
        self.time = nn.Sequential(nn.Linear(channels[0], time), nn.SiLU(), nn.Linear(time, time))
        self.added = nn.Sequential(nn.Linear(shape.added, time), nn.SiLU(), nn.Linear(time, time)) if shape.added else None
        self.enter = nn.Conv2d(4, channels[0], 3, padding=1)
        skips, width = [channels[0]], channels[0]
        self.down = nn.ModuleList()
        for level, (out, depth) in enumerate(zip(channels, shape.blocks)):
            for _ in range(2):
                self.down.append(self.stage(width, out, depth, time))
                width = out
                skips.append(width)
            if level < len(channels) - 1:
                self.down.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.middle = nn.ModuleList([Resnet(width, width, time), Transformer(width, shape, shape.middle), Resnet(width, width, time)])
        self.up = nn.ModuleList()
        for level, (out, depth) in reversed(list(enumerate(zip(channels, shape.blocks)))):
            for _ in range(3):
                self.up.append(self.stage(width + skips.pop(), out, depth, time))
                width = out
            if level > 0:
                self.up.append(nn.Conv2d(width, width, 3, padding=1))
        self.norm, self.leave = nn.GroupNorm(32, width), nn.Conv2d(width, 4, 3, padding=1)

    def stage(self, inside, out, depth, time):
        parts = [Resnet(inside, out, time)]
        return nn.ModuleList(parts + ([Transformer(out, self.shape, depth)] if depth else []))

    def forward(self, sample, timestep, context, added=None):
        half = self.shape.channels[0] // 2
        angles = timestep[:, None].float() * torch.exp(torch.arange(half, device=sample.device) * (-9.21 / half))
        time = self.time(torch.cat([angles.cos(), angles.sin()], -1).to(sample.dtype))
        if self.added:
            time = time + self.added(added)

        def run(stage, x):
            x = stage[0](x, time)
            return stage[1](x, context) if len(stage) > 1 else x

        x = self.enter(sample)
        skips = [x]
        for stage in self.down:
            x = stage(x) if isinstance(stage, nn.Conv2d) else run(stage, x)
            skips.append(x)
        x = self.middle[2](self.middle[1](self.middle[0](x, time), context), time)
        for stage in self.up:
            if isinstance(stage, nn.Conv2d):
                x = stage(F.interpolate(x, scale_factor=2.0, mode="nearest"))
            else:
                x = run(stage, torch.cat([x, skips.pop()], 1))
        return self.leave(F.silu(self.norm(x)))


class Decoder(nn.Module):
    """The decoder of Stable Diffusion's VAE, with its one attention of a single head."""

    def __init__(self, channels=(512, 512, 256, 128)):
        super().__init__()
        width = channels[0]
        self.enter = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, width, 3, padding=1))
        self.first, self.second = Resnet(width, width), Resnet(width, width)
        self.norm, self.attention = nn.GroupNorm(32, width), Attention(width, width, 1)
        stages = []
        for level, out in enumerate(channels):
            stages += [Resnet(width if i == 0 else out, out) for i in range(3)]
            width = out
            if level < len(channels) - 1:
                stages += [nn.Upsample(scale_factor=2.0), nn.Conv2d(width, width, 3, padding=1)]
        self.up = nn.Sequential(*stages)
        self.leave = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, latents):
        x = self.first(self.enter(latents))
        y = self.norm(x).flatten(2).transpose(1, 2)
        x = x + self.attention(y, y).transpose(1, 2).unflatten(2, x.shape[2:])
        return self.leave(self.up(self.second(x)))


class TextEncoder(nn.Module):
    """CLIP-L."""

    def __init__(self, width=768, layers=12, heads=12, vocabulary=49408):
        super().__init__()
        self.heads = heads
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Parameter(0.01 * torch.randn(77, width))
        make = lambda: nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)])
        self.layers, self.norm = nn.ModuleList(make() for _ in range(layers)), nn.LayerNorm(width)

    def forward(self, ids):
        x = self.token(ids) + self.position
        for norm1, qkv, out, norm2, enter, leave in self.layers:
            q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in qkv(norm1(x)).chunk(3, -1))
            x = x + out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
            y = enter(norm2(x))
            x = x + leave(y * torch.sigmoid(1.702 * y))
        return self.norm(x)


def scenarios(tiny):
    def unet(shape, batch, size):
        if tiny:
            shape, size = replace(shape, channels=tuple(c // 5 for c in shape.channels), head=shape.head and 32), 16
        floats = [torch.randn(batch, 4, size, size), torch.full((batch,), 981.0), torch.randn(batch, 77, shape.context)]
        return UNet(shape), floats + ([torch.randn(batch, shape.added)] if shape.added else [])

    channels = (64, 64, 32, 32) if tiny else (512, 512, 256, 128)
    size = 8 if tiny else 64
    return {
        "clip-l": lambda: (TextEncoder(), [torch.randint(0, 49408, (1, 77))]),
        "unet-sd15-512-b1": lambda: unet(SD15, 1, 64),
        **{f"unet-sd15-512-b{batch}": lambda batch=batch: unet(SD15, batch, 64) for batch in (2, 4, 8)},
        "unet-sdturbo-512-b1": lambda: unet(SD_TURBO, 1, 64),
        "unet-sdxl-1024-b1": lambda: unet(SDXL, 1, 128),
        "vae-decoder-512": lambda: (Decoder(channels), [torch.randn(1, 4, size, size)]),
        "vae-decoder-1024": lambda: (Decoder(channels), [torch.randn(1, 4, 2 * size, 2 * size)]),
    }


def timed(run, runs, cuda):
    wait = torch.cuda.synchronize if cuda else lambda: None
    start = time.perf_counter()
    while time.perf_counter() - start < (1.5 if cuda else 0):
        run()
        wait()
    times = []
    for _ in range(runs):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(1000 * (time.perf_counter() - start))
    times.sort()
    return {"medianMs": times[len(times) // 2], "minMs": times[0], "maxMs": times[-1], "runs": runs}


@torch.inference_mode()
def measure(name, make, runs, cuda):
    torch.manual_seed(0)
    device = "cuda" if cuda else "cpu"
    module, inputs = make()
    module, inputs = module.eval().to(device), [t.to(device) for t in inputs]
    expected = module(*inputs)
    low = torch.float16 if cuda else torch.bfloat16
    module = module.to(low, memory_format=torch.channels_last)
    inputs = [t.to(low) if t.is_floating_point() else t for t in inputs]
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    actual = module(*inputs).float()
    error = ((actual - expected).norm() / expected.norm()).item()
    row = {"scenario": name, "flags": None, "precision": str(low).removeprefix("torch."), "relativeL2": error, "dispatches": None, "settings": f"PyTorch {torch.__version__}"}
    rows = [{**row, "engine": "pytorch-eager", **timed(lambda: module(*inputs), runs, cuda)}]
    if cuda:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            module(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            module(*inputs)
        rows.append({**row, "engine": "pytorch-graph", **timed(graph.replay, runs, cuda)})
    peak = torch.cuda.max_memory_allocated() if cuda else None
    return [{**r, "peakBytes": peak} for r in rows]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--only", action="append")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    # Best settings for convolutions of fixed shapes.
    torch.backends.cudnn.benchmark = True
    device = torch.cuda.get_device_name() if cuda else "cpu"
    rows = []
    for name, make in scenarios(options.tiny).items():
        if options.only and not any(part in name for part in options.only):
            continue
        for row in measure(name, make, options.runs, cuda):
            rows.append(row)
            print(f"{name} {row['engine']}: {row['medianMs']:.2f} ms ({row['minMs']:.2f} to {row['maxMs']:.2f}), relative L2 {row['relativeL2']:.1e}", flush=True)
        if options.out:
            # After each, so that a run that is ended early loses none.
            with open(options.out, "w") as file:
                json.dump({"adapter": device, "torch": torch.__version__, "rows": rows}, file, indent=2)
                file.write("\n")


if __name__ == "__main__":
    main()
