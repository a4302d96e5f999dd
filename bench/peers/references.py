"""Float32 results of the full-size graphs that diffusers' own numbers are lacking for, by onnxruntime on the CPU.

python3 bench/peers/references.py FIXTURES [--graph NAME ...]

FIXTURES holds full-size/ (the repository unpacks its own to .cache/fixtures). Of each graph every float16 becomes float32, weights are
hash-filled and rounded to float16 as the benchmark fills them, inputs too, and what comes out is left beside the graph as
NAME.reference.safetensors, where the benchmark looks for it. SDXL takes 25 GB of memory. `--graph sd15-unet-fp16` checks this
script: its result was 3.4e-5 from diffusers' own.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

# Shapes of inputs, and the name of the result, where it is not the graph's. UNets and the decoder are checked at 32x32 latents.
GRAPHS = {
    "sd-vae-decoder-fp16": ({"latent_sample": [1, 4, 32, 32]}, None),
    "sdxl-unet-fp16": (
        {
            "sample": [1, 4, 32, 32],
            "timestep": [1],
            "encoder_hidden_states": [1, 77, 2048],
            "text_embeds": [1, 1280],
            "time_ids": [1, 6],
        },
        "sdxl-unet",
    ),
    "sd15-unet-fp16": (
        {"sample": [1, 4, 64, 64], "timestep": [1], "encoder_hidden_states": [1, 77, 768]},
        "sd15-unet-onnxruntime",
    ),
}


def hash_fill(name, shape, mean=0.0, std=1.0):
    """What `packages/dev/src/hash-fill.ts` makes, rounded to float16 once, as float32."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    elements = math.prod(shape)
    values = np.empty(elements, np.float32)
    # In parts: the arithmetic takes eight times the memory of its result.
    for start in range(0, elements, 1 << 22):
        count = min(1 << 22, elements - start)
        x = np.arange(start, start + count, dtype=np.uint64) + seed * 0x9E3779B9
        x &= 0xFFFFFFFF
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x ^= x >> np.uint64(shift)
            x = x * np.uint64(factor) & np.uint64(0xFFFFFFFF)
        x ^= x >> np.uint64(16)
        part = mean + std * math.sqrt(12) * ((x >> np.uint64(8)) / 0x1000000 - 0.5)
        values[start : start + count] = part.astype(np.float16)
    return values.reshape(shape)


def in_float32(model):
    """Makes every float16 of the graph float32, weights outside it aside."""
    for info in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        tensor = info.type.tensor_type
        if tensor.elem_type == TensorProto.FLOAT16:
            tensor.elem_type = TensorProto.FLOAT
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32)))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16 and tensor.data_location != TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def filled(model, listed):
    """Weights that lie outside the graph, which become inputs of it: protobuf holds no more than 2 GB."""
    factors = {name for node in model.graph.node if node.op_type == "Mul" for name in node.input}
    kept, weights = [], {}
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            kept.append(tensor)
            continue
        shape = list(tensor.dims)
        # What the list lacks scales nothing and adds nothing, in the benchmark too.
        given = listed.get(tensor.name, {"mean": float(tensor.name in factors), "std": 0.0})
        weights[tensor.name] = hash_fill(tensor.name, shape, given["mean"], given["std"])
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, shape))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return weights


def reference(folder, name):
    shapes, _ = GRAPHS[name]
    model = onnx.load(folder / f"{name}.onnx", load_external_data=False)
    listed = {each["name"]: each for each in json.loads((folder / f"{name}.weights.json").read_text())["weights"]}
    inputs = list(model.graph.input)
    in_float32(model)
    weights = filled(model, listed)
    feeds = {}
    for given in inputs:
        integers = given.type.tensor_type.elem_type == TensorProto.INT64
        shape = shapes[given.name] if len(given.type.tensor_type.shape.dim) else []
        values = np.full(shape, 981.0) if given.name == "timestep" else hash_fill(given.name, shape)
        feeds[given.name] = np.asarray(values, np.int64 if integers else np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {**feeds, **weights})))
    return {**feeds, **outputs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", type=Path)
    parser.add_argument("--graph", action="append", choices=GRAPHS, help="the first two where none is named")
    options = parser.parse_args()
    folder = options.fixtures / "full-size"
    for name in options.graph or list(GRAPHS)[:2]:
        path = folder / f"{GRAPHS[name][1] or name}.reference.safetensors"
        save_file(reference(folder, name), path)
        print(path, flush=True)


if __name__ == "__main__":
    main()
