"""What every training script shares: processes and devices, a wall-clock schedule, an optimiser with EMA, checkpoints."""

import math
import os
import time

import torch
import torch.distributed as dist

from .fused import adamw
from .quantise import INT4, INT8, FlatRounding, weight_kind
from .rehearsal import REHEARSAL, STEPS

START = time.time()


def process_rank():
    return int(os.environ.get("RANK", 0))


class Devices:
    """This process's device and its place among the others (started by torchrun, or alone)."""

    def __init__(self):
        self.rank, self.world = process_rank(), int(os.environ.get("WORLD_SIZE", 1))
        self.cuda = torch.cuda.is_available()
        local = int(os.environ.get("LOCAL_RANK", 0))
        self.device = torch.device("cuda", local) if self.cuda else torch.device("cpu")
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        if self.cuda:
            torch.cuda.set_device(self.device)
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
            # Flash attention: cuDNN's is no faster at these sizes.
            torch.backends.cuda.enable_cudnn_sdp(False)
        if self.world > 1:
            dist.init_process_group("nccl" if self.cuda else "gloo", device_id=self.device if self.cuda else None)

    def place(self, model):
        """The model on this device in the dtype it computes in, convolutions channels-last."""
        return model.to(self.device, self.dtype, memory_format=torch.channels_last)

    def record(self, action, warm_up=3):
        """A function that repeats `action` as one CUDA graph, returning the same tensors each time.

        `action` must read and write fixed tensors only. Hundreds of small kernels then start without the processor,
        which could not feed them as fast as they run.
        """
        if not self.cuda:
            return action
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(warm_up):
                action()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = action()

        def replay():
            graph.replay()
            return result

        return replay

    def average(self, tensor):
        """The mean over processes, in place."""
        if self.world > 1:
            if self.cuda:
                dist.all_reduce(tensor, dist.ReduceOp.AVG)
            else:
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
    """Progress by wall clock: `fraction` of the minutes since training began, agreed between processes.

    Schedules follow elapsed time rather than steps, so that a run ends well on hardware of any speed.
    """

    def __init__(self, devices, minutes, every=20):
        self.devices, self.seconds, self.every = devices, minutes * 60, every
        self.begin = time.time()
        self.step, self.fraction = 0, 0.0

    def advance(self):
        """Counts a step; false once the time is up."""
        if REHEARSAL:
            self.fraction = min(1.0, self.step / STEPS)
        elif self.step % self.every == 0:
            self.fraction = self.devices.same_everywhere(min(1.0, (time.time() - self.begin) / self.seconds))
        self.step += 1
        return self.fraction < 1.0

    def cosine(self, peak, warmup_steps=200):
        """Linear warm-up by steps, then a cosine to zero by time."""
        return peak * min(1.0, self.step / warmup_steps) * 0.5 * (1 + math.cos(math.pi * self.fraction))

    def trapezoid(self, peak, warmup_steps=200, decay_share=0.4):
        """Linear warm-up by steps, constant, then a straight line to zero over the last share of the time."""
        return peak * min(1.0, self.step / warmup_steps, (1 - self.fraction) / decay_share)


class Optimiser:
    """AdamW on full-precision masters, gradients averaged over processes, EMA of the masters; all in flat tensors.

    The model's own parameters are views of a flat copy in the dtype it computes in: of the masters, or, with
    `quantised`, of what the shipped files would store for them, which is straight-through quantisation-aware training.
    """

    ALIGNMENT = 64  # elements: keeps every parameter on a 128-byte boundary

    def __init__(self, model, devices, betas=(0.9, 0.99), weight_decay=0.01, clip=1.0, max_decay=0.999):
        self.devices, self.betas, self.weight_decay, self.clip, self.max_decay = devices, betas, weight_decay, clip, max_decay
        # Parameters of one kind of quantisation lie together.
        named = sorted(((name, p) for name, p in model.named_parameters() if p.requires_grad), key=lambda pair: (INT4, INT8, None).index(weight_kind(*pair)))
        self.names, self.params = zip(*named)
        sizes = [-(-p.numel() // self.ALIGNMENT) * self.ALIGNMENT for p in self.params]
        self.offsets = [sum(sizes[:i]) for i in range(len(sizes))]
        total = sum(sizes)
        flat = lambda dtype=torch.float32: torch.zeros(total, dtype=dtype, device=devices.device)
        self.master, self.ema, self.mean, self.square = flat(), flat(), flat(), flat()
        self.weights, self.gradient = flat(self.params[0].dtype), flat(self.params[0].dtype)
        for view, param in zip(self.views(self.master), self.params):
            view.copy_(param.detach())
        if devices.world > 1:
            dist.broadcast(self.master, 0)
        self.ema.copy_(self.master)
        for param, view in zip(self.params, self.views(self.weights)):
            param.data = view
        self.gradient_views = self.views(self.gradient)
        self.flat_rounding = FlatRounding(self.names, self.views(self.master), self.offsets)
        self.quantised = False
        self.steps = 0
        self.dropped = torch.zeros((), dtype=torch.int64, device=devices.device)
        self.publish()

    def views(self, flat):
        """The parameters' shapes and strides over a flat tensor."""
        return [torch.as_strided(flat, p.shape, p.stride(), offset) for p, offset in zip(self.params, self.offsets)]

    def backward(self, loss):
        """Gradients of the loss into the flat gradient."""
        for param in self.params:
            param.grad = None
        loss.backward()
        torch._foreach_copy_(self.gradient_views, [p.grad for p in self.params])

    @torch.no_grad()
    def step(self, rate):
        """Averages the gradient, clips it and steps; returns its norm as a tensor."""
        self.devices.average(self.gradient)
        norm = torch.linalg.vector_norm(self.gradient, dtype=torch.float32)
        scale = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        # A gradient that overflowed is dropped: one such step must not spoil the run.
        finite = norm.isfinite()
        scale = torch.where(finite, scale, 0.0)
        self.gradient.copy_(torch.where(finite, self.gradient, 0.0))
        self.dropped += ~finite
        self.steps += 1
        keep = min(self.max_decay, (1 + self.steps) / (10 + self.steps))
        state = (self.master, self.ema, self.mean, self.square)
        adamw(state, self.gradient, self.weights, scale, self.steps, rate, self.betas, self.weight_decay, keep, publish=not self.quantised)
        if self.quantised:
            self.publish()
        return norm

    def go_back_if_lost(self, steps):
        """Returns to the averaged weights if more than half of the last `steps` gradients were not finite; says how many were not."""
        dropped = self.dropped.item()
        self.dropped.zero_()
        if dropped > steps / 2:
            self.master.copy_(self.ema)
            self.mean.zero_()
            self.square.zero_()
            self.publish()
        return dropped

    @torch.no_grad()
    def publish(self, source=None):
        """Copies the masters (or the EMA, given as `source`) into the model, rounded if `quantised`."""
        values = self.master if source is None else source
        self.weights.copy_(self.flat_rounding(values) if self.quantised else values)

    def average_state(self):
        """The EMA weights by name, float16, on the CPU."""
        return {name: value.half().cpu().contiguous() for name, value in zip(self.names, self.views(self.ema))}


def save(state, path):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    torch.save(state, path + ".part")
    os.replace(path + ".part", path)


def load(path, device="cpu"):
    return torch.load(path, map_location=device, weights_only=True)


def wait_for(path):
    """Until another phase has written the file: phases may start early, to be ready when their turn comes."""
    while not os.path.exists(path):
        time.sleep(0.1)
    return path


def load_weights(model, state):
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model
