#!/usr/bin/env python3
"""Holds what `tinsmith compile --emit onnx` writes against ONNX Runtime and against exact arithmetic.

  compare.py TINSMITH MODELS [NAME...] [-- OPTION...]

TINSMITH is the program, MODELS a folder of float models with `io/NAME/in*_*.npy` (one input) and perhaps
`io/NAME/calib*_*.npy` (more of them) beside each. OPTIONs are those of `tinsmith compile`. Every model is calibrated, compiled, run on the simulator and, from the
ONNX file, in ONNX Runtime: as it stands and optimized. Outputs are counted that differ from the simulator's. Then the
file is evaluated in float64, which shares no code with Tinsmith, and the table gets two columns more:

  exact    outputs of the simulator that are not those of exact arithmetic; none, if promises are kept
  rounded  codes of all tensors that ONNX Runtime rounds otherwise than exact arithmetic on the very same inputs, and how
           far the farthest of these lay from the middle between two codes, in steps: the f32 rounding that causes it

Operators that compute in reals are evaluated in float64 too, where the simulator has float32: with `-- --precision int16x8`,
what lies behind them differs. Functions on int16 come from tables, and differ by the codes that a note of the compiler states.

Needs numpy, onnx, onnxruntime.
"""
import glob, os, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

TARGET = 'cortex-a'


