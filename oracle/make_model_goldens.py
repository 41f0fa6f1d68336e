#!/usr/bin/env python3
"""Makes testdata/models: small networks as TensorFlow's converter writes them, and what LiteRT computes for them.

    pip install tensorflow-cpu==2.21.0
    python oracle/make_model_goldens.py --litert-python PYTHON [--out testdata/models]

PYTHON is one that has oracle/requirements.txt installed (oracle/run.py makes such an environment). Three networks: `digits`
is mnist-cnn with fewer channels, trained for an epoch; `blocks` has a separable, an inverted residual and a padded block and
three ways of pooling; `activations` has a convolution before each activation. The last two end in logits, which spread
more than probabilities. Each comes in the six formats of the demo (as far as the converter can) with the outputs of LiteRT's
default resolver (`litert`) and of its reference kernels (`reference`), one thread. models.json lists them; `exact` says that
every byte must be equal.
"""

import argparse
import gzip
import json
import os
import subprocess
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
FORMATS = ["f32", "f16", "dynamic", "int8", "int8-uint8io", "int16x8"]
IMAGES = 6
layers = tf.keras.layers
rng = np.random.default_rng(0)


def mnist(images: str, labels: str):
    with gzip.open(ROOT / "data/mnist" / images) as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    with gzip.open(ROOT / "data/mnist" / labels) as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    return x.astype(np.float32) / np.float32(255), y


def digits():
    """The reference network with 8, 16 and 16 channels, trained on MNIST for an epoch; its inputs are test images."""
    model = tf.keras.Sequential([tf.keras.Input((28, 28, 1))])
    for filters in (8, 16):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(16, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    x, y = mnist("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=128, epochs=1, verbose=0)
    return model, x[:200], mnist("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")[0][:IMAGES]


def blocks():
    """Strides, paddings, residual, both poolings, mean and concatenation, with odd sizes."""

    def normal(x, relu=6.0):
        x = layers.BatchNormalization(momentum=0.0)(x)
        return layers.ReLU(relu)(x) if relu else x

    start = tf.keras.Input((15, 17, 3))
    x = normal(layers.Conv2D(12, 3, 2, padding="same", use_bias=False)(start))
    y = normal(layers.Conv2D(36, 1, use_bias=False)(x))
    y = normal(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
    y = normal(layers.Conv2D(12, 1, use_bias=False)(y), relu=None)
    x = layers.Add()([x, y])
    x = layers.ZeroPadding2D(((0, 1), (1, 1)))(x)
    x = layers.DepthwiseConv2D(3, 2, depth_multiplier=2, activation="relu")(x)
    x = layers.Conv2D(44, 3, padding="same", activation="relu")(x)
    small = layers.AveragePooling2D(2, padding="same")(x)
    large = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.Concatenate()([small, large])
    mean, most = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(small)
    x = layers.Concatenate()([mean, most])
    return shaken(tf.keras.Model(start, layers.Dense(10)(x)))


def activations():
    """A convolution before each activation, and a Flatten of an odd size."""
    start = x = tf.keras.Input((8, 9, 2))
    for name in ("relu6", "leaky_relu", "hard_swish", "sigmoid", "tanh", "gelu"):
        x = layers.Activation(name)(layers.Conv2D(6, 3, padding="same")(x))
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    return shaken(tf.keras.Model(start, layers.Dense(7)(x)))


def shaken(model):
    """Random biases and batch-norm parameters instead of zeros and ones; random inputs."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.7, 1.3, layer.gamma.shape))
            layer.beta.assign(rng.normal(0, 0.2, layer.beta.shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    x = rng.uniform(-1, 1, (64, *model.input_shape[1:])).astype(np.float32)
    model(x, training=True)  # takes the batch's statistics over, as momentum is zero
    return model, x, x[:IMAGES]


def convert(model, kind: str, samples) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "f32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "f16":
        converter.target_spec.supported_types = [tf.float16]
    if kind.startswith("int"):
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide if kind == "int16x8" else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind == "int8-uint8io":
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter.convert()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litert-python", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "testdata/models")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(1)

    index = []
    for network in (digits, blocks, activations):
        name = network.__name__
        model, samples, x = network()
        np.save(args.out / f"{name}.x.npy", x)
        for kind in FORMATS:
            try:
                data = convert(model, kind, samples)
            except Exception as error:  # the converter's own refusal, such as int16x8 HARD_SWISH
                print(f"{name} {kind}: {str(error).splitlines()[0]}")
                continue
            stem = f"{name}-{kind}"
            (args.out / f"{stem}.tflite").write_bytes(data)
            entry = {"model": f"{stem}.tflite", "input": f"{name}.x.npy", "exact": kind.startswith("int")}
            if kind == "int8-uint8io":
                details = tf.lite.Interpreter(model_content=data).get_input_details()[0]
                scale, zero_point = details["quantization"]
                entry["input"] = f"{stem}.x.npy"
                q = np.clip(np.round(x / np.float32(scale)) + zero_point, 0, 255).astype(np.uint8)
                np.save(args.out / entry["input"], q)
            for mode, resolver in (("litert", "auto"), ("reference", "reference")):
                out = args.out / f"{stem}.{mode}.npy"
                script = ROOT / "oracle/compare_litert.py"
                command = [args.litert_python, script, args.out / entry["model"], resolver, args.out / entry["input"], out]
                done = subprocess.run([*command, str(IMAGES)], capture_output=True, text=True, check=False)
                entry[mode] = out.name if done.returncode == 0 else None
                if done.returncode != 0:
                    print(f"{stem} {mode}: LiteRT left with status {done.returncode}")
            index.append(entry)
    lines = ",\n".join(json.dumps(entry) for entry in index)
    (args.out / "models.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
