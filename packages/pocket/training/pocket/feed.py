"""Composed pictures from worker processes into rings of samples on the training device."""

import queue
import threading

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .compose.composer import Composer, compose_arrays
from .compose.pack import Pack
from .rehearsal import size
from .tokenizer import Tokenizer

WORKER_BATCH = size(32, 2)


class ComposedPictures(IterableDataset):
    """Endless batches: uint8 pictures [n, 256, 256, 3], int16 tokens [n, 2, 32], int16 label rows.

    The tokens are those of the caption and of the caption without its style's words.
    """

    def __init__(self, pack_folder, tokenizer_path, seed, train=True):
        self.pack, self.tokenizer, self.seed, self.train = Pack(pack_folder), Tokenizer(tokenizer_path), seed, train

    def __iter__(self):
        worker = get_worker_info()
        composer = Composer(self.pack, self.seed * 1000 + (worker.id if worker else 0), self.train)
        while True:
            pictures, captions, unstyled, labels = compose_arrays(composer, WORKER_BATCH)
            tokens = np.stack([self.tokenizer.encode_all(texts) for texts in (captions, unstyled)], 1)
            yield torch.from_numpy(pictures), torch.from_numpy(tokens), torch.from_numpy(labels)


class Feed:
    """Collects batches from worker processes in the background; `ready` hands over what has arrived without waiting.

    Workers are forked on construction: build the feed before this process has a GPU context or threads.
    """

    def __init__(self, dataset, workers, depth=24):
        loader = DataLoader(dataset, batch_size=None, num_workers=workers, in_order=not workers, prefetch_factor=3 if workers else None)
        self.batches = iter(loader)
        self.queue = queue.Queue(depth)
        self.device = None

    def start(self, device):
        self.device = device
        threading.Thread(target=self._collect, daemon=True).start()
        return self

    def _collect(self):
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        for batch in self.batches:
            self.queue.put([part.pin_memory() for part in batch] if self.device.type == "cuda" else batch)

    def waiting(self):
        return self.queue.qsize()

    def next(self):
        return [part.to(self.device, non_blocking=True) for part in self.queue.get()]

    def ready(self, most=8):
        batches = []
        while len(batches) < most and not self.queue.empty():
            batches.append(self.next())
        return batches


class Ring:
    """Fixed-size store of samples on the device, overwritten oldest first; `like` gives the parts' shapes and dtypes by one sample each."""

    def __init__(self, capacity, like, device):
        self.parts = [torch.zeros((capacity, *part.shape), dtype=part.dtype, device=device) for part in like]
        self.capacity, self.position, self.filled, self.seen = capacity, 0, 0, 0
        self.bound = torch.ones((), dtype=torch.float64, device=device)

    def add(self, parts):
        count = len(parts[0])
        if self.position + count > self.capacity:
            self.position = 0
        for store, part in zip(self.parts, parts):
            store[self.position: self.position + count] = part
        self.position += count
        if self.position > self.filled:
            self.filled = self.position
            self.bound.fill_(self.filled)
        self.seen += count

    def sample(self, count):
        """Random samples; how many there are is read on the device, so that a recorded graph sees the ring grow."""
        index = (torch.rand(count, dtype=torch.float64, device=self.bound.device) * self.bound).long()
        return [part[index] for part in self.parts]


def to_model_range(pictures):
    """uint8 [n, h, w, 3] to float [n, 3, h, w] in -1..1, channels last in memory."""
    return pictures.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class LatentFeed:
    """Fresh pictures through the encoder into a ring of float16 latents with the tokens of both captions."""

    GROUP = 4  # worker batches encoded at once

    def __init__(self, vae, devices, capacity, size, context_length):
        self.devices, self.vae, self.feed = devices, vae, None
        self.pictures = torch.zeros((self.GROUP * WORKER_BATCH, size, size, 3), dtype=torch.uint8, device=devices.device)
        latent = torch.zeros((vae.config["latent_channels"], size // 8, size // 8), dtype=torch.float16)
        self.ring = Ring(capacity, [latent, torch.zeros((2, context_length), dtype=torch.int16)], devices.device)
        self.encode = devices.record(self._encode)

    @torch.no_grad()
    def _encode(self):
        return self.vae.encode(to_model_range(self.pictures).to(self.devices.dtype)).float().nan_to_num_().clamp_(-12, 12).half()

    def start(self, feed, minimum):
        """Takes pictures from a feed, and waits for the first ones."""
        self.feed = feed
        while self.ring.filled < minimum:
            self._absorb_group()

    def _absorb_group(self):
        batches = [self.feed.next() for _ in range(self.GROUP)]
        torch.cat([batch[0] for batch in batches], out=self.pictures)
        self.ring.add([self.encode(), torch.cat([batch[1] for batch in batches])])

    def absorb(self, most):
        """Encodes what has arrived while fewer than `most` pictures have been taken."""
        if self.ring.seen < most and self.feed.waiting() >= self.GROUP:
            self._absorb_group()

    def sample(self, count):
        """(latents, caption ids, ids of the captions without style words)."""
        latents, tokens = self.ring.sample(count)
        return latents.float(), *tokens.long().unbind(1)
