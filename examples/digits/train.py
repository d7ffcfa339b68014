#!/usr/bin/env python3
"""Trains the demo's model, a CNN for handwritten digits, and writes what the demo ships.

  pip install numpy scikit-learn onnx && python3 train.py

Data: the 1,797 digits of 8 by 8 pixels, 0 to 16, that scikit-learn ships (from the UCI "Optical Recognition of
Handwritten Digits" set, E. Alpaydin and C. Kaynak, CC BY 4.0). Everything is plain NumPy with a fixed seed, so that
the run repeats. Writes digits.onnx, calib_x.npy, eval_x.npy and eval_y.npy beside this file.
"""
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

FOLDER = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(7)


class Conv:
    """A 3 by 3 or 1 by 1 convolution over [n, h, w, c], "same" padding, followed by ReLU."""

    def __init__(self, in_c, out_c, kernel, depthwise=False):
        self.kernel, self.depthwise = kernel, depthwise
        fan_in = kernel * kernel * (1 if depthwise else in_c)
        shape = (kernel * kernel, in_c) if depthwise else (kernel * kernel * in_c, out_c)
        self.params = [RANDOM.normal(0, (2 / fan_in) ** 0.5, shape), np.zeros(out_c)]

    def forward(self, x):
        k, p = self.kernel, self.kernel // 2
        padded = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
        h, w = x.shape[1:3]
        taps = [padded[:, i:i + h, j:j + w] for i in range(k) for j in range(k)]
        self.columns = np.stack(taps, 3)  # [n, h, w, k·k, c]
        weights, bias = self.params
        if self.depthwise:
            y = np.einsum("nhwtc,tc->nhwc", self.columns, weights) + bias
        else:
            y = self.columns.reshape(*x.shape[:3], -1) @ weights + bias
        self.active = y > 0
        return y * self.active

    def backward(self, grad):
        grad = grad * self.active
        weights, _ = self.params
        n, h, w, t, c = self.columns.shape
        if self.depthwise:
            dw = np.einsum("nhwtc,nhwc->tc", self.columns, grad)
            dcolumns = grad[:, :, :, None, :] * weights
        else:
            dw = self.columns.reshape(-1, t * c).T @ grad.reshape(-1, grad.shape[-1])
            dcolumns = (grad @ weights.T).reshape(n, h, w, t, c)
        self.grads = [dw, grad.sum((0, 1, 2))]
        k, p = self.kernel, self.kernel // 2
        dx = np.zeros((n, h + 2 * p, w + 2 * p, c))
        for tap in range(t):
            i, j = divmod(tap, k)
            dx[:, i:i + h, j:j + w] += dcolumns[:, :, :, tap]
        return dx[:, p:p + h, p:p + w]


class MaxPool:
    """The largest of each 2 by 2 window."""

    params, grads = [], []

    def forward(self, x):
        n, h, w, c = x.shape
        windows = x.reshape(n, h // 2, 2, w // 2, 2, c)
        y = windows.max((2, 4))
        self.mask = windows == y[:, :, None, :, None]
        return y

    def backward(self, grad):
        dx = self.mask * grad[:, :, None, :, None]
        n, h, _, w, _, c = dx.shape
        return dx.reshape(n, 2 * h, 2 * w, c)


class Mean:
    """The mean over rows and columns."""

    params, grads = [], []

    def forward(self, x):
        self.shape = x.shape
        return x.mean((1, 2))

    def backward(self, grad):
        return np.broadcast_to(grad[:, None, None] / (self.shape[1] * self.shape[2]), self.shape)


class Dense:
    def __init__(self, inputs, outputs):
        self.params = [RANDOM.normal(0, (1 / inputs) ** 0.5, (inputs, outputs)), np.zeros(outputs)]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, grad):
        self.grads = [self.x.T @ grad, grad.sum(0)]
        return grad @ self.params[0].T


def run(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def train(layers, x, y, epochs=60, batch=50):
    params = [p for layer in layers for p in layer.params]
    first, second, step = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], 0
    for epoch in range(epochs):
        rate = 3e-3 * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        for chosen in RANDOM.permutation(len(x)).reshape(-1, batch):
            logits = run(layers, x[chosen])
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            grad = (p - np.eye(10)[y[chosen]]) / batch
            for layer in reversed(layers):
                grad = layer.backward(grad)
            step += 1
            for param, g, m, v in zip(params, [g for layer in layers for g in layer.grads], first, second):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                param -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)


def export(layers, path):
    """Writes the model as a framework would: channels-first, symbolic batch, ReLUs apart."""
    nodes, weights, value = [], [], "image"

    def constant(name, array):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def node(operator, inputs, name, **attributes):
        nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    for i, layer in enumerate(layers):
        if isinstance(layer, Conv):
            k, (w, b) = layer.kernel, layer.params
            if layer.depthwise:
                w = w.reshape(k, k, 1, -1).transpose(3, 2, 0, 1)
            else:
                w = w.reshape(k, k, -1, len(b)).transpose(3, 2, 0, 1)
            inputs = [value, constant(f"conv_{i}.weight", w), constant(f"conv_{i}.bias", b)]
            group = len(b) if layer.depthwise else 1
            value = node("Conv", inputs, f"conv_{i}", kernel_shape=[k, k], pads=[k // 2] * 4, group=group)
            value = node("Relu", [value], f"relu_{i}")
        elif isinstance(layer, MaxPool):
            value = node("MaxPool", [value], f"pool_{i}", kernel_shape=[2, 2], strides=[2, 2])
        elif isinstance(layer, Mean):
            value = node("Flatten", [node("GlobalAveragePool", [value], f"mean_{i}")], f"flatten_{i}")
        else:
            w, b = layer.params
            value = node("Gemm", [value, constant("dense.weight", w), constant("dense.bias", b)], "dense")
    node("Softmax", [value], "digit", axis=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    digit = helper.make_tensor_value_info("digit", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "digits", [image], [digit], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tinsmith-example")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def main():
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1)
    order = RANDOM.permutation(len(images))
    train_set, eval_set = order[:1200], order[1200:]
    layers = [Conv(1, 16, 3), Conv(16, 16, 3, depthwise=True), Conv(16, 24, 1), MaxPool(), Conv(24, 32, 3), Mean(), Dense(32, 10)]
    train(layers, images[train_set], labels[train_set])
    right = run(layers, images[eval_set]).argmax(1) == labels[eval_set]
    print(f"float accuracy on {len(eval_set)} images that training did not see: {right.mean():.4f}")
    export(layers, FOLDER / "digits.onnx")
    shape = (-1, 1, 8, 8)
    np.save(FOLDER / "calib_x.npy", images[train_set[:100]].astype(np.uint8).reshape(shape))
    np.save(FOLDER / "eval_x.npy", images[eval_set].astype(np.uint8).reshape(shape))
    np.save(FOLDER / "eval_y.npy", labels[eval_set].astype(np.int32))


if __name__ == "__main__":
    main()
