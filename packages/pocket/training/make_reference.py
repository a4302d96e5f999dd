"""Records what onnxruntime's CPU makes of the shipped files, for the runtime's parity test.

Token ids, text states, start latents, the latents after four Euler steps; the middle of those latents decoded,
and that picture encoded again. usage:
make_reference.py --model ../model --out ../../calotype/test/fixtures/pocket-reference.safetensors
"""

import argparse
import json
import os

import numpy as np
import onnxruntime
from safetensors.numpy import save_file

from pocket.flow import fixed_noise
from pocket.tokenizer import Tokenizer

PROMPT, SEED = "a fox wearing a crown", 11
STEPS = 4
MIDDLE = slice(12, 20)  # rows and columns of the 32x32 latents; 64x64 pixels


class ShippedModel:
    """The shipped folder under onnxruntime's CPU provider."""

    def __init__(self, folder):
        session = lambda name: onnxruntime.InferenceSession(os.path.join(folder, name, "model.onnx"), providers=["CPUExecutionProvider"])
        self.text_encoder, self.unet = session("text_encoder"), session("unet")
        self.decoder, self.encoder = session("vae_decoder"), session("vae_encoder")
        self.tokenizer = Tokenizer(os.path.join(folder, "tokenizer", "tokenizer.json"))
        with open(os.path.join(folder, "vae_decoder", "config.json")) as file:
            self.vae_config = json.load(file)

    def states(self, ids):
        return self.text_encoder.run(None, {"input_ids": ids})[0]

    def latents(self, states, start, steps=STEPS):
        x = start
        for sigma in np.linspace(1, 1 / steps, steps, dtype=np.float32):
            inputs = {"sample": x, "timestep": np.array([sigma * 1000], np.float32), "encoder_hidden_states": states}
            x = x - np.float32(1 / steps) * self.unet.run(None, inputs)[0]
        return x

    def decode(self, latents):
        """Scaled latents to a picture in -1..1."""
        raw = latents / np.float32(self.vae_config["scaling_factor"]) + np.float32(self.vae_config["shift_factor"])
        return raw, self.decoder.run(None, {"latent_sample": raw})[0]

    def encode(self, picture):
        """A picture in -1..1 to mean and log-variance of raw latents."""
        return self.encoder.run(None, {"sample": picture})[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    model = ShippedModel(options.model)
    ids = np.array([model.tokenizer.encode(PROMPT)], np.int64)
    start = fixed_noise([SEED], model.vae_config["latent_channels"]).numpy()
    states = model.states(ids)
    latents = model.latents(states, start)
    raw, picture = model.decode(np.ascontiguousarray(latents[:, :, MIDDLE, MIDDLE]))
    tensors = {
        "input_ids": ids.astype(np.int32), "states": states, "start_latents": start, "final_latents": latents,
        "middle_latents": raw, "middle_picture": picture, "middle_encoded": model.encode(picture),
    }
    os.makedirs(os.path.dirname(options.out), exist_ok=True)
    save_file(tensors, options.out, {"prompt": PROMPT, "seed": str(SEED), "onnxruntime": onnxruntime.__version__})
    print(f"{os.path.getsize(options.out):,d} bytes")


if __name__ == "__main__":
    main()
