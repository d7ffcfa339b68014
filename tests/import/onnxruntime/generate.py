"""Writes cases.txt: nodes of com.microsoft, of ai.onnx.ml, of quantized operators and of some others with what ONNX Runtime computes for them.

    python3 tests/import/onnxruntime/generate.py > tests/import/onnxruntime/cases.txt

A case is a line `case domain operator opset`, lines `attr name kind values`, and lines `in`, `const` and `out` with
an element type, extents and elements. Constants are initializers; a `-` stands for an input left out.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper as h

random = np.random.default_rng(7)
NAMES = {"float32": "f32", "float16": "f16", "int8": "i8", "uint8": "u8", "int16": "i16", "uint16": "u16",
         "int32": "i32", "int64": "i64", "bool": "bool"}


def line(kind, array):
    flat = array.ravel()
    if array.dtype.kind == "f":
        words = [repr(float(x)) for x in flat]
    else:
        words = [str(int(x)) for x in flat]
    extents = ",".join(map(str, array.shape)) or "scalar"
    print(kind, NAMES[array.dtype.name], extents, *words)


def case(domain, operator, inputs, outputs=1, version=17, **attributes):
    """`inputs` are arrays; those in a list are constants, `None` is left out."""
    opset_of = {"": version, "com.microsoft": 1, "ai.onnx.ml": 3}
    node = h.make_node(operator, [], [f"y{i}" for i in range(outputs)], domain=domain, **attributes)
    values, constants, feeds = [], [], {}
    for index, given in enumerate(inputs):
        name = f"x{index}"
        node.input.append("" if given is None else name)
        if isinstance(given, list):
            constants.append(onnx.numpy_helper.from_array(given[0], name))
        elif given is not None:
            element = h.np_dtype_to_tensor_dtype(given.dtype)
            values.append(h.make_tensor_value_info(name, element, given.shape))
            feeds[name] = given
    results = [h.make_empty_tensor_value_info(name) for name in node.output]
    graph = h.make_graph([node], "g", values, results, constants)
    sets = [h.make_opsetid(name, version) for name, version in opset_of.items()]
    model = h.make_model(graph, opset_imports=sets, ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    found = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feeds)
    print("case", domain or "onnx", operator, opset_of[domain])
    for attribute in node.attribute:
        value = h.get_attribute_value(attribute)
        kind = {1: "f", 2: "i", 3: "s", 6: "fs", 7: "is", 8: "ss"}[attribute.type]
        value = value.decode() if kind == "s" else value
        value = [word.decode() for word in value] if kind == "ss" else value
        print("attr", attribute.name, kind, *(value if kind in ("fs", "is", "ss") else [value]))
    for given in inputs:
        if given is None:
            print("-")
        elif isinstance(given, list):
            line("const", given[0])
        else:
            line("in", given)
    for array in found:
        line("out", array)


def f32(*shape):
    return random.normal(size=shape).astype(np.float32)


def ints(dtype, *shape):
    ends = np.iinfo(dtype)
    return random.integers(ends.min, ends.max + 1, shape).astype(dtype)


def scalar(value, dtype=np.float32):
    return [np.array(value, dtype)]


MS = "com.microsoft"
for dtype in (np.uint8, np.int8):
    zero = 120 if dtype == np.uint8 else -7
    parameters = [scalar(0.031), scalar(zero, dtype)]
    output = [scalar(0.047), scalar(zero + 3, dtype)]
    for operator in ("QLinearAdd", "QLinearMul"):
        a, b = ints(dtype, 2, 3, 4), ints(dtype, 3, 1)
        case(MS, operator, [a, *parameters, [b], *parameters, *output])
    case(MS, "QLinearSigmoid", [ints(dtype, 40), *parameters, scalar(1 / 256), scalar(np.iinfo(dtype).min, dtype)])
    case(MS, "QLinearLeakyRelu", [ints(dtype, 40), *parameters, *output], alpha=0.1)
    case(MS, "QLinearGlobalAveragePool", [ints(dtype, 1, 3, 4, 5), *parameters, *output], channels_last=0)
    case(MS, "QLinearAveragePool", [ints(dtype, 1, 3, 4, 5), *parameters, *output], kernel_shape=[2, 2])
    other = [scalar(0.062), scalar(zero - 2, dtype)]
    case(MS, "QLinearConcat", [*output, ints(dtype, 1, 3), *parameters, ints(dtype, 1, 5), *other], axis=1)
    case(MS, "QLinearSoftmax", [ints(dtype, 3, 8), *parameters, scalar(1 / 256), scalar(np.iinfo(dtype).min, dtype)],
         axis=-1, opset=13)
    weights, bias = ints(np.int8, 4, 3, 2, 2), random.integers(-500, 500, 4).astype(np.int32)
    scales = [np.array([0.01, 0.02, 0.015, 0.03], np.float32)]
    case("", "QLinearConv", [ints(dtype, 1, 3, 5, 5), *parameters, [weights], scales, [np.zeros(4, np.int8)],
                             scalar(1.7), scalar(zero, dtype), [bias]], pads=[1, 0, 0, 1], strides=[2, 1])
    case("", "QLinearConv", [ints(dtype, 1, 2, 5, 5), *parameters, [weights[:, :1]], scalar(0.02), scalar(0, np.int8),
                             scalar(0.9), scalar(zero, dtype)], group=2)
    case("", "QLinearMatMul", [ints(dtype, 2, 3, 6), *parameters, [ints(np.int8, 6, 4)], scales,
                               [np.zeros(4, np.int8)], scalar(1.1), scalar(zero, dtype)])
    case("", "MatMulInteger", [ints(dtype, 3, 6), [ints(np.uint8, 6, 4)], scalar(zero, dtype), scalar(131, np.uint8)])
    case(MS, "QGemm", [ints(dtype, 3, 6), *parameters, [ints(np.int8, 4, 6)], scales, [np.zeros(4, np.int8)], [bias],
                       scalar(1.3), scalar(zero, dtype)], transB=1)
    case(MS, "QGemm", [ints(dtype, 3, 6), *parameters, [ints(np.int8, 6, 4)], scalar(0.02), scalar(0, np.int8), None],
         alpha=0.5)
    case(MS, "DynamicQuantizeMatMul", [f32(3, 6), [ints(dtype, 6, 4)], scalar(0.02), scalar(zero, dtype), [f32(4)]])
    case(MS, "MatMulIntegerToFloat", [ints(np.uint8, 3, 6), [ints(dtype, 6, 4)], scalar(0.03), scales,
                                      scalar(120, np.uint8), [np.full(4, zero, dtype)]])
    case(MS, "QuantizeLinear", [f32(3, 4), [np.array([0.01, 0.02, 0.03], np.float32)], [np.full(3, zero, dtype)]],
         axis=0)
    case(MS, "DequantizeLinear", [ints(dtype, 3, 4), *parameters])
case("", "ConvInteger", [ints(np.uint8, 1, 3, 5, 5), [ints(np.uint8, 2, 3, 3, 3)], scalar(120, np.uint8),
                         scalar(7, np.uint8)], pads=[1, 1, 1, 1])
case("", "DynamicQuantizeLinear", [f32(3, 5)], outputs=3)
case(MS, "MatMulInteger16", [ints(np.int16, 3, 6), [ints(np.int16, 6, 4)]])
case(MS, "FusedConv", [f32(1, 2, 4, 4), [f32(3, 2, 2, 2)], [f32(3)]], activation="Relu")
case(MS, "FusedConv", [f32(1, 2, 4, 4), [f32(3, 2, 2, 2)], [f32(3)], f32(1, 3, 3, 3)], activation="LeakyRelu",
     activation_params=[0.25])
case(MS, "FusedConv", [f32(1, 2, 4, 4), [f32(3, 2, 2, 2)]], activation="Clip", activation_params=[-0.5, 1.0])
case(MS, "FusedGemm", [f32(3, 4), [f32(5, 4)], [f32(5)]], transB=1, alpha=0.5, beta=2.0, activation="LeakyRelu",
     activation_alpha=0.125)
case(MS, "FusedMatMul", [f32(2, 4, 3), f32(2, 5, 4)], transA=1, transB=1, alpha=0.25)
case(MS, "Gelu", [f32(20)])
case(MS, "BiasGelu", [f32(3, 5), [f32(5)]])
case(MS, "FastGelu", [f32(3, 5), [f32(5)]])
case(MS, "QuickGelu", [f32(20)])
case(MS, "SkipLayerNormalization", [f32(2, 3, 8), f32(2, 3, 8), [f32(8)], [f32(8)], [f32(8)]], epsilon=1e-5)
case(MS, "SkipSimplifiedLayerNormalization", [f32(2, 3, 8), f32(2, 3, 8), [f32(8)]], epsilon=1e-5)
case("", "SimplifiedLayerNormalization", [f32(2, 3, 8), [f32(8)]], axis=-1, epsilon=1e-5)
case(MS, "EmbedLayerNormalization", [random.integers(0, 6, (2, 3)).astype(np.int32),
                                     random.integers(0, 2, (2, 3)).astype(np.int32), [f32(6, 8)], [f32(4, 8)],
                                     [f32(2, 8)], [f32(8)], [f32(8)]], outputs=2, epsilon=1e-5)
for bits, zeros in ((4, True), (4, False), (8, True)):
    columns, depth, block = 5, 40, 16
    blocks = -(-depth // block)
    packed = ints(np.uint8, columns, blocks, block * bits // 8)
    scales = [np.abs(f32(columns * blocks)) + np.float32(0.01)]
    points = [ints(np.uint8, columns * -(-blocks * bits // 8))] if zeros else None
    case(MS, "MatMulNBits", [f32(2, 3, depth), [packed], scales, points], K=depth, N=columns, bits=bits,
         block_size=block)

# Attention: three sequences of four words, two heads.
batch, words, count, size = 3, 4, 2, 5
wide = count * size
mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], np.int32)
case(MS, "EmbedLayerNormalization", [random.integers(0, 6, (3, 4)).astype(np.int32),
                                     random.integers(0, 2, (3, 4)).astype(np.int32), [f32(6, 8)], [f32(4, 8)],
                                     [f32(2, 8)], [f32(8)], [f32(8)], mask], outputs=2, epsilon=1e-5)
whole = [f32(batch, words, 6), [f32(6, 3 * wide)], [f32(3 * wide)]]
ends = np.array([4, 2, 3], np.int32)
for masked in (None, mask, ends, np.concatenate([ends, np.array([0, 1, 2], np.int32)]),
               np.stack([np.tril(mask[[i] * 4]) | np.eye(4, dtype=np.int32) for i in range(3)])):
    case(MS, "Attention", [*whole, masked], num_heads=count)
case(MS, "Attention", [*whole, mask], num_heads=count, unidirectional=1, scale=0.75, mask_filter_value=-3.5)
case(MS, "Attention", [*whole, None, None, f32(1, count, words, words)], num_heads=count)
case(MS, "Attention", [*whole, None, f32(2, batch, count, 3, size)], outputs=2, num_heads=count, unidirectional=1)
case(MS, "Attention", [f32(batch, words, 6), [f32(6, 2 * wide + 6)], [f32(2 * wide + 6)]], num_heads=count,
     qkv_hidden_sizes=[wide, wide, 6])
apart = [f32(batch, words, wide), f32(batch, 6, wide), f32(batch, 6, wide)]
keys = random.integers(0, 2, (batch, 6)).astype(np.int32) | np.eye(1, 6, dtype=np.int32)
case(MS, "MultiHeadAttention", apart, num_heads=count)
case(MS, "MultiHeadAttention", [*apart, [f32(3 * wide)], keys], num_heads=count, scale=0.5)
case(MS, "MultiHeadAttention", [*apart, None, ends, f32(batch, 1, words, 6)], num_heads=count)
case(MS, "MultiHeadAttention", [f32(batch, words, wide), f32(batch, count, 6, size), f32(batch, count, 6, size)],
     num_heads=count)
case(MS, "MultiHeadAttention", [f32(batch, words, wide), f32(batch, words, wide), f32(batch, words, wide), None, None,
                                None, f32(batch, count, 3, size), f32(batch, count, 3, size)],
     outputs=3, num_heads=count, unidirectional=1)

ML = "ai.onnx.ml"
rows = np.concatenate([f32(5, 3), np.zeros((1, 3), np.float32)])
case(ML, "Binarizer", [rows], threshold=0.25)
for norm in ("MAX", "L1", "L2"):
    case(ML, "Normalizer", [rows], norm=norm)
case(ML, "Normalizer", [random.integers(-9, 9, (4, 3))], norm="L2")
case(ML, "Scaler", [rows], offset=[0.5, -1.0, 2.0], scale=[2.0, 0.25, -3.0])
case(ML, "Scaler", [random.integers(-9, 9, (4, 3))], offset=[0.5], scale=[0.25])
case(ML, "LinearRegressor", [rows], coefficients=[0.5, -1.5, 2.0], intercepts=[0.75])
transforms = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")
for transform in transforms:
    case(ML, "LinearRegressor", [rows[:5]], targets=2, coefficients=[0.5, -1.5, 2.0, 0.25, 1.0, -0.5],
         post_transform=transform)
    case(ML, "LinearClassifier", [rows], outputs=2, coefficients=list(map(float, f32(9))), intercepts=[0.1, -0.2, 0.3],
         classlabels_ints=[30, 10, 20], post_transform=transform)
for transform in transforms[:2]:
    case(ML, "LinearClassifier", [rows], outputs=2, coefficients=[0.5, -1.5, 2.0], intercepts=[0.25],
         classlabels_ints=[4, 9], post_transform=transform)

# Two trees with all comparisons; what is missing goes either way, but where ONNX Runtime finds NaN unequal to a number
# though the node sends it the other way.
trees = dict(
    nodes_treeids=[0] * 7 + [1] * 7, nodes_nodeids=[*range(7)] * 2, nodes_featureids=[0, 1, 2, 0, 0, 0, 0] * 2,
    nodes_modes=["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", *["LEAF"] * 4, "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ",
                 *["LEAF"] * 4],
    nodes_values=[0.1, -0.2, 0.3, 0, 0, 0, 0, -0.1, 0.0, 0.0, 0, 0, 0, 0],
    nodes_truenodeids=[1, 3, 5, 0, 0, 0, 0] * 2, nodes_falsenodeids=[2, 4, 6, 0, 0, 0, 0] * 2,
    nodes_missing_value_tracks_true=[1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0])
missing = f32(12, 3)
missing[9:, 0] = missing[10:, 1] = missing[11, 2] = np.nan
missing[3:6, 1] = missing[6:9, 2] = 0
leaves = [(tree, leaf) for tree in range(2) for leaf in range(3, 7)]


def weights(what, targets, values):
    names = [(*leaf, target) for leaf in leaves for target in targets]
    return {f"{what}_treeids": [name[0] for name in names], f"{what}_nodeids": [name[1] for name in names],
            f"{what}_ids": [name[2] for name in names], f"{what}_weights": list(map(float, values[:len(names)]))}


for transform in transforms:
    case(ML, "TreeEnsembleRegressor", [missing], n_targets=2, post_transform=transform, base_values=[0.5, -0.25],
         **trees, **weights("target", range(2), f32(16)))
    case(ML, "TreeEnsembleClassifier", [missing], outputs=2, classlabels_int64s=[7, 5, 9], post_transform=transform,
         **trees, **weights("class", range(3), f32(24)))
for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
    case(ML, "TreeEnsembleRegressor", [missing], n_targets=1, aggregate_function=aggregate, **trees,
         **weights("target", range(1), f32(8)))
case(ML, "TreeEnsembleClassifier", [missing], outputs=2, classlabels_int64s=[0, 1, 2], base_values=[0.5, -0.25, 0.125],
     **trees, **weights("class", range(3), f32(24)))
for transform in transforms[:2]:
    for values in (f32(8), np.abs(f32(8)) / 4):
        for base in ({}, {"base_values": [0.125]}):
            case(ML, "TreeEnsembleClassifier", [missing], outputs=2, classlabels_int64s=[7, 5],
                 post_transform=transform, **trees, **base, **weights("class", range(1), values))

# Regions that begin and end between elements, outside the image, before they began, and in one element.
regions = np.array([[0, 0.5, 1.5, 6.5, 4.4], [1, -3.5, -2, 3, 2.5], [1, 5, 4, 3, 1], [0, 2, 2, 2, 2],
                    [1, 4.0, 3.0, 12.0, 9.0], [0, 20, 20, 25, 25]], np.float32)
case("", "MaxRoiPool", [f32(2, 3, 6, 8), regions], pooled_shape=[2, 3])
case("", "MaxRoiPool", [f32(2, 1, 4, 5), regions], pooled_shape=[3, 2], spatial_scale=0.5)
