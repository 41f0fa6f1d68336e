"""Runs cases in LiteRT and writes the archives that the tests replay."""

import io
import json
import multiprocessing
import zipfile
import zlib
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import interpreter as litert

from grid.exact import exact, pairs
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
    # A model of one op that means the same, for what is computed in float64.
    meaning: bytes | None = None
    # Modes in which LiteRT is wrong (docs/NUMERICS.md): not recorded.
    wrong: tuple = ()


def single(name, op, inputs, outputs, opts=None, version=1, sums=False, wrong=(), **custom):
    """A case of one op. `inputs` are `T` or None (left out), `outputs` are `T`; `sums` asks for magnitudes; `custom` is what
    Graph.op wants of a custom op."""

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
        graph.op(op, ids, [graph.output(t.dtype, t.shape, **t.details()) for t in outputs], opts, version, **custom)
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


def check_meaning(title, theirs, truth, magnitude):
    """Whether LiteRT means what `exact` does: it is far off, by more than roundings, for one element in twenty at most, as some of
    its functions are near the ends of their range."""
    theirs = pairs(theirs)
    scale = np.maximum(np.abs(truth), 1e-3 if magnitude is None else np.abs(magnitude))
    with np.errstate(all="ignore"):
        same = (np.float32(truth) == theirs) | (np.isnan(truth) & np.isnan(theirs)) | (np.abs(theirs - truth) <= 1e-3 * scale)
    if theirs.shape != truth.shape or np.count_nonzero(~same) * 20 > same.size:
        raise AssertionError(f"{title}: LiteRT gives {theirs[~same]}, float64 gives {truth[~same]}")
    if not same.all():
        print(f"  {title}: LiteRT gives {theirs[~same]}, float64 gives {truth[~same]}")


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
            truths = {mode: exact(case.meaning or case.model, case.runs, mode) for mode in MODES}
            magnitudes = {}
            if case.magnitude is not None:
                # Where the reference kernels refuse the op, the others will do.
                answers = (oracles[mode](case.magnitude, case.feeds_magnitude) for mode in ("reference", "litert"))
                for r, outputs in enumerate(next(answer for answer in answers if not isinstance(answer, str))):
                    magnitudes |= {(r, i): y for i, y in enumerate(outputs)}
            for r, outputs in enumerate(truths["reference"] or []):
                for i, (y, magnitude, *winograd) in enumerate(outputs):
                    of_litert = truths["litert"][r][i][0]
                    for mode, truth in (("litert", of_litert), ("reference", y)):
                        if not isinstance(results[mode], str):
                            check_meaning(f"{op} {case.name} {mode}", results[mode][r][i], truth, magnitude)
                    put(f"{case.name}/{r}/exact{i}", np.ascontiguousarray(y, "<f8").tobytes())
                    if not np.array_equal(y, of_litert, equal_nan=True):
                        put(f"{case.name}/{r}/exact_litert{i}", np.ascontiguousarray(of_litert, "<f8").tobytes())
                    if magnitude is not None:
                        magnitudes[r, i] = magnitude
                    for terms in (terms for terms in winograd if terms is not None):
                        put(f"{case.name}/{r}/winograd{i}", np.ascontiguousarray(terms, np.float32).tobytes())
            for (r, i), magnitude in magnitudes.items():
                put(f"{case.name}/{r}/magnitude{i}", np.ascontiguousarray(magnitude, np.float32).tobytes())
            count += 1
    (folder / f"{op}.zip").write_bytes(archive.getvalue())
    print(f"{op}: {count} cases, {len(archive.getvalue())} bytes")


def generator(op):
    """Random numbers that depend on the op's name alone."""
    return np.random.default_rng(zlib.crc32(op.encode()))
