"""Phase 5: writes the shipped model folder in diffusers' ONNX layout from vae.pt and student.pt.

usage: export_onnx.py --runs runs --out ../model
"""

import argparse
import json
import os

import onnx

from pocket.flow import WINDOWS
from pocket.models.clip_text import TEXT_CONFIG
from pocket.models.unet import UNET_CONFIG
from pocket.models.vae import decoder_config, encoder_config
from pocket.onnx_models import text_encoder_graph, unet_graph, vae_decoder_graph, vae_encoder_graph
from pocket.runtime import load

MODEL_INDEX = {
    "_class_name": "OnnxStableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "requires_safety_checker": False,
    "_generation_defaults": {"num_inference_steps": WINDOWS, "guidance_scale": 1},
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "text_encoder": ["diffusers", "OnnxRuntimeModel"],
    "unet": ["diffusers", "OnnxRuntimeModel"],
    "vae_decoder": ["diffusers", "OnnxRuntimeModel"],
    "vae_encoder": ["diffusers", "OnnxRuntimeModel"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
}
# The last sigma is 1 / steps for four steps: sigmas 1, 0.75, 0.5, 0.25, the windows of the distillation.
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "_diffusers_version": "0.30.0",
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "shift_terminal": 1 / WINDOWS,
    "use_dynamic_shifting": False,
}


def preview_colours(folder):
    """The decoder's `_latent_rgb_factors` that the folder has already; `npm run test:gpu -- pocket.gpu` says whether they still hold."""
    try:
        with open(os.path.join(folder, "vae_decoder", "config.json")) as file:
            return {name: value for name, value in json.load(file).items() if name.startswith("_latent_rgb_factors")}
    except FileNotFoundError:
        return {}


def write_json(value, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(json.dumps(value, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    student, vae = load(os.path.join(options.runs, "student.pt")), load(os.path.join(options.runs, "vae.pt"))
    unet_config = {**UNET_CONFIG}
    decoder, encoder = decoder_config(vae["config"]), encoder_config(vae["config"])
    parts = {
        "text_encoder": (text_encoder_graph(student, TEXT_CONFIG), TEXT_CONFIG),
        "unet": (unet_graph(student, unet_config), unet_config),
        "vae_decoder": (vae_decoder_graph(vae["weights"], decoder), {**decoder, **preview_colours(options.out)}),
        "vae_encoder": (vae_encoder_graph(vae["weights"], encoder), encoder),
    }
    for name, (model, config) in parts.items():
        write_json(config, os.path.join(options.out, name, "config.json"))
        onnx.save(model, os.path.join(options.out, name, "model.onnx"))
    write_json(MODEL_INDEX, os.path.join(options.out, "model_index.json"))
    write_json(SCHEDULER, os.path.join(options.out, "scheduler", "scheduler_config.json"))
    sizes = {os.path.relpath(os.path.join(folder, file), options.out): os.path.getsize(os.path.join(folder, file))
             for folder, _, files in os.walk(options.out) for file in files}
    for name, size in sorted(sizes.items()):
        print(f"{size:12,d}  {name}")
    print(f"{sum(sizes.values()):12,d}  in all")


if __name__ == "__main__":
    main()
