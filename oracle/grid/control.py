"""Subgraphs that call one another, variables, and shapes that depend on values. One archive for each, not for each op."""

import numpy as np
from flatbuffers import flexbuffers

from grid.model import OPS as BUILTIN, TYPES, Model, options
from grid.rearrange import quantization, values
from grid.record import Case

INTEGERS = ("i8", "u8", "i16", "i32", "i64", "bool")


def floats(rng, *shape):
    """Normal random numbers."""
    return rng.standard_normal(shape).astype(np.float32)


def ints(*values):
    """An int32 vector, or what nested lists say."""
    return np.array(values, np.int32)


def operands(rng, dtype, shape):
    """Elements of any type, as they are fed."""
    return floats(rng, *shape) if dtype == "f32" else values(rng, dtype, shape).astype(TYPES[dtype][0])


def combine(graph, builtin, x, y, result):
    """Adds a sum or a product, of truths `or` and `and`."""
    if graph.table.tensors[x].type == TYPES["bool"][1]:
        logical = {"ADD": ("LOGICAL_OR", "LogicalOrOptions"), "MUL": ("LOGICAL_AND", "LogicalAndOptions")}
        name, kind = logical[builtin]
        graph.op(getattr(BUILTIN, name), [x, y], [result], options(kind))
        return
    opts = options("AddOptions") if builtin == "ADD" else options("MulOptions")
    if graph.table.tensors[x].type == TYPES["i16"][1] and builtin == "ADD":
        opts[1].potScaleInt16 = False
    integer = graph.table.tensors[x].quantization is not None
    graph.op(getattr(BUILTIN, builtin), [x, y], [result], opts, 2 if integer else 1)


def binary(model, name, builtin, shape, constant, dtype="f32"):
    """A subgraph that combines its input with a constant."""
    graph = model.graph(name)
    details = quantization(dtype)
    x = graph.input(dtype, shape, **details)
    c = graph.tensor(dtype, (len(constant),), data=constant, **details)
    combine(graph, builtin, x, c, graph.output(dtype, shape, **details))
    return len(model.table.subgraphs) - 1


def padded(model, name, shape, dtype="f32"):
    """A subgraph that adds a row of zeros before and two after."""
    graph = model.graph(name)
    details = quantization(dtype)
    x = graph.input(dtype, shape, **details)
    around = graph.tensor("i32", (len(shape), 2), data=[[1, 2]] + [[0, 0]] * (len(shape) - 1))
    graph.op(BUILTIN.PAD, [x, around], [graph.output(dtype, (shape[0] + 3, *shape[1:]), **details)], options("PadOptions"))
    return len(model.table.subgraphs) - 1


def branches(rng, then, other, dtype="f32"):
    """A model that runs one of two subgraphs on a 2 by 3 matrix, and on what they give RELU6, which takes floats."""
    model = Model()
    main = model.graph()
    details = quantization(dtype)
    flag, x = main.input("bool", (1,)), main.input(dtype, (2, 3), **details)
    y = (main.tensor if dtype == "f32" else main.output)(dtype, (2, 3), **details)
    opts = options("IfOptions", thenSubgraphIndex=then(model), elseSubgraphIndex=other(model))
    main.op(BUILTIN.IF, [flag, x], [y], opts)
    if dtype == "f32":
        main.op(BUILTIN.RELU6, [y], [main.output("f32", (2, 3))])
    runs = [[np.array([flag]), operands(rng, dtype, (2, 3))] for flag in (True, False, False, True)]
    return model.bytes(), runs


def loop(rng, shape, body_of, grows, dtype="f32"):
    """A model that runs a subgraph on x as often as there are leading truths in a vector of flags."""
    model = Model()
    main = model.graph()
    details = quantization(dtype)
    x, flags = main.input(dtype, shape, **details), main.input("bool", (6,))
    opts = options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    main.op(BUILTIN.WHILE, [x, flags], [main.output(dtype, shape, **details), main.output("bool", (6,))], opts)
    condition = model.graph("condition")
    condition.input(dtype, shape, **details)
    flags = condition.input("bool", (6,))
    begin, size = (condition.tensor("i32", (1,), data=[n]) for n in (0, 1))
    condition.op(BUILTIN.SLICE, [flags, begin, size], [condition.output("bool", (1,))], options("SliceOptions"))
    body = model.graph("body")
    x, flags = body.input(dtype, shape, **details), body.input("bool", (6,))
    body_of(body, x)
    following = body.tensor("i32", (6,), data=[1, 2, 3, 4, 5, 5])
    body.op(BUILTIN.GATHER, [flags, following], [body.output("bool", (6,))], options("GatherOptions"))
    counts = (0, 3, 1) if grows else (0, 5, 2)
    return model.bytes(), [[operands(rng, dtype, shape), np.arange(6) < count] for count in counts]


