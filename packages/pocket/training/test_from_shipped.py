"""Checks that exporting and reading back gives the rounded weights, and that PyTorch and onnxruntime then agree.

Needs no GPU. usage: test_from_shipped.py [--model ../model]
"""

import argparse
import os

import onnx
import torch

from from_shipped import autoencoder_config, state_of
from make_reference import PROMPT, SEED, ShippedModel
from pocket.flow import Denoiser, fixed_noise
from pocket.models.clip_text import TEXT_CONFIG
from pocket.models.unet import UNET_CONFIG
from pocket.models.vae import VAE_CONFIG, AutoencoderKL, decoder_config
from pocket.onnx_models import text_encoder_graph, unet_graph, vae_decoder_graph, vae_encoder_graph
from pocket.quantise import rounded_state
from pocket.runtime import load_weights


def check_round_trip():
    torch.manual_seed(0)
    denoiser, vae = Denoiser().state_dict(), AutoencoderKL().state_dict()
    for weights, read in (
        (denoiser, {**state_of(text_encoder_graph(denoiser, TEXT_CONFIG), "text_encoder."), **state_of(unet_graph(denoiser, UNET_CONFIG), "unet.")}),
        (vae, {**state_of(vae_decoder_graph(vae, decoder_config(VAE_CONFIG))), **state_of(vae_encoder_graph(vae, VAE_CONFIG))}),
    ):
        expected = rounded_state(weights)
        assert read.keys() == expected.keys(), read.keys() ^ expected.keys()
        for name, value in expected.items():
            assert torch.equal(read[name], value), name
        print(f"{len(expected)} tensors come back as rounded_state has them")


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@torch.no_grad()
def check_shipped(folder):
    graph = lambda name: onnx.load(os.path.join(folder, name, "model.onnx"))
    shipped = ShippedModel(folder)
    denoiser = load_weights(Denoiser(), {**state_of(graph("text_encoder"), "text_encoder."), **state_of(graph("unet"), "unet.")}).eval()
    vae = AutoencoderKL(autoencoder_config(folder))
    load_weights(vae, {**state_of(graph("vae_decoder")), **state_of(graph("vae_encoder"))}).eval()
    ids = torch.tensor([shipped.tokenizer.encode(PROMPT)])
    x, t = fixed_noise([SEED], vae.config["latent_channels"]), torch.ones(1)
    states = torch.from_numpy(shipped.states(ids.numpy()))
    inputs = {"sample": x.numpy(), "timestep": (t * 1000).numpy(), "encoder_hidden_states": states.numpy()}
    velocity = torch.from_numpy(shipped.unet.run(None, inputs)[0])
    small = x[:, :, 12:20, 12:20].contiguous()
    picture = torch.from_numpy(shipped.decode(small.numpy())[1])
    mean = torch.from_numpy(shipped.encode(picture.numpy())).chunk(2, 1)[0]
    for name, error in {
        "text_encoder and unet": relative_error(denoiser(x, t, ids), velocity),
        "vae_decoder": relative_error(vae.decode(small), picture),
        "vae_encoder": relative_error(vae.moments(picture)[0], mean),
    }.items():
        print(f"{name}: PyTorch and onnxruntime differ by {error:.1e}")
        assert error < 1e-4, name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="../model")
    options = parser.parse_args()
    check_round_trip()
    check_shipped(options.model)
