"""Composed pictures from worker processes into rings of samples on the training device."""

import queue
import threading

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .compose.composer import Composer, compose_arrays
from .compose.pack import Pack
from .tokenizer import Tokenizer

WORKER_BATCH = 32


class ComposedPictures(IterableDataset):
    """Endless batches: uint8 pictures [n, 256, 256, 3], int16 tokens [n, 32], int16 label rows."""

    def __init__(self, pack_folder, tokenizer_path, seed, train=True):
        self.pack, self.tokenizer, self.seed, self.train = Pack(pack_folder), Tokenizer(tokenizer_path), seed, train

    def __iter__(self):
        worker = get_worker_info()
        composer = Composer(self.pack, self.seed * 1000 + (worker.id if worker else 0), self.train)
        while True:
            pictures, captions, labels = compose_arrays(composer, WORKER_BATCH)
            yield torch.from_numpy(pictures), torch.from_numpy(self.tokenizer.encode_all(captions)), torch.from_numpy(labels)


class Feed:
    """Collects batches from worker processes in the background; `ready` hands over what has arrived without waiting.

    Workers are forked on construction: build the feed before this process has a GPU context or threads.
    """

    def __init__(self, dataset, workers, depth=24):
        loader = DataLoader(dataset, batch_size=None, num_workers=workers, in_order=not workers, prefetch_factor=2 if workers else None)
        self.batches = iter(loader)
        self.queue = queue.Queue(depth)
        self.device = None

    def start(self, device):
        self.device = device
        threading.Thread(target=self._collect, daemon=True).start()
        return self

    def _collect(self):
        for batch in self.batches:
            self.queue.put([part.pin_memory() for part in batch] if self.device.type == "cuda" else batch)

    def next(self):
        return [part.to(self.device, non_blocking=True) for part in self.queue.get()]

    def ready(self, most=8):
        batches = []
        while len(batches) < most and not self.queue.empty():
            batches.append(self.next())
        return batches


class Ring:
    """Fixed-size store of samples on the device, overwritten oldest first."""

    def __init__(self, capacity, like, device):
        self.parts = [torch.empty((capacity, *part.shape[1:]), dtype=part.dtype, device=device) for part in like]
        self.capacity, self.position, self.filled, self.seen = capacity, 0, 0, 0

    def add(self, parts):
        count = len(parts[0])
        if self.position + count > self.capacity:
            self.position = 0
        for store, part in zip(self.parts, parts):
            store[self.position: self.position + count] = part
        self.position += count
        self.filled = max(self.filled, self.position)
        self.seen += count

    def sample(self, count):
        index = torch.randint(self.filled, (count,), device=self.parts[0].device)
        return [part[index] for part in self.parts]


def to_model_range(pictures):
    """uint8 [n, h, w, 3] to float [n, 3, h, w] in -1..1, channels last in memory."""
    return pictures.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class LatentFeed:
    """Fresh pictures through the encoder into a ring of float16 latents with their tokens."""

    def __init__(self, feed, vae, devices, capacity, minimum):
        self.feed, self.devices = feed, devices
        self.encode = devices.compile(vae.encode)
        self.ring = None
        self.capacity = capacity
        while self.ring is None or self.ring.filled < minimum:
            self._store(self.feed.next())

    @torch.no_grad()
    def _store(self, batch):
        pictures, tokens, _ = batch
        with self.devices.autocast():
            latents = self.encode(to_model_range(pictures)).half()
        if self.ring is None:
            self.ring = Ring(self.capacity, [latents, tokens], self.devices.device)
        self.ring.add([latents, tokens])

    def absorb(self):
        for batch in self.feed.ready():
            self._store(batch)

    def sample(self, count):
        latents, tokens = self.ring.sample(count)
        return latents.float(), tokens.long()