def control_flow(rng):
    """IF, WHILE and STABLEHLO_COMPOSITE."""

    def add(model):
        return binary(model, "add", "ADD", (2, 3), [1, 2, 3])

    def mul(model):
        return binary(model, "mul", "MUL", (2, 3), [2, -1, 0.5])

    yield Case("if", *branches(rng, add, mul))
    yield Case("if_of_other_shapes", *branches(rng, mul, lambda model: padded(model, "pad", (2, 3))))

    def step(body, x):
        half = body.tensor("f32", (3,), data=[0.5, -2, 3])
        body.op(BUILTIN.MUL, [x, half], [body.output("f32", (2, 3))], options("MulOptions"))

    def grow(body, x):
        around = body.tensor("i32", (2, 2), data=[[1, 2], [0, 0]])
        body.op(BUILTIN.PAD, [x, around], [body.output("f32", (5, 3))], options("PadOptions"))

    yield Case("while", *loop(rng, (2, 3), step, False))
    yield Case("while_that_grows", *loop(rng, (2, 3), grow, True))

    model = Model()
    main = model.graph()
    x, y = main.input("f32", (2, 3)), main.tensor("f32", (2, 3))
    opts = options("StableHLOCompositeOptions", name="odml.mul", decompositionSubgraphIndex=mul(model), version=1)
    opts[1].compositeAttributes = np.frombuffer(flexbuffers.Dumps({"alpha": 1}), np.uint8)
    main.op(BUILTIN.STABLEHLO_COMPOSITE, [x], [y], opts)
    main.op(BUILTIN.RELU, [y], [main.output("f32", (2, 3))])
    yield Case("composite", model.bytes(), [[floats(rng, 2, 3)]])
    for dtype in INTEGERS:
        yield from control_flow_of_integers(rng, dtype)


def control_flow_of_integers(rng, dtype):
    """IF and WHILE on elements of a type."""
    details = quantization(dtype)
    constant = operands(rng, dtype, (3,))
    add = lambda model: binary(model, "add", "ADD", (2, 3), constant, dtype)
    mul = lambda model: binary(model, "mul", "MUL", (2, 3), constant, dtype)
    pad = lambda model: padded(model, "pad", (2, 3), dtype)

    def step(body, x):
        combine(body, "ADD", x, body.tensor(dtype, (3,), data=constant, **details), body.output(dtype, (2, 3), **details))

    def grow(body, x):
        around = body.tensor("i32", (2, 2), data=[[1, 2], [0, 0]])
        body.op(BUILTIN.PAD, [x, around], [body.output(dtype, (5, 3), **details)], options("PadOptions"), 2)

    yield Case(f"if_{dtype}", *branches(rng, add, mul, dtype))
    yield Case(f"if_of_other_shapes_{dtype}", *branches(rng, add, pad, dtype))
    yield Case(f"while_{dtype}", *loop(rng, (2, 3), step, False, dtype))
    yield Case(f"while_that_grows_{dtype}", *loop(rng, (2, 3), grow, True, dtype))


def variables(rng):
    """VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE over several runs."""
    starts = {"f32": ([1.5, -2, 3], [0.5, 1, 2]), "i32": ([100, 0, -7], [1, 2, 3])}
    for dtype in ("f32", "i32", *(dtype for dtype in INTEGERS if dtype != "i32")):
        details = quantization(dtype)
        first, step = starts.get(dtype) or [operands(rng, dtype, (3,)) for _ in range(2)]
        model = Model()
        main = model.graph()
        x = main.input(dtype, (3,), **details)
        main.op(BUILTIN.CALL_ONCE, [], [], options("CallOnceOptions", initSubgraphIndex=1))

        def handle(graph):
            resource = graph.tensor("resource", ())
            graph.op(BUILTIN.VAR_HANDLE, [], [resource], options("VarHandleOptions", container="", sharedName="sum"))
            return resource

        sum_ = handle(main)
        before, after = (main.tensor(dtype, (3,), **details) for _ in range(2))
        main.op(BUILTIN.READ_VARIABLE, [sum_], [before], options("ReadVariableOptions"))
        combine(main, "ADD", before, x, after)
        main.op(BUILTIN.ASSIGN_VARIABLE, [sum_, after], [], options("AssignVariableOptions"))
        main.op(BUILTIN.READ_VARIABLE, [sum_], [main.output(dtype, (3,), **details)], options("ReadVariableOptions"))
        init = model.graph("init")
        value = init.tensor(dtype, (3,), data=first, **details)
        init.op(BUILTIN.ASSIGN_VARIABLE, [handle(init), value], [], options("AssignVariableOptions"))
        feed = np.array(step, TYPES[dtype][0])
        yield Case(f"counter_{dtype}", model.bytes(), [[feed], [feed + feed], [feed]])


