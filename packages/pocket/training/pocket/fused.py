"""Training's elementwise work in few passes over memory: Triton kernels for bfloat16 on GPUs, plain PyTorch elsewhere.

PyTorch's GroupNorm turns channels-last tensors around and runs in many passes; at these widths that is most
of a training step. Here a norm with its SiLU reads its input twice and writes once.
"""

import torch
from torch.nn import functional as F

try:
    import triton
    import triton.language as tl
except ImportError:  # no GPU, no Triton: the plain versions below serve
    triton = None

_TILE = 4096  # elements of a program's tile
_INTERPRETED = triton is not None and triton.knobs.runtime.interpret


def _fusable(x):
    return triton is not None and x.dtype == torch.bfloat16 and (x.is_cuda or _INTERPRETED)


def _power_of_2(n):
    return 1 << (n - 1).bit_length()


if triton is not None:
    # Numbers that vary from layer to layer must not each compile a kernel of their own.
    _jit = triton.jit(do_not_specialize=["parts", "size", "part_rows"])

    @triton.jit
    def _tile(row, end, channels, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
        rows, c = row + tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_C)
        return rows[:, None] * channels + c[None, :], (rows[:, None] < end) & (c[None, :] < channels)

    @_jit
    def _channel_sums(x_ptr, sums_ptr, rows, channels, part_rows, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, SQUARES: tl.constexpr):
        """Sums over a part of a sample's rows, per channel; with SQUARES, of the difference from the first row, and of its square.

        Squares about a value of the data keep what squares about zero would lose where the mean is large.
        """
        n, part, parts = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
        x_ptr += n.to(tl.int64) * rows * channels
        end = tl.minimum(rows, (part + 1) * part_rows)
        first = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
        second = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
        c = tl.arange(0, BLOCK_C)
        origin = tl.zeros([BLOCK_C], tl.float32)
        if SQUARES:
            origin = tl.load(x_ptr + c, c < channels, 0.0).to(tl.float32)
        for row in range(part * part_rows, end, BLOCK_R):
            at, inside = _tile(row, end, channels, BLOCK_R, BLOCK_C)
            x = tl.where(inside, tl.load(x_ptr + at, inside, 0.0).to(tl.float32) - origin[None, :], 0.0)
            first += x
            if SQUARES:
                second += x * x
        out = sums_ptr + (n * parts + part) * 2 * channels + c
        tl.store(out, tl.sum(first, 0), c < channels)
        if SQUARES:
            tl.store(out + channels, tl.sum(second, 0), c < channels)

    @triton.jit
    def _part_total(sums_ptr, which, n, c, inside, parts, channels):
        total = tl.zeros(c.shape, tl.float32)
        for part in range(parts):
            total += tl.load(sums_ptr + ((n * parts + part) * 2 + which) * channels + c, inside, 0.0)
        return total

    @_jit
    def _norm_coefficients(x_ptr, sums_ptr, shift_ptr, weight_ptr, bias_ptr, a_ptr, b_ptr, total_ptr, mean_ptr, rstd_ptr, parts, rows, channels, size, eps,
                           SHIFTED: tl.constexpr, GROUPS: tl.constexpr, BLOCK_S: tl.constexpr):
        """Per sample and channel the a and b of a*x + b, which is the affine norm of x + shift."""
        n = tl.program_id(0)
        g, j = tl.arange(0, GROUPS), tl.arange(0, BLOCK_S)
        c = g[:, None] * size + j[None, :]
        inside = (j[None, :] < size) & (g[:, None] >= 0)
        first = _part_total(sums_ptr, 0, n, c, inside, parts, channels)
        second = _part_total(sums_ptr, 1, n, c, inside, parts, channels)
        origin = tl.load(x_ptr + n.to(tl.int64) * rows * channels + c, inside, 0.0).to(tl.float32)
        tl.store(total_ptr + n * channels + c, first + rows * origin, inside)
        shift = tl.zeros(c.shape, tl.float32)
        if SHIFTED:
            shift = tl.load(shift_ptr + n * channels + c, inside, 0.0).to(tl.float32)
            origin += shift
        count = rows * size
        mean = tl.sum(first + rows * origin, 1) / count
        away = tl.where(inside, origin - mean[:, None], 0.0)
        variance = tl.sum(second + 2 * away * first + rows * away * away, 1) / count
        rstd = 1 / tl.sqrt(tl.maximum(variance, 0.0) + eps)
        a = rstd[:, None] * tl.load(weight_ptr + c, inside, 0.0).to(tl.float32)
        b = tl.load(bias_ptr + c, inside, 0.0).to(tl.float32) + (shift - mean[:, None]) * a
        tl.store(a_ptr + n * channels + c, a, inside)
        tl.store(b_ptr + n * channels + c, b, inside)
        tl.store(mean_ptr + n * GROUPS + g, mean)
        tl.store(rstd_ptr + n * GROUPS + g, rstd)

    @_jit
    def _norm_apply(x_ptr, a_ptr, b_ptr, y_ptr, rows, channels, part_rows, SILU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
        n, part = tl.program_id(0), tl.program_id(1)
        base = n.to(tl.int64) * rows * channels
        end = tl.minimum(rows, (part + 1) * part_rows)
        c = tl.arange(0, BLOCK_C)
        a = tl.load(a_ptr + n * channels + c, c < channels, 0.0)[None, :]
        b = tl.load(b_ptr + n * channels + c, c < channels, 0.0)[None, :]
        for row in range(part * part_rows, end, BLOCK_R):
            at, inside = _tile(row, end, channels, BLOCK_R, BLOCK_C)
            z = tl.load(x_ptr + base + at, inside, 0.0).to(tl.float32) * a + b
            if SILU:
                z = z * tl.sigmoid(z)
            tl.store(y_ptr + base + at, z.to(y_ptr.dtype.element_ty), inside)

    @triton.jit
    def _through_silu(x, dy, a, b, SILU: tl.constexpr):
        """The gradient at the norm's output."""
        if SILU:
            z = x * a + b
            s = tl.sigmoid(z)
            dy = dy * s * (1 + z * (1 - s))
        return dy

    @_jit
    def _norm_gradient_sums(x_ptr, dy_ptr, a_ptr, b_ptr, sums_ptr, rows, channels, part_rows, SILU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
        n, part, parts = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
        base = n.to(tl.int64) * rows * channels
        end = tl.minimum(rows, (part + 1) * part_rows)
        c = tl.arange(0, BLOCK_C)
        a = tl.load(a_ptr + n * channels + c, c < channels, 0.0)[None, :]
        b = tl.load(b_ptr + n * channels + c, c < channels, 0.0)[None, :]
        first = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
        second = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
        for row in range(part * part_rows, end, BLOCK_R):
            at, inside = _tile(row, end, channels, BLOCK_R, BLOCK_C)
            x = tl.load(x_ptr + base + at, inside, 0.0).to(tl.float32)
            dz = _through_silu(x, tl.load(dy_ptr + base + at, inside, 0.0).to(tl.float32), a, b, SILU)
            first += dz
            second += dz * x
        out = sums_ptr + (n * parts + part) * 2 * channels + c
        tl.store(out, tl.sum(first, 0), c < channels)
        tl.store(out + channels, tl.sum(second, 0), c < channels)

    @_jit
    def _norm_gradient_coefficients(sums_ptr, shift_ptr, weight_ptr, total_ptr, mean_ptr, rstd_ptr, c1_ptr, c0_ptr, dweight_ptr, dbias_ptr, dshift_ptr,
                                    parts, rows, channels, size, SHIFTED: tl.constexpr, GROUPS: tl.constexpr, BLOCK_S: tl.constexpr):
        """dx = a*dz + c1*x + c0, and each sample's share of the gradients of weight, bias and shift."""
        n = tl.program_id(0)
        g, j = tl.arange(0, GROUPS), tl.arange(0, BLOCK_S)
        c = g[:, None] * size + j[None, :]
        inside = (j[None, :] < size) & (g[:, None] >= 0)
        at = n * channels + c
        mean, rstd = tl.load(mean_ptr + n * GROUPS + g)[:, None], tl.load(rstd_ptr + n * GROUPS + g)[:, None]
        weight = tl.load(weight_ptr + c, inside, 0.0).to(tl.float32)
        dz = _part_total(sums_ptr, 0, n, c, inside, parts, channels)
        offset = -mean + tl.zeros(c.shape, tl.float32)
        if SHIFTED:
            offset += tl.load(shift_ptr + at, inside, 0.0).to(tl.float32)
        dz_normal = rstd * (_part_total(sums_ptr, 1, n, c, inside, parts, channels) + offset * dz)
        dz_normal = tl.where(inside, dz_normal, 0.0)
        count = rows * size
        mean_dz = tl.sum(weight * dz, 1)[:, None] / count
        mean_dz_normal = tl.sum(weight * dz_normal, 1)[:, None] / count
        c1 = -rstd * rstd * mean_dz_normal + tl.zeros(c.shape, tl.float32)
        c0 = -rstd * mean_dz + c1 * offset
        tl.store(c1_ptr + at, c1, inside)
        tl.store(c0_ptr + at, c0, inside)
        tl.store(dweight_ptr + at, dz_normal, inside)
        tl.store(dbias_ptr + at, dz, inside)
        if SHIFTED:
            total = tl.load(total_ptr + at, inside, 0.0)
            tl.store(dshift_ptr + at, rstd * weight * dz + c1 * total + c0 * rows, inside)

    @_jit
    def _norm_gradient_apply(x_ptr, dy_ptr, a_ptr, b_ptr, c1_ptr, c0_ptr, dx_ptr, rows, channels, part_rows,
                             SILU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
        n, part = tl.program_id(0), tl.program_id(1)
        base = n.to(tl.int64) * rows * channels
        end = tl.minimum(rows, (part + 1) * part_rows)
        c = tl.arange(0, BLOCK_C)
        here, valid = n * channels + c, c < channels
        a, b = tl.load(a_ptr + here, valid, 0.0)[None, :], tl.load(b_ptr + here, valid, 0.0)[None, :]
        c1, c0 = tl.load(c1_ptr + here, valid, 0.0)[None, :], tl.load(c0_ptr + here, valid, 0.0)[None, :]
        for row in range(part * part_rows, end, BLOCK_R):
            at, inside = _tile(row, end, channels, BLOCK_R, BLOCK_C)
            x = tl.load(x_ptr + base + at, inside, 0.0).to(tl.float32)
            dz = _through_silu(x, tl.load(dy_ptr + base + at, inside, 0.0).to(tl.float32), a, b, SILU)
            tl.store(dx_ptr + base + at, (a * dz + c1 * x + c0).to(dx_ptr.dtype.element_ty), inside)

    @triton.jit
    def _add_biased(x_ptr, h_ptr, bias_ptr, y_ptr, count, channels, BLOCK: tl.constexpr):
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = at < count
        y = tl.load(x_ptr + at, inside, 0.0).to(tl.float32) + tl.load(h_ptr + at, inside, 0.0).to(tl.float32)
        y += tl.load(bias_ptr + at % channels, inside, 0.0).to(tl.float32)
        tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), inside)

    @triton.jit
    def _gelu_parts(gate):
        """The normal distribution's share below the gate, and its density there."""
        return 0.5 * (1 + tl.erf(gate * 0.7071067811865476)), tl.exp(-0.5 * gate * gate) * 0.3989422804014327

    @triton.jit
    def _geglu(h_ptr, y_ptr, count, inner, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < count
        source = (at // inner).to(tl.int64) * (2 * inner) + at % inner
        value = tl.load(h_ptr + source, inside, 0.0).to(tl.float32)
        gate = tl.load(h_ptr + source + inner, inside, 0.0).to(tl.float32)
        below, _ = _gelu_parts(gate)
        tl.store(y_ptr + at, (value * gate * below).to(y_ptr.dtype.element_ty), inside)

    @triton.jit
    def _geglu_gradient(h_ptr, dy_ptr, dh_ptr, count, inner, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < count
        source = (at // inner).to(tl.int64) * (2 * inner) + at % inner
        value = tl.load(h_ptr + source, inside, 0.0).to(tl.float32)
        gate = tl.load(h_ptr + source + inner, inside, 0.0).to(tl.float32)
        dy = tl.load(dy_ptr + at, inside, 0.0).to(tl.float32)
        below, density = _gelu_parts(gate)
        tl.store(dh_ptr + source, (dy * gate * below).to(dh_ptr.dtype.element_ty), inside)
        tl.store(dh_ptr + source + inner, (dy * value * (below + gate * density)).to(dh_ptr.dtype.element_ty), inside)

    @triton.jit
    def _layer_norm(x_ptr, weight_ptr, bias_ptr, y_ptr, mean_ptr, rstd_ptr, rows, channels, eps, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
        row, c = tl.program_id(0) * BLOCK_R, tl.arange(0, BLOCK_C)
        at, inside = _tile(row, rows, channels, BLOCK_R, BLOCK_C)
        x = tl.load(x_ptr + at, inside, 0.0).to(tl.float32)
        mean = tl.sum(x, 1) / channels
        away = tl.where(c[None, :] < channels, x - mean[:, None], 0.0)
        rstd = 1 / tl.sqrt(tl.sum(away * away, 1) / channels + eps)
        weight = tl.load(weight_ptr + c, c < channels, 0.0).to(tl.float32)
        bias = tl.load(bias_ptr + c, c < channels, 0.0).to(tl.float32)
        tl.store(y_ptr + at, (away * rstd[:, None] * weight[None, :] + bias[None, :]).to(y_ptr.dtype.element_ty), inside)
        r = row + tl.arange(0, BLOCK_R)
        tl.store(mean_ptr + r, mean, r < rows)
        tl.store(rstd_ptr + r, rstd, r < rows)

    @triton.jit
    def _layer_norm_gradient(x_ptr, dy_ptr, weight_ptr, mean_ptr, rstd_ptr, dx_ptr, sums_ptr, rows, channels, part_rows,
                             BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
        """dx, and each program's share of the gradients of bias and weight."""
        part, c = tl.program_id(0), tl.arange(0, BLOCK_C)
        end = tl.minimum(rows, (part + 1) * part_rows)
        weight = tl.load(weight_ptr + c, c < channels, 0.0).to(tl.float32)[None, :]
        dbias = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
        dweight = tl.zeros([BLOCK_R, BLOCK_C], tl.float32)
        for row in range(part * part_rows, end, BLOCK_R):
            at, inside = _tile(row, end, channels, BLOCK_R, BLOCK_C)
            r = row + tl.arange(0, BLOCK_R)
            mean, rstd = tl.load(mean_ptr + r, r < end, 0.0)[:, None], tl.load(rstd_ptr + r, r < end, 0.0)[:, None]
            dy = tl.load(dy_ptr + at, inside, 0.0).to(tl.float32)
            normal = tl.where(inside, (tl.load(x_ptr + at, inside, 0.0).to(tl.float32) - mean) * rstd, 0.0)
            dbias += dy
            dweight += dy * normal
            dy *= weight
            dx = rstd * (dy - tl.sum(dy, 1)[:, None] / channels - normal * (tl.sum(dy * normal, 1)[:, None] / channels))
            tl.store(dx_ptr + at, dx.to(dx_ptr.dtype.element_ty), inside)
        out = sums_ptr + part * 2 * channels + c
        tl.store(out, tl.sum(dbias, 0), c < channels)
        tl.store(out + channels, tl.sum(dweight, 0), c < channels)

    @triton.jit
    def _adamw(master_ptr, ema_ptr, mean_ptr, square_ptr, gradient_ptr, weight_ptr, scale_ptr, count, rate, mean_correction, square_correction, decay, keep,
               BETA1: tl.constexpr, BETA2: tl.constexpr, EPS: tl.constexpr, PUBLISH: tl.constexpr, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        inside = at < count
        gradient = tl.load(gradient_ptr + at, inside, 0.0).to(tl.float32) * tl.load(scale_ptr)
        mean = BETA1 * tl.load(mean_ptr + at, inside, 0.0) + (1 - BETA1) * gradient
        square = BETA2 * tl.load(square_ptr + at, inside, 0.0) + (1 - BETA2) * gradient * gradient
        master = tl.load(master_ptr + at, inside, 0.0)
        master = master * (1 - decay) - rate * (mean * mean_correction) / (tl.sqrt(square * square_correction) + EPS)
        ema = tl.load(ema_ptr + at, inside, 0.0)
        tl.store(mean_ptr + at, mean, inside)
        tl.store(square_ptr + at, square, inside)
        tl.store(master_ptr + at, master, inside)
        tl.store(ema_ptr + at, master + keep * (ema - master), inside)
        if PUBLISH:
            tl.store(weight_ptr + at, master.to(weight_ptr.dtype.element_ty), inside)


def _grid(samples, rows, channels):
    """(grid, rows of a part, tile shape) that make some 2,000 programs of at least four tiles."""
    block_c = _power_of_2(channels)
    block_r = max(1, _TILE // block_c)
    parts = max(1, min(-(-rows // (4 * block_r)), -(-2048 // samples)))
    part_rows = -(-rows // (parts * block_r)) * block_r
    return (samples, -(-rows // part_rows)), part_rows, {"BLOCK_R": block_r, "BLOCK_C": block_c}


def _dense(x):
    """(samples, rows, channels) of a channels-last tensor and the tensor, copied if it lies otherwise."""
    n, c, h, w = x.shape
    return (n, h * w, c), x.contiguous(memory_format=torch.channels_last)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, shift, weight, bias, groups, eps, silu):
        (n, rows, channels), x = _dense(x)
        shift = None if shift is None else shift.contiguous()
        grid, part_rows, tile = _grid(n, rows, channels)
        new = lambda *shape: torch.empty(shape, dtype=torch.float32, device=x.device)
        sums, a, b, total = new(n, grid[1], 2, channels), new(n, channels), new(n, channels), new(n, channels)
        mean, rstd = new(n, groups), new(n, groups)
        group = {"SHIFTED": shift is not None, "GROUPS": groups, "BLOCK_S": _power_of_2(channels // groups)}
        _channel_sums[grid](x, sums, rows, channels, part_rows, SQUARES=True, **tile)
        _norm_coefficients[(n,)](x, sums, shift, weight, bias, a, b, total, mean, rstd, grid[1], rows, channels, channels // groups, eps, **group)
        y = torch.empty_like(x)
        _norm_apply[grid](x, a, b, y, rows, channels, part_rows, SILU=silu, **tile)
        ctx.save_for_backward(x, shift, weight, a, b, total, mean, rstd)
        ctx.silu, ctx.group = silu, group
        return y

    @staticmethod
    def backward(ctx, dy):
        x, shift, weight, a, b, total, mean, rstd = ctx.saved_tensors
        (n, rows, channels), dy = _dense(dy)
        grid, part_rows, tile = _grid(n, rows, channels)
        new = lambda *shape: torch.empty(shape, dtype=torch.float32, device=x.device)
        sums, c1, c0 = new(n, grid[1], 2, channels), new(n, channels), new(n, channels)
        dweight, dbias = new(n, channels), new(n, channels)
        dshift = None if shift is None else new(n, channels)
        _norm_gradient_sums[grid](x, dy, a, b, sums, rows, channels, part_rows, SILU=ctx.silu, **tile)
        _norm_gradient_coefficients[(n,)](sums, shift, weight, total, mean, rstd, c1, c0, dweight, dbias, dshift, grid[1], rows, channels,
                                          channels // ctx.group["GROUPS"], **ctx.group)
        dx = torch.empty_like(x)
        _norm_gradient_apply[grid](x, dy, a, b, c1, c0, dx, rows, channels, part_rows, SILU=ctx.silu, **tile)
        return dx, None if dshift is None else dshift.to(shift.dtype), dweight.sum(0).to(weight.dtype), dbias.sum(0).to(weight.dtype), None, None, None


def group_norm(x, norm, shift=None, silu=True):
    """SiLU (if asked) of the group norm of `x + shift`; `shift` is [samples, channels]."""
    if _fusable(x):
        return _GroupNorm.apply(x, shift, norm.weight, norm.bias, norm.num_groups, norm.eps, silu)
    y = norm(x if shift is None else x + shift[:, :, None, None])
    return F.silu(y) if silu else y


class _AddBiased(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, h, bias):
        _, x = _dense(x)
        _, h = _dense(h)
        y = torch.empty_like(h)
        _add_biased[(-(-x.numel() // 2048),)](x, h, bias, y, x.numel(), x.shape[1], BLOCK=2048)
        return y

    @staticmethod
    def backward(ctx, dy):
        (n, rows, channels), dy = _dense(dy)
        grid, part_rows, tile = _grid(n, rows, channels)
        sums = torch.empty((n, grid[1], 2, channels), dtype=torch.float32, device=dy.device)
        _channel_sums[grid](dy, sums, rows, channels, part_rows, SQUARES=False, **tile)
        return dy, dy, sums[:, :, 0].sum((0, 1)).to(dy.dtype)


def add_biased(x, h, bias):
    """x + h + bias, with the bias along the channels."""
    if _fusable(x):
        return _AddBiased.apply(x, h, bias)
    return x + h + bias.view(1, -1, 1, 1)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        x = x.contiguous()
        channels = x.shape[-1]
        rows = x.numel() // channels
        tile = {"BLOCK_R": max(1, _TILE // 2 // _power_of_2(channels)), "BLOCK_C": _power_of_2(channels)}
        y, mean = torch.empty_like(x), torch.empty(rows, dtype=torch.float32, device=x.device)
        rstd = torch.empty_like(mean)
        _layer_norm[(-(-rows // tile["BLOCK_R"]),)](x, weight, bias, y, mean, rstd, rows, channels, eps, **tile)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.tile = tile
        return y

    @staticmethod
    def backward(ctx, dy):
        x, weight, mean, rstd = ctx.saved_tensors
        dy, dx, channels = dy.contiguous(), torch.empty_like(x), x.shape[-1]
        rows, block = len(mean), ctx.tile["BLOCK_R"]
        part_rows = -(-rows // (256 * block)) * block
        parts = -(-rows // part_rows)
        sums = torch.empty((parts, 2, channels), dtype=torch.float32, device=x.device)
        _layer_norm_gradient[(parts,)](x, dy, weight, mean, rstd, dx, sums, rows, channels, part_rows, **ctx.tile)
        dbias, dweight = sums.sum(0).to(weight.dtype)
        return dx, dweight, dbias, None


def layer_norm(x, norm):
    """The layer norm over the last dimension."""
    if _fusable(x):
        return _LayerNorm.apply(x, norm.weight, norm.bias, norm.eps)
    return norm(x)


class _Linear(torch.autograd.Function):
    """A linear layer whose bias gradient is summed by `_channel_sums`: PyTorch's sum over so many rows is several times slower."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        dy = dy.reshape(-1, dy.shape[-1]).contiguous()
        rows, channels = dy.shape
        # The rows as samples of equal length, so that the sums spread over many programs.
        samples = next(n for n in (256, 128, 64, 32, 16, 8, 4, 2, 1) if rows % n == 0)
        grid, part_rows, tile = _grid(samples, rows // samples, channels)
        sums = torch.empty((samples * grid[1], 2, channels), dtype=torch.float32, device=dy.device)
        _channel_sums[grid](dy, sums, rows // samples, channels, part_rows, SQUARES=False, **tile)
        dweight = dy.t() @ x.reshape(rows, -1)
        return (dy @ weight).view(x.shape), dweight, sums[:, 0].sum(0).to(dy.dtype)


def linear(x, weight, bias):
    """A linear layer over the last dimension."""
    if bias is not None and _fusable(x):
        return _Linear.apply(x, weight, bias)
    return F.linear(x, weight, bias)


class _Geglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h):
        h = h.contiguous()
        inner = h.shape[-1] // 2
        y = torch.empty((*h.shape[:-1], inner), dtype=h.dtype, device=h.device)
        _geglu[(-(-y.numel() // 2048),)](h, y, y.numel(), inner, BLOCK=2048)
        ctx.save_for_backward(h)
        return y

    @staticmethod
    def backward(ctx, dy):
        h, = ctx.saved_tensors
        dy, dh = dy.contiguous(), torch.empty_like(h)
        _geglu_gradient[(-(-dy.numel() // 2048),)](h, dy, dh, dy.numel(), dy.shape[-1], BLOCK=2048)
        return dh


def geglu(h):
    """The first half of the last dimension times the exact GELU of the second."""
    if _fusable(h):
        return _Geglu.apply(h)
    value, gate = h.chunk(2, dim=-1)
    return value * F.gelu(gate)


def adamw(state, gradient, weights, scale, step, rate, betas, weight_decay, keep, publish, eps=1e-8):
    """One AdamW step with EMA on flat tensors, in place; `scale` (a tensor) multiplies the gradient first.

    `state` holds master, ema, mean and square in float32. With `publish` the new master goes to `weights`.
    """
    master, ema, mean, square = state
    corrections = 1 / (1 - betas[0] ** step), 1 / (1 - betas[1] ** step)
    if triton is not None and (master.is_cuda or _INTERPRETED):
        _adamw[(-(-master.numel() // 2048),)](
            master, ema, mean, square, gradient, weights, scale, master.numel(), rate, *corrections, rate * weight_decay, keep,
            BETA1=betas[0], BETA2=betas[1], EPS=eps, PUBLISH=publish, BLOCK=2048)
        return
    gradient = gradient.float() * scale
    mean.lerp_(gradient, 1 - betas[0])
    square.lerp_(gradient.square(), 1 - betas[1])
    master.mul_(1 - rate * weight_decay).sub_(rate * corrections[0] * mean / ((square * corrections[1]).sqrt() + eps))
    ema.lerp_(master, 1 - keep)
    if publish:
        weights.copy_(master)
