"""Symmetric weight quantisation: int4 in blocks of 32 along the input channels, int8 per output channel.

Scales are stored in float16 and rounded up to so few bits that every product of scale and integer is
exact in float16: whoever dequantises, in float16 or in float32, gets the same weights.
"""

import torch

BLOCK = 32
INT4, INT8 = "int4", "int8"
_LEVELS = {INT4: 7, INT8: 127}
_SCALE_BITS = {INT4: 8, INT8: 4}  # with 3 and 7 bits of integer, 11 in all
_SMALLEST_SCALE = 2.0 ** -20


def weight_kind(name, value):
    """How a parameter of the shipped models is stored: INT4, INT8 or None for float32."""
    if not name.endswith("weight") or value.dim() < 2:
        return None
    is_unet = "down_blocks" in name or "up_blocks" in name or "mid_block" in name
    if name.startswith(("unet.", "text_encoder.")):
        fits = value.dim() in (2, 4) and value.shape[1] % BLOCK == 0
        if fits and name.startswith("unet.") and is_unet and "time_emb_proj" not in name:
            return INT4
        if fits and ".encoder.layers." in name:
            return INT4
    return INT8


def _blocks(value):
    """[out, in, ...] to [out, in / 32, 32, ...]."""
    return value.unflatten(1, (-1, BLOCK))


def _scale(peak, kind):
    mantissa, exponent = torch.frexp((peak / _LEVELS[kind]).clamp(min=_SMALLEST_SCALE))
    steps = 2.0 ** _SCALE_BITS[kind]
    return torch.ldexp((mantissa * steps).ceil() / steps, exponent)


def quantise(value, kind):
    """(integers, scales): scales are [out, in / 32, ...] for INT4 and [out] for INT8."""
    value = value.float()
    if kind == INT4:
        scale = _scale(_blocks(value).abs().amax(2), kind)
        codes = (_blocks(value) / scale.unsqueeze(2)).round().clamp(-8, 7).flatten(1, 2)
    else:
        scale = _scale(value.abs().flatten(1).amax(1), kind)
        codes = (value / scale.view(-1, *[1] * (value.dim() - 1))).round().clamp(-127, 127)
    return codes.to(torch.int8), scale


def dequantise(codes, scale, kind):
    codes = codes.float()
    if kind == INT4:
        return (_blocks(codes) * scale.unsqueeze(2)).flatten(1, 2)
    return codes * scale.view(-1, *[1] * (codes.dim() - 1))


def rounded(value, kind):
    """The value the shipped file stands for."""
    return dequantise(*quantise(value, kind), kind)


@torch.no_grad()
def rounded_state(state):
    """A state dict with every quantised weight replaced by its rounded value."""
    out = {}
    for name, value in state.items():
        kind = weight_kind(name, value)
        out[name] = rounded(value, kind) if kind else value.float()
    return out


class FlatRounding:
    """`rounded_state` for parameters that lie one after another in a flat tensor, the INT4 ones first.

    In channels-last memory the input channels of a weight are contiguous, so the blocks of all INT4 weights are
    simply runs of 32 elements.
    """

    def __init__(self, names, views, offsets):
        kinds = [weight_kind(name, view) for name, view in zip(names, views)]
        self.int8 = [(offset, view.shape[0], view.numel()) for kind, view, offset in zip(kinds, views, offsets) if kind == INT8]
        self.int4_end = next((offset for kind, offset in zip(kinds, offsets) if kind != INT4), 0)
        for kind, view in zip(kinds, views):
            along = view.permute(0, 2, 3, 1) if view.dim() == 4 else view
            if kind and not along.is_contiguous():
                raise ValueError(f"a weight of shape {tuple(view.shape)} is not channels-last")

    def __call__(self, flat):
        out = flat.clone()
        blocks = out[: self.int4_end].view(-1, BLOCK)
        scale = _scale(blocks.abs().amax(1, keepdim=True), INT4)
        blocks.copy_((blocks / scale).round_().clamp_(-8, 7).mul_(scale))
        for offset, rows, count in self.int8:
            rows = out[offset: offset + count].view(rows, -1)
            scale = _scale(rows.abs().amax(1, keepdim=True), INT8)
            rows.copy_((rows / scale).round_().clamp_(-127, 127).mul_(scale))
        return out