def dynamic(builtin, shape, parameters, opts, outs, rng):
    """A case of one op whose parameters are inputs: `parameters` are, run by run, the arrays of each."""
    model = Model()
    main = model.graph()
    x = main.input("f32", shape)
    inputs = [main.input("i32", array.shape) for array in parameters[0]]
    doubled = main.tensor("f32", shape)
    two = main.tensor("f32", (1,), data=[2])
    main.op(BUILTIN.MUL, [x, two], [doubled], options("MulOptions"))
    unknown = [-1] * len(outs)
    y = main.tensor("f32", outs, signature=unknown)
    main.op(builtin, [doubled, *inputs], [y], opts, 2 if builtin == BUILTIN.BROADCAST_TO else 1)
    main.op(BUILTIN.RELU, [y], [main.output("f32", outs, signature=unknown)])
    return model.bytes(), [[floats(rng, *shape), *arrays] for arrays in parameters]


def dynamic_shapes(rng):
    """Ops whose output's shape depends on values, followed by one that takes what comes."""

    def case(name, builtin, shape, parameters, opts, outs):
        return Case(name, *dynamic(builtin, shape, parameters, opts, outs, rng))

    # One run each: what follows a RESHAPE keeps the shape of the first run in LiteRT.
    for index, shape in enumerate([ints(4, 6), ints(-1, 3), ints(24, 1)]):
        opts = options("ReshapeOptions", newShape=[1, 24])
        yield case(f"reshape_{index}", BUILTIN.RESHAPE, (2, 3, 4), [[shape]], opts, (1, 1))
    cuts = [[ints(0, 0), ints(2, -1)], [ints(1, 2), ints(1, 2)]]
    yield case("slice", BUILTIN.SLICE, (3, 4), cuts, options("SliceOptions"), (1, 1))
    cuts = [[ints(0, 0), ints(3, 4), ints(1, 2)], [ints(2, -1), ints(0, 0), ints(-1, -1)]]
    opts = options("StridedSliceOptions", beginMask=0, endMask=0)
    yield case("strided_slice", BUILTIN.STRIDED_SLICE, (3, 4), cuts, opts, (1, 1))
    yield case("tile", BUILTIN.TILE, (2, 3), [[ints(1, 2)], [ints(3, 1)]], options("TileOptions"), (1, 1))
    arounds = [[ints([0, 1], [2, 0])], [ints([0, 0], [0, 0])], [ints([3, 1], [1, 1])]]
    yield case("pad", BUILTIN.PAD, (2, 3), arounds, options("PadOptions"), (1, 1))
    sizes = [[ints(2, 3)], [ints(4, 2, 3)]]
    yield case("broadcast_to", BUILTIN.BROADCAST_TO, (2, 3), sizes[:1], options("BroadcastToOptions"), (1, 1))
    orders = [[ints(1, 0, 2)], [ints(2, 1, 0)]]
    yield case("transpose", BUILTIN.TRANSPOSE, (2, 3, 4), orders, options("TransposeOptions"), (1, 1, 1))
    axes = [[ints(0)], [ints(-1)]]
    yield case("mean", BUILTIN.MEAN, (3, 4), axes, options("ReducerOptions", keepDims=False), (1,))
    yield case("expand_dims", BUILTIN.EXPAND_DIMS, (3, 4), axes, options("ExpandDimsOptions"), (1, 1, 1))
    empty = [[ints(0, 0), ints(0, 4)], [ints(3, 1), ints(0, 2)]]
    yield case("empty_slice", BUILTIN.SLICE, (3, 4), empty, options("SliceOptions"), (1, 1))


OPS = {"control_flow": control_flow, "variables": variables, "dynamic_shapes": dynamic_shapes}
