"""The four shipped graphs, layer by layer as in `models/`."""

import math

import numpy as np
from onnx import TensorProto

from .onnx_graph import Graph
from .models.unet import level_heads
from .models.vae import EPS


def text_encoder_graph(weights, config):
    g = Graph("text_encoder", weights, "text_encoder.")
    width, heads, length = config["hidden_size"], config["num_attention_heads"], config["max_position_embeddings"]
    ids = g.input("input_ids", ["batch_size", length], TensorProto.INT64)
    embeddings = "text_model.embeddings"
    x = g.node("Gather", [g.weight(f"{embeddings}.token_embedding.weight"), ids], embeddings, axis=0)
    x = g.node("Add", [x, g.weight(f"{embeddings}.position_embedding.weight")], embeddings)
    mask = g.constant(np.triu(np.full((1, 1, length, length), -3.0e38), 1), np.float32)
    for i in range(config["num_hidden_layers"]):
        layer = f"text_model.encoder.layers.{i}"
        h = g.layer_norm(x, f"{layer}.layer_norm1", config["layer_norm_eps"])
        q, k, v = (g.linear(h, f"{layer}.self_attn.{part}_proj") for part in "qkv")
        h = g.linear(g.attention(q, k, v, heads, width, layer, mask), f"{layer}.self_attn.out_proj")
        x = g.node("Add", [x, h], layer)
        h = g.linear(g.layer_norm(x, f"{layer}.layer_norm2", config["layer_norm_eps"]), f"{layer}.mlp.fc1")
        gate = g.node("Sigmoid", [g.node("Mul", [h, g.constant(1.702, np.float32)], layer)], layer)
        x = g.node("Add", [x, g.linear(g.node("Mul", [h, gate], layer), f"{layer}.mlp.fc2")], layer)
    x = g.layer_norm(x, "text_model.final_layer_norm", config["layer_norm_eps"])
    g.output(x, "last_hidden_state", ["batch_size", length, width])
    return g.model()


def _transformer(g, x, name, context, width, heads, groups):
    shape = g.shape_of(x, name)
    h = g.conv(g.group_norm(x, f"{name}.norm", groups, 1e-6), f"{name}.proj_in", kernel=1)
    tokens = g.reshape(g.transpose(h, [0, 2, 3, 1], name), [0, -1, width], name)
    block = f"{name}.transformer_blocks.0"
    for part, norm in (("attn1", "norm1"), ("attn2", "norm2")):
        query = g.layer_norm(tokens, f"{block}.{norm}")
        source = query if part == "attn1" else context
        q = g.linear(query, f"{block}.{part}.to_q", bias=False)
        k, v = (g.linear(source, f"{block}.{part}.to_{letter}", bias=False) for letter in "kv")
        out = g.linear(g.attention(q, k, v, heads, width, f"{block}.{part}"), f"{block}.{part}.to_out.0")
        tokens = g.node("Add", [out, tokens], block)
    h = g.linear(g.layer_norm(tokens, f"{block}.norm3"), f"{block}.ff.net.0.proj")
    middle, end = (g.constant([value], np.int64) for value in (width * 4, width * 8))
    start, last = g.constant([0], np.int64), g.constant([-1], np.int64)
    value, gate = g.node("Slice", [h, start, middle, last], block), g.node("Slice", [h, middle, end, last], block)
    h = g.linear(g.node("Mul", [value, g.gelu(gate, block)], block), f"{block}.ff.net.2")
    tokens = g.node("Add", [h, tokens], block)
    planes = g.node("Reshape", [g.transpose(tokens, [0, 2, 1], name), shape], name)
    return g.node("Add", [g.conv(planes, f"{name}.proj_out", kernel=1), x], name)


def _time_embedding(g, timestep, channels):
    half, scope = channels // 2, "time_proj"
    frequencies = g.constant(np.exp(-math.log(10000) / half * np.arange(half, dtype=np.float32))[None], np.float32)
    angles = g.node("Mul", [g.node("Unsqueeze", [timestep, g.constant([1], np.int64)], scope), frequencies], scope)
    waves = g.node("Concat", [g.node("Cos", [angles], scope), g.node("Sin", [angles], scope)], scope, axis=-1)
    h = g.silu(g.linear(waves, "time_embedding.linear_1"), "time_embedding")
    return g.linear(h, "time_embedding.linear_2")


