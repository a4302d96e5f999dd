"""What every training script shares: processes and devices, a wall-clock schedule, an optimiser with EMA, checkpoints."""

import math
import os
import time

import torch
import torch.distributed as dist

START = time.time()


def process_rank():
    return int(os.environ.get("RANK", 0))


class Devices:
    """This process's device and its place among the others (started by torchrun, or alone).

    Compiling takes two to three minutes for the denoiser and pays in runs of a quarter of an hour and more.
    """

    def __init__(self, compile_models=False):
        self.compile_models = compile_models
        self.rank, self.world = process_rank(), int(os.environ.get("WORLD_SIZE", 1))
        self.cuda = torch.cuda.is_available()
        local = int(os.environ.get("LOCAL_RANK", 0))
        self.device = torch.device("cuda", local) if self.cuda else torch.device("cpu")
        if self.cuda:
            torch.cuda.set_device(self.device)
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
        if self.world > 1:
            dist.init_process_group("nccl" if self.cuda else "gloo")

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda)

    def compile(self, module):
        return torch.compile(module, dynamic=False) if self.cuda and self.compile_models else module

    def first_alone(self, action):
        """Runs an action, when compiling on the first process first: the others find what it compiled in the cache."""
        if not self.compile_models:
            return action()
        for turn in (True, False):
            if (self.rank == 0) == turn:
                action()
            if self.world > 1:
                dist.barrier()

    def average(self, tensor):
        if self.world > 1:
            dist.all_reduce(tensor)
            tensor /= self.world
        return tensor

    def same_everywhere(self, value):
        """The first process's value of a number."""
        if self.world == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return tensor.item()

    def log(self, *parts):
        if self.rank == 0:
            print(f"[{time.time() - START:6.1f}s]", *parts, flush=True)

    def close(self):
        if self.world > 1:
            dist.destroy_process_group()


class Schedule:
    """Progress by wall clock: `fraction` of the minutes since the process started, agreed between processes.

    Schedules follow elapsed time rather than steps, so that a run ends well on hardware of any speed.
    """

    def __init__(self, devices, minutes, every=10):
        self.devices, self.seconds, self.every = devices, minutes * 60, every
        self.begin = None
        self.step, self.fraction = 0, 0.0

    def advance(self):
        """Counts a step; false once the time is up."""
        if self.step % self.every == 0:
            now = time.time() - START
            if self.begin is None:
                self.begin = self.devices.same_everywhere(min(now, 0.9 * self.seconds))
            self.fraction = self.devices.same_everywhere(min(1.0, (now - self.begin) / (self.seconds - self.begin)))
        self.step += 1
        return self.fraction < 1.0

    def cosine(self, peak, warmup_steps=200):
        """Linear warm-up by steps, then a cosine to zero by time."""
        return peak * min(1.0, self.step / warmup_steps) * 0.5 * (1 + math.cos(math.pi * self.fraction))


class Optimiser:
    """AdamW on full-precision masters, gradients averaged over processes in one flat buffer, EMA of the masters.

    The model's own parameters are copies: of the masters, or of what `transform` makes of them. With a
    quantiser as the transform, this is straight-through quantisation-aware training.
    """

    def __init__(self, model, devices, betas=(0.9, 0.99), weight_decay=0.01, clip=1.0, max_decay=0.999):
        self.devices, self.clip, self.max_decay = devices, clip, max_decay
        self.names, self.params = zip(*[(name, p) for name, p in model.named_parameters() if p.requires_grad])
        for param in self.params:
            if devices.world > 1:
                dist.broadcast(param.data, 0)
        self.masters = [torch.nn.Parameter(p.detach().clone()) for p in self.params]
        self.ema = [p.detach().clone() for p in self.params]
        self.flat = torch.zeros(sum(p.numel() for p in self.params), device=devices.device)
        offset = 0
        for param, master in zip(self.params, self.masters):
            view = torch.as_strided(self.flat, param.shape, param.stride(), offset)
            param.grad = master.grad = view
            offset += param.numel()
        self.adam = torch.optim.AdamW(self.masters, lr=0.0, betas=betas, weight_decay=weight_decay, fused=devices.cuda)
        self.transform = None
        self.steps = 0

    def zero(self):
        self.flat.zero_()

    @torch.no_grad()
    def step(self, rate):
        self.devices.average(self.flat)
        norm = self.flat.norm()
        self.flat.mul_((self.clip / (norm + 1e-6)).clamp(max=1.0))
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.steps += 1
        decay = min(self.max_decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.ema, [m.data for m in self.masters], 1 - decay)
        self.publish()
        return norm

    @torch.no_grad()
    def publish(self, source=None):
        """Copies the masters (or another set of values) into the model."""
        values = self.masters if source is None else source
        if self.transform is not None:
            values = self.transform(dict(zip(self.names, values))).values()
        torch._foreach_copy_([p.data for p in self.params], [v.data for v in values])

    def average_state(self):
        """The EMA weights by name, float16, on the CPU."""
        return {name: value.half().cpu().contiguous() for name, value in zip(self.names, self.ema)}


def save(state, path):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    torch.save(state, path + ".part")
    os.replace(path + ".part", path)


def load(path, device="cpu"):
    return torch.load(path, map_location=device, weights_only=True)


def load_weights(model, state):
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model
