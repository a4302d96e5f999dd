"""A small builder for ONNX graphs with quantised weights, writing the patterns that exporters write.

Weights are DequantizeLinear (opset 21): int4 blocked along the input channels, or int8 per output
channel, with float16 scales cast to float32. Activations are float32.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .quantise import BLOCK, INT4, quantise, weight_kind

OPSET = 21
IR_VERSION = 10


def pack_int4(codes):
    """Two signed 4-bit integers a byte, the first in the low half."""
    flat = codes.reshape(-1).astype(np.int8) & 0x0F
    if flat.size % 2:
        flat = np.append(flat, 0)
    return (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)


class Graph:
    """Adds nodes one at a time; every method returns the name of its output."""

    def __init__(self, name, weights, prefix=""):
        self.name, self.weights, self.prefix = name, weights, prefix
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self._constants, self._count = {}, 0

    # ---- graph
    def input(self, name, shape, kind=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value, name, shape):
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def node(self, op, inputs, scope="", **attributes):
        self._count += 1
        out = f"{scope}/{op}_{self._count}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def constant(self, value, dtype):
        """A shared small initializer."""
        array = np.array(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def model(self):
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="calotype-pocket", ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model

    # ---- parameters
    def plain(self, name):
        """A float32 parameter (norms and biases)."""
        self.initializers.append(numpy_helper.from_array(self.weights[self.prefix + name].float().numpy(), name))
        return name

    def weight(self, name, transpose=False):
        """A quantised weight; `transpose` turns a linear layer's [out, in] into MatMul's [in, out]."""
        value = self.weights[self.prefix + name]
        kind = weight_kind(self.prefix + name, value)
        codes, scale = (part.numpy() for part in quantise(value, kind))
        axis = 1 if kind == INT4 else 0
        if transpose:
            codes, axis = np.ascontiguousarray(codes.T), 1 - axis
            scale = np.ascontiguousarray(scale.T)
        if kind == INT4:
            tensor = helper.make_tensor(f"{name}_quantized", TensorProto.INT4, codes.shape, pack_int4(codes).tobytes(), raw=True)
            options = {"axis": axis, "block_size": BLOCK}
        else:
            tensor = numpy_helper.from_array(codes, f"{name}_quantized")
            options = {"axis": axis}
        self.initializers += [tensor, numpy_helper.from_array(scale.astype(np.float16), f"{name}_scale")]
        half = self.node("DequantizeLinear", [f"{name}_quantized", f"{name}_scale"], name, **options)
        return self.node("Cast", [half], name, to=TensorProto.FLOAT)

    # ---- layers
    def conv(self, x, name, kernel=3, stride=1, padding=None):
        pads = [kernel // 2] * 4 if padding is None else padding
        inputs = [x, self.weight(f"{name}.weight"), self.plain(f"{name}.bias")]
        return self.node("Conv", inputs, name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, dilations=[1, 1], group=1)

    def linear(self, x, name, bias=True):
        y = self.node("MatMul", [x, self.weight(f"{name}.weight", transpose=True)], name)
        return self.node("Add", [y, self.plain(f"{name}.bias")], name) if bias else y

    def layer_norm(self, x, name, eps=1e-5):
        return self.node("LayerNormalization", [x, self.plain(f"{name}.weight"), self.plain(f"{name}.bias")], name, axis=-1, epsilon=eps)

    def group_norm(self, x, name, groups, eps):
        """Instance normalisation over groups, then the affine part: how exporters spell GroupNorm."""
        ones, zeros = self.constant(np.ones(groups), np.float32), self.constant(np.zeros(groups), np.float32)
        grouped = self.node("Reshape", [x, self.constant([0, groups, -1], np.int64)], name)
        normal = self.node("InstanceNormalization", [grouped, ones, zeros], name, epsilon=eps)
        back = self.node("Reshape", [normal, self.shape_of(x, name)], name)
        for part, op in (("weight", "Mul"), ("bias", "Add")):
            value = self.weights[f"{self.prefix}{name}.{part}"].float().numpy().reshape(-1, 1, 1)
            self.initializers.append(numpy_helper.from_array(value, f"{name}.{part}"))
            back = self.node(op, [back, f"{name}.{part}"], name)
        return back

    def shape_of(self, x, scope):
        return self.node("Shape", [x], scope)

    def silu(self, x, scope):
        return self.node("Mul", [x, self.node("Sigmoid", [x], scope)], scope)

    def gelu(self, x, scope):
        """The exact GELU, by the error function."""
        erf = self.node("Erf", [self.node("Div", [x, self.constant(2 ** 0.5, np.float32)], scope)], scope)
        scaled = self.node("Mul", [x, self.node("Add", [erf, self.constant(1.0, np.float32)], scope)], scope)
        return self.node("Mul", [scaled, self.constant(0.5, np.float32)], scope)

    def reshape(self, x, shape, scope):
        return self.node("Reshape", [x, self.constant(shape, np.int64)], scope)

    def transpose(self, x, order, scope):
        return self.node("Transpose", [x], scope, perm=order)

    def attention(self, q, k, v, heads, width, scope, mask=None):
        """Softmax attention over [batch, tokens, width] with the heads split and joined again."""
        split = lambda x, order: self.transpose(self.reshape(x, [0, -1, heads, width // heads], scope), order, scope)
        scores = self.node("MatMul", [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])], scope)
        scores = self.node("Mul", [scores, self.constant((width // heads) ** -0.5, np.float32)], scope)
        if mask is not None:
            scores = self.node("Add", [scores, mask], scope)
        mixed = self.node("MatMul", [self.node("Softmax", [scores], scope, axis=-1), split(v, [0, 2, 1, 3])], scope)
        return self.reshape(self.transpose(mixed, [0, 2, 1, 3], scope), [0, -1, width], scope)

    def resnet(self, x, name, groups, eps, time=None):
        channels = lambda part: self.weights[f"{self.prefix}{name}.{part}.weight"].shape[:2]
        h = self.conv(self.silu(self.group_norm(x, f"{name}.norm1", groups, eps), name), f"{name}.conv1")
        if time is not None:
            shift = self.linear(self.silu(time, name), f"{name}.time_emb_proj")
            h = self.node("Add", [h, self.node("Unsqueeze", [shift, self.constant([2, 3], np.int64)], name)], name)
        h = self.conv(self.silu(self.group_norm(h, f"{name}.norm2", groups, eps), name), f"{name}.conv2")
        out, into = channels("conv2")[0], channels("conv1")[1]
        return self.node("Add", [self.conv(x, f"{name}.conv_shortcut", kernel=1) if out != into else x, h], name)

    def upsample(self, x, name):
        scales = self.constant([1, 1, 2, 2], np.float32)
        larger = self.node("Resize", [x, "", scales], name, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        return self.conv(larger, f"{name}.conv")