def unet_graph(weights, config):
    g = Graph("unet", weights, "unet.")
    widths, heads, layers = config["block_out_channels"], level_heads(config), config["layers_per_block"]
    groups, eps, last = config["norm_num_groups"], config["norm_eps"], len(config["block_out_channels"]) - 1
    x = g.input("sample", ["batch_size", config["in_channels"], "height", "width"])
    timestep = g.input("timestep", ["steps"])
    context = g.input("encoder_hidden_states", ["batch_size", "sequence_length", config["cross_attention_dim"]])
    time = _time_embedding(g, timestep, widths[0])
    x = g.conv(x, "conv_in")
    skips = [x]
    for i, width in enumerate(widths):
        for j in range(layers):
            x = g.resnet(x, f"down_blocks.{i}.resnets.{j}", groups, eps, time)
            if heads[i]:
                x = _transformer(g, x, f"down_blocks.{i}.attentions.{j}", context, width, heads[i], groups)
            skips.append(x)
        if i < last:
            x = g.conv(x, f"down_blocks.{i}.downsamplers.0.conv", stride=2)
            skips.append(x)
    x = g.resnet(x, "mid_block.resnets.0", groups, eps, time)
    x = _transformer(g, x, "mid_block.attentions.0", context, widths[-1], heads[-1], groups)
    x = g.resnet(x, "mid_block.resnets.1", groups, eps, time)
    for i, width in enumerate(reversed(widths)):
        for j in range(layers + 1):
            x = g.node("Concat", [x, skips.pop()], f"up_blocks.{i}", axis=1)
            x = g.resnet(x, f"up_blocks.{i}.resnets.{j}", groups, eps, time)
            if heads[last - i]:
                x = _transformer(g, x, f"up_blocks.{i}.attentions.{j}", context, width, heads[last - i], groups)
        if i < last:
            x = g.upsample(x, f"up_blocks.{i}.upsamplers.0")
    x = g.conv(g.silu(g.group_norm(x, "conv_norm_out", groups, eps), "conv_norm_out"), "conv_out")
    g.output(x, "out_sample", ["batch_size", config["out_channels"], "height", "width"])
    return g.model()


def _middle(g, x, name, width, groups):
    x = g.resnet(x, f"{name}.resnets.0", groups, EPS)
    attention = f"{name}.attentions.0"
    tokens = g.transpose(g.reshape(g.group_norm(x, f"{attention}.group_norm", groups, EPS), [0, width, -1], attention), [0, 2, 1], attention)
    q, k, v = (g.linear(tokens, f"{attention}.to_{letter}") for letter in "qkv")
    out = g.linear(g.attention(q, k, v, 1, width, attention), f"{attention}.to_out.0")
    planes = g.node("Reshape", [g.transpose(out, [0, 2, 1], attention), g.shape_of(x, attention)], attention)
    return g.resnet(g.node("Add", [planes, x], attention), f"{name}.resnets.1", groups, EPS)


def vae_decoder_graph(weights, config):
    """Raw latents (already unscaled and unshifted) to pictures in -1..1."""
    g = Graph("vae_decoder", weights)
    widths, groups = config["block_out_channels"][::-1], config["norm_num_groups"]
    x = g.input("latent_sample", ["batch_size", config["latent_channels"], "height", "width"])
    x = g.conv(g.conv(x, "post_quant_conv", kernel=1), "decoder.conv_in")
    x = _middle(g, x, "decoder.mid_block", widths[0], groups)
    for i in range(len(widths)):
        for j in range(config["layers_per_block"] + 1):
            x = g.resnet(x, f"decoder.up_blocks.{i}.resnets.{j}", groups, EPS)
        if i < len(widths) - 1:
            x = g.upsample(x, f"decoder.up_blocks.{i}.upsamplers.0")
    x = g.conv(g.silu(g.group_norm(x, "decoder.conv_norm_out", groups, EPS), "decoder.conv_norm_out"), "decoder.conv_out")
    g.output(x, "sample", ["batch_size", config["out_channels"], "out_height", "out_width"])
    return g.model()


def vae_encoder_graph(weights, config):
    """Pictures in -1..1 to mean and log-variance of the raw latent (before shift and scale)."""
    g = Graph("vae_encoder", weights)
    widths, groups, latents = config["block_out_channels"], config["norm_num_groups"], config["latent_channels"]
    x = g.conv(g.input("sample", ["batch_size", config["in_channels"], "height", "width"]), "encoder.conv_in")
    for i in range(len(widths)):
        for j in range(config["layers_per_block"]):
            x = g.resnet(x, f"encoder.down_blocks.{i}.resnets.{j}", groups, EPS)
        if i < len(widths) - 1:
            x = g.node("Pad", [x, g.constant([0, 0, 0, 0, 0, 0, 1, 1], np.int64)], f"encoder.down_blocks.{i}", mode="constant")
            x = g.conv(x, f"encoder.down_blocks.{i}.downsamplers.0.conv", stride=2, padding=[0] * 4)
    x = _middle(g, x, "encoder.mid_block", widths[-1], groups)
    x = g.conv(g.silu(g.group_norm(x, "encoder.conv_norm_out", groups, EPS), "encoder.conv_norm_out"), "encoder.conv_out")
    x = g.conv(x, "quant_conv", kernel=1)
    g.output(x, "latent_parameters", ["batch_size", 2 * latents, "latent_height", "latent_width"])
    return g.model()
