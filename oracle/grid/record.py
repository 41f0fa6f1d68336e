"""Runs cases in LiteRT and writes the archives that the tests replay."""

import io
import json
import multiprocessing
import zipfile
import zlib
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import interpreter as litert

from grid.model import TYPES, Model

MODES = {"litert": litert.OpResolverType.AUTO, "reference": litert.OpResolverType.BUILTIN_REF}


@dataclass
class T:
    """A tensor of a single-op model: a constant with `data`, an input with `feed`, left out if None stands for it."""

    dtype: str
    shape: tuple
    scale: object = None
    zero_point: object = 0
    axis: int = 0
    data: object = None
    feed: object = None
    block_size: object = None

    def details(self):
        """Quantization, as Graph.tensor takes it."""
        known = {"scale": self.scale, "zero_point": self.zero_point, "axis": self.axis}
        return known if self.block_size is None else {"scale": self.scale, "block_size": self.block_size}


@dataclass
class Case:
    """A model and what to feed it, run after run (one interpreter for all runs, so that state is kept)."""

    name: str
    model: bytes
    runs: list
    # The same model with the absolute values of its constants, to be fed the absolute values of its inputs: for float sums.
    magnitude: bytes | None = None
    feeds_magnitude: list = field(default_factory=list)
    # Modes in which LiteRT is wrong (docs/NUMERICS.md): not recorded.
    wrong: tuple = ()


def single(name, op, inputs, outputs, opts=None, version=1, sums=False, wrong=()):
    """A case of one op. `inputs` are `T` or None (left out), `outputs` are `T`; `sums` asks for magnitudes."""

    def build(convert):
        model = Model()
        graph = model.graph()
        ids = []
        for t in inputs:
            if t is None:
                ids.append(-1)
            elif t.data is not None:
                ids.append(graph.tensor(t.dtype, t.shape, data=convert(t.data, t.dtype), **t.details()))
            else:
                ids.append(graph.input(t.dtype, t.shape, **t.details()))
        graph.op(op, ids, [graph.output(t.dtype, t.shape, **t.details()) for t in outputs], opts, version)
        return model.bytes()

    def absolute(data, dtype):
        return np.abs(data) if dtype in ("f32", "f16") else data

    feeds = [np.ascontiguousarray(t.feed, TYPES[t.dtype][0]).reshape(t.shape) for t in inputs if t and t.data is None]
    case = Case(name, build(lambda data, _: data), [feeds], wrong=wrong)
    if sums:
        case.magnitude = build(absolute)
        case.feeds_magnitude = [[absolute(feed, "f32" if feed.dtype.kind == "f" else "") for feed in feeds]]
    return case


def run(model, runs, mode):
    """The outputs of each run."""
    it = litert.Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=MODES[mode])
    it.allocate_tensors()
    results = []
    for feeds in runs:
        for detail, feed in zip(it.get_input_details(), feeds, strict=True):
            it.set_tensor(detail["index"], feed)
        it.invoke()
        results.append([it.get_tensor(detail["index"]) for detail in it.get_output_details()])
    return results


def worker(pipe, mode):
    """The body of a child process."""
    while True:
        model, runs = pipe.recv()
        try:
            pipe.send(run(model, runs, mode))
        except Exception as error:  # The interpreter raises ValueError and RuntimeError with its own text.
            pipe.send(str(error) or repr(error))


class Oracle:
    """One mode of LiteRT in a child process that is started again when it dies: it aborts on some inputs."""

    def __init__(self, mode):
        self.mode, self.process = mode, None

    def __call__(self, model, runs):
        if self.process is None or not self.process.is_alive():
            self.pipe, child = multiprocessing.Pipe()
            self.process = multiprocessing.Process(target=worker, args=(child, self.mode), daemon=True)
            self.process.start()
            child.close()
        try:
            self.pipe.send((model, runs))
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            self.process = None
            return "aborted"


def record(op, cases, oracles, folder):
    """Writes OP.zip; says what LiteRT refuses."""
    archive = io.BytesIO()
    count = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:

        def put(name, data):
            out.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)

        names = set()
        for case in cases:
            assert case.name not in names, f"two cases of {op} are called {case.name}"
            names.add(case.name)
            results = {mode: oracle(case.model, case.runs) for mode, oracle in oracles.items()}
            results |= {mode: "wrong" for mode in case.wrong}
            for mode, result in results.items():
                if isinstance(result, str) and mode not in case.wrong:
                    print(f"  {op} {case.name}: {mode}: {result.strip().splitlines()[0][:140]}")
            if all(isinstance(result, str) for result in results.values()):
                continue
            put(f"{case.name}/model.tflite", case.model)
            info = {}
            for mode, result in results.items():
                refused = isinstance(result, str)
                info[mode] = None if refused else [[list(y.shape) for y in outputs] for outputs in result]
                for r, outputs in enumerate([] if refused else result):
                    for i, y in enumerate(outputs):
                        put(f"{case.name}/{r}/{mode}{i}", np.ascontiguousarray(y).tobytes())
            put(f"{case.name}/case.json", json.dumps({"runs": len(case.runs), **info}))
            for r, feeds in enumerate(case.runs):
                for i, feed in enumerate(feeds):
                    put(f"{case.name}/{r}/input{i}", np.ascontiguousarray(feed).tobytes())
            if case.magnitude is not None:
                for r, outputs in enumerate(oracles["reference"](case.magnitude, case.feeds_magnitude)):
                    for i, y in enumerate(outputs):
                        put(f"{case.name}/{r}/magnitude{i}", np.ascontiguousarray(y).tobytes())
            count += 1
    (folder / f"{op}.zip").write_bytes(archive.getvalue())
    print(f"{op}: {count} cases, {len(archive.getvalue())} bytes")


def generator(op):
    """Random numbers that depend on the op's name alone."""
    return np.random.default_rng(zlib.crc32(op.encode()))
