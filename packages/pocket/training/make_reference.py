"""Records what onnxruntime's CPU makes of the shipped files, for the runtime's parity tests.

For each prompt: token ids, start latents, the latents after four Euler steps and the centre of the
decoded picture. usage: make_reference.py --model ../model --out ../test/reference/pocket-reference.safetensors
"""

import argparse
import json
import os

import numpy as np
import onnxruntime
from safetensors.numpy import save_file

from pocket.flow import fixed_noise
from pocket.tokenizer import Tokenizer

PROMPTS = [("a fox wearing a crown", 11), ("a blue mushroom on a yellow background", 12)]
STEPS = 4
CROP = slice(64, 192)


class ShippedModel:
    """The shipped folder under onnxruntime's CPU provider."""

    def __init__(self, folder):
        session = lambda name: onnxruntime.InferenceSession(os.path.join(folder, name, "model.onnx"), providers=["CPUExecutionProvider"])
        self.text_encoder, self.unet, self.decoder = session("text_encoder"), session("unet"), session("vae_decoder")
        self.tokenizer = Tokenizer(os.path.join(folder, "tokenizer", "tokenizer.json"))
        with open(os.path.join(folder, "vae_decoder", "config.json")) as file:
            self.vae_config = json.load(file)

    def latents(self, ids, start, steps=STEPS):
        states = self.text_encoder.run(None, {"input_ids": ids})[0]
        x = start
        for sigma in np.linspace(1, 1 / steps, steps, dtype=np.float32):
            inputs = {"sample": x, "timestep": np.array([sigma * 1000], np.float32), "encoder_hidden_states": states}
            x = x - np.float32(1 / steps) * self.unet.run(None, inputs)[0]
        return x

    def picture(self, latents):
        raw = latents / np.float32(self.vae_config["scaling_factor"]) + np.float32(self.vae_config["shift_factor"])
        out = self.decoder.run(None, {"latent_sample": raw})[0].clip(-1, 1)
        return ((out + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    model = ShippedModel(options.model)
    channels = model.vae_config["latent_channels"]
    tensors = {}
    for i, (prompt, seed) in enumerate(PROMPTS):
        ids = np.array([model.tokenizer.encode(prompt)], np.int64)
        start = fixed_noise([seed], channels).numpy()
        latents = model.latents(ids, start)
        tensors.update({
            f"input_ids.{i}": ids, f"start_latents.{i}": start, f"final_latents.{i}": latents,
            f"image_centre.{i}": np.ascontiguousarray(model.picture(latents)[0, CROP, CROP]),
        })
    os.makedirs(os.path.dirname(options.out), exist_ok=True)
    metadata = {"prompts": json.dumps([prompt for prompt, _ in PROMPTS]), "sigmas": json.dumps([1, 0.75, 0.5, 0.25]),
                "image_centre": "rows and columns 64 to 191 of the 256x256 picture, RGB, uint8"}
    save_file(tensors, options.out, metadata)
    print(f"{os.path.getsize(options.out):,d} bytes")


if __name__ == "__main__":
    main()