def windows(x, kernel, strides, dilations, pads, fill):
    """[n, c, taps, outputs…] of x [n, c, d…]."""
    rank = len(kernel)
    x = np.pad(x, [(0, 0), (0, 0)] + list(zip(pads[:rank], pads[rank:])), constant_values=fill)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    size = [(n - e) // s + 1 for n, s, e in zip(x.shape[2:], strides, spans)]
    taps = [x[(slice(None), slice(None)) + tuple(slice(t * d, t * d + s * (n - 1) + 1, s)
              for t, d, s, n in zip(tap, dilations, strides, size))] for tap in np.ndindex(*kernel)]
    return np.stack(taps, 2)


def conv(attributes, x, w, b=None):
    rank, groups = x.ndim - 2, attributes.get('group', 1)
    x = windows(x, w.shape[2:], attributes.get('strides', [1] * rank), attributes.get('dilations', [1] * rank),
                attributes.get('pads', [0] * 2 * rank), 0.0)
    n, c, taps, outputs = x.shape[0], x.shape[1], x.shape[2], x.shape[3:]
    x = x.reshape(n, groups, c // groups * taps, -1)
    y = np.einsum('gok,ngkp->ngop', w.reshape(groups, w.shape[0] // groups, -1), x, optimize=True)
    y = y.reshape((n, w.shape[0]) + outputs)
    return y if b is None else y + b.reshape([1, -1] + [1] * rank)


def pool(attributes, x, largest):
    rank, kernel = x.ndim - 2, attributes['kernel_shape']
    pads, strides = list(attributes.get('pads', [0] * 2 * rank)), attributes.get('strides', [1] * rank)
    dilations = attributes.get('dilations', [1] * rank)
    beyond = [0] * rank
    if attributes.get('ceil_mode', 0):
        for i in range(rank):
            free = x.shape[2 + i] + pads[i] + pads[rank + i] - ((kernel[i] - 1) * dilations[i] + 1)
            beyond[i] = -free % strides[i]
    if largest:
        pads[rank:] = [p + b for p, b in zip(pads[rank:], beyond)]
        return windows(x, kernel, strides, dilations, pads, -np.inf).max(2)
    counts = np.ones_like(x)
    if attributes.get('count_include_pad', 0):
        widths = [(0, 0), (0, 0)] + list(zip(pads[:rank], pads[rank:]))
        x, counts, pads = np.pad(x, widths), np.pad(counts, widths, constant_values=1.0), [0] * 2 * rank
    pads[rank:] = [p + b for p, b in zip(pads[rank:], beyond)]
    of = lambda values: windows(values, kernel, strides, dilations, pads, 0.0).sum(2)
    return of(x) / of(counts)


def apply(node, attributes, inputs):
    """A node in float64."""
    kind = node.op_type
    if kind == 'Conv': return [conv(attributes, *inputs)]
    if kind == 'MaxPool': return [pool(attributes, inputs[0], True)]
    if kind == 'AveragePool': return [pool(attributes, inputs[0], False)]
    if kind == 'Relu': return [np.maximum(inputs[0], 0)]
    if kind == 'Gemm' and attributes == {'transB': 1}:
        return [inputs[0] @ inputs[1].T + (inputs[2] if len(inputs) > 2 else 0)]
    if kind == 'Sigmoid': return [1 / (1 + np.exp(-np.maximum(inputs[0], -700)))]
    if kind == 'Softmax':
        e = np.exp(inputs[0] - inputs[0].max(attributes['axis'], keepdims=True))
        return [e / e.sum(attributes['axis'], keepdims=True)]
    if kind == 'Clip':
        low, high = (list(inputs[1:]) + [None])[:2]
        return [np.clip(inputs[0], low, high)]
    names = [name for name in node.input if name]
    given = dict(zip(names, [value for value in inputs if value is not None]))
    return ReferenceEvaluator(node, opsets={'': 18}).run(None, given)


def scaled(values, attributes, rank):
    if values.ndim == 0 or values.size == 1: return values.reshape(())
    if attributes.get('block_size', 0):
        return np.repeat(values, attributes['block_size'], attributes.get('axis', 1) % rank)
    return values.reshape([-1 if axis == attributes.get('axis', 1) % rank else 1 for axis in range(rank)])


def rounded(x, scale, zero_point):
    """Codes, and the numbers that were rounded: a model's input is divided in float32, where it lies, all else exactly."""
    limits = np.iinfo(zero_point.dtype)
    steps = x / (scale if x.dtype == np.float32 else np.float64(scale))
    return np.clip(np.rint(steps) + int(zero_point), limits.min, limits.max).astype(zero_point.dtype), steps


def bias_scales(model, constants):
    """The scales of biases as what they stand for: the exact products of the scales of input and weights, to which the
    file's are rounded."""
    producers = {name: node for node in model.graph.node for name in node.output}
    def scale(name):
        node = producers[name]
        while node.op_type in ('Transpose', 'Reshape'): node = producers[node.input[0]]
        return constants[node.input[1]].astype(np.float64)
    def product(node):
        own, x, weights = scale(node.input[2]), scale(node.input[0]), scale(node.input[1])
        if weights.ndim < 2: return x * weights
        # The least scale of a channel's blocks is a whole multiple of the one that its bias counts in.
        parts = weights.reshape(len(weights), -1).min(1)[:, None] / np.arange(1, 256) * x
        return np.take_along_axis(parts, np.abs(parts - own[:, None]).argmin(1)[:, None], 1)[:, 0]
    return {node.input[2]: product(node) for node in model.graph.node
            if node.op_type in ('Conv', 'ConvTranspose', 'Gemm') and len(node.input) > 2}


def exact(model, feeds, given=None):
    """All values in float64. With the codes that another gave for every QuantizeLinear, those are gone on with; `odd` then
    holds how many differ, of how many, and how far from the middle between codes the farthest of those lay."""
    values = {'': None, **{t.name: numpy_helper.to_array(t) for t in model.graph.initializer}, **feeds}
    odd, total, farthest = 0, 0, 0.0
    steps_of = bias_scales(model, values)
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [values[name] for name in node.input]
        if node.op_type == 'DequantizeLinear':
            codes = inputs[0].astype(np.float64)
            zero = scaled(inputs[2].astype(np.float64), attributes, codes.ndim) if len(inputs) > 2 else 0.0
            scale = steps_of.get(node.output[0], inputs[1].astype(np.float64))
            steps = scaled(scale, attributes, codes.ndim)
            # The last block may be cut short.
            if steps.ndim == codes.ndim: steps = steps[tuple(slice(n) for n in codes.shape)]
            made = [(codes - zero) * steps]
        elif node.op_type == 'QuantizeLinear':
            codes, steps = rounded(inputs[0], inputs[1], inputs[2])
            if given is not None:
                other = given[node.output[0]]
                differs = codes != other
                odd, total = odd + int(differs.sum()), total + codes.size
                if differs.any():
                    away = np.abs(np.abs(steps[differs] - np.floor(steps[differs])) - 0.5)
                    farthest = max(farthest, float(away.max()))
                codes = other
            made = [codes]
        else:
            wide = [v.astype(np.float64) if v is not None and v.dtype == np.float32 else v for v in inputs]
            made = apply(node, attributes, wide)
        values.update(zip(node.output, made))
    return values, (odd, total, farthest)


def session(model, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 4
    # In opset 21, which int4 weights need, the optimizer makes QuantizeLinear disagree with its own zero point.
    if model.opset_import[0].version >= 21: options.add_session_config_entry('session.disable_quant_qdq', '1')
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])


def files(folder, kind):
    return sorted(glob.glob(f'{folder}/{kind}*_*.npy'), key=lambda path: int(os.path.basename(path)[len(kind):].split('_')[0]))


def compare(program, path, work, options):
    stem = os.path.basename(path)[:-len('.onnx')]
    io = os.path.join(os.path.dirname(path), 'io', stem)
    inputs = files(io, 'in')
    run = lambda *words: subprocess.run([program, *words], capture_output=True, text=True)
    flags = [word for data in files(io, 'calib') or inputs for word in ('--calibration', data)]
    for value, data in zip(onnx.load(path).graph.input, inputs):
        if any(not d.dim_value for d in value.type.tensor_type.shape.dim):
            flags += ['--shape', value.name + '=' + ','.join(map(str, np.load(data).shape))]
    done = run('compile', path, '--target', TARGET, '--emit', 'tin,onnx', '-o', work, *flags, *options)
    if done.returncode:
        return f'{stem} | not compiled: {" ".join(done.stderr.split())[:120]}'
    model = onnx.load(f'{work}/{stem}.qdq.onnx')
    onnx.checker.check_model(model, full_check=True)
    names = [output.name for output in model.graph.output]
    flags = [word for data in inputs for word in ('--input', data)]
    for i in range(len(names)):
        flags += ['--output', f'{work}/{stem}.{i}.npy']
    done = run('run', f'{work}/{stem}.tin', *flags)
    if done.returncode:
        return f'{stem} | not run: {done.stderr.strip()}'
    simulated = [np.load(f'{work}/{stem}.{i}.npy').reshape(-1) for i in range(len(names))]
    shape = lambda value: [d.dim_value for d in value.type.tensor_type.shape.dim]
    feeds = {v.name: np.load(data).reshape(shape(v)) for v, data in zip(model.graph.input, inputs)}
    differing = lambda found: sum(int((a.reshape(-1) != b).sum()) for a, b in zip(found, simulated))
    levels = onnxruntime.GraphOptimizationLevel
    plain = differing(session(model, levels.ORT_DISABLE_ALL).run(None, feeds))
    fast = differing(session(model, levels.ORT_ENABLE_ALL).run(None, feeds))
    values, _ = exact(model, feeds)
    meant = differing([values[name].astype(np.float32) for name in names])
    # The same once more, from the codes that ONNX Runtime has everywhere.
    codes = [node.output[0] for node in model.graph.node if node.op_type == 'QuantizeLinear']
    traced = onnx.ModelProto(); traced.CopyFrom(model)
    kept = {output.name for output in traced.graph.output}
    traced.graph.output.extend(onnx.ValueInfoProto(name=name) for name in codes if name not in kept)
    given = dict(zip(codes, session(traced, levels.ORT_DISABLE_ALL).run(codes, feeds)))
    _, (odd, total, farthest) = exact(model, feeds, given)
    size = sum(values.size for values in simulated)
    return f'{stem} | {size} | {plain} | {fast} | {meant} | {odd} of {total}, {farthest:.1e}'


def main():
    given, options = sys.argv[1:], []
    if '--' in given: given, options = given[:given.index('--')], given[given.index('--') + 1:]
    program, folder, only = given[0], given[1], given[2:]
    print('model | output bytes | ONNX Runtime | optimized | exact | rounded')
    with tempfile.TemporaryDirectory() as work:
        for path in sorted(glob.glob(f'{folder}/*.onnx')):
            if not only or os.path.basename(path)[:-len('.onnx')] in only:
                print(compare(program, path, work, options), flush=True)


if __name__ == '__main__':
    main()
