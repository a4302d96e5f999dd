"""Reads the shipped folder back into checkpoints, so that a longer run can go on from it: `student.pt` and `vae.pt`.

The values are those that the files' integers and scales stand for. usage: from_shipped.py --model ../model --out runs
"""

import argparse
import json
import os

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper

from pocket.quantise import INT4, INT8, dequantise
from pocket.runtime import save


def state_of(model, prefix=""):
    """The state dict that a graph was exported from, quantised weights as their rounded values."""
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    state = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        name = node.input[0].removesuffix("_quantized")
        kind = INT4 if arrays[node.input[0]].data_type == TensorProto.INT4 else INT8
        axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
        codes, scale = (numpy_helper.to_array(arrays[input]).astype(np.float32) for input in node.input)
        # Output channels come first in a state dict; a MatMul's weight has its input channels there.
        if axis != (1 if kind == INT4 else 0):
            codes, scale = codes.T, scale.T
        codes, scale = (torch.from_numpy(np.ascontiguousarray(part)) for part in (codes, scale))
        state[prefix + name] = dequantise(codes, scale, kind)
    for name, tensor in arrays.items():
        if not name.startswith("constant_") and not name.endswith(("_quantized", "_scale")):
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            state[prefix + name] = value.flatten() if value.shape[1:] == (1, 1) else value
    return state


def autoencoder_config(folder):
    """The autoencoder's configuration from those of its two halves."""
    def read(part):
        with open(os.path.join(folder, part, "config.json")) as file:
            return json.load(file)

    return {**read("vae_encoder"), "up_block_out_channels": read("vae_decoder")["block_out_channels"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    graph = lambda name: onnx.load(os.path.join(options.model, name, "model.onnx"))
    os.makedirs(options.out, exist_ok=True)
    denoiser = {**state_of(graph("text_encoder"), "text_encoder."), **state_of(graph("unet"), "unet.")}
    save(denoiser, os.path.join(options.out, "student.pt"))
    save({"config": autoencoder_config(options.model), "weights": {**state_of(graph("vae_decoder")), **state_of(graph("vae_encoder"))}}, os.path.join(options.out, "vae.pt"))


if __name__ == "__main__":
    main()
