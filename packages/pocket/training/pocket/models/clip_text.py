"""CLIPTextModel (Radford et al., 2021, arXiv:2103.00020): a small causal transformer over tokens."""

import torch
from torch import nn
from torch.nn import functional as F

from ..fused import layer_norm, linear

TEXT_CONFIG = {
    "_class_name": "CLIPTextModel",
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "vocab_size": 5173,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 256,
    "bos_token_id": 4094,
    "eos_token_id": 4095,
    "pad_token_id": 4095,
}


class _Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.token_embedding = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.position_embedding = nn.Embedding(config["max_position_embeddings"], config["hidden_size"])
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class _SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        split = lambda y: y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        layers = (self.q_proj, self.k_proj, self.v_proj)
        joined = linear(x, torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]))
        out = F.scaled_dot_product_attention(*map(split, joined.chunk(3, -1)), is_causal=True)
        return linear(out.transpose(1, 2).reshape(batch, length, width), self.out_proj.weight, self.out_proj.bias)


class _MLP(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        x = linear(x, self.fc1.weight, self.fc1.bias)
        return linear(x * torch.sigmoid(1.702 * x), self.fc2.weight, self.fc2.bias)


class _Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.self_attn = _SelfAttention(width, config["num_attention_heads"])
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.mlp = _MLP(width, config["intermediate_size"])

    def forward(self, x):
        x = x + self.self_attn(layer_norm(x, self.layer_norm1))
        return x + self.mlp(layer_norm(x, self.layer_norm2))


class _Layers(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList([_Layer(config) for _ in range(config["num_hidden_layers"])])


class _TextTransformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings, self.encoder = _Embeddings(config), _Layers(config)
        self.final_layer_norm = nn.LayerNorm(config["hidden_size"], config["layer_norm_eps"])

    def forward(self, ids):
        x = self.embeddings(ids)
        for layer in self.encoder.layers:
            x = layer(x)
        return layer_norm(x, self.final_layer_norm)


class CLIPTextModel(nn.Module):
    def __init__(self, config=TEXT_CONFIG):
        super().__init__()
        self.config = config
        self.text_model = _TextTransformer(config)

    def forward(self, ids):
        """The last hidden states, [batch, tokens, width]."""
        return self.text_model(ids)
