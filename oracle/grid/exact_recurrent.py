"""Recurrent layers in float64, for `exact`. States are variables: a run goes on where the last one ended."""

import numpy as np

from grid.model import ACTIVATIONS, OPS as BUILTIN

# What is added to the variance in a layer normalization.
VARIANCE_LEAST = 1e-8


def logistic(x):
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def activation(code):
    """The function of a cell or of a unit."""
    return {
        ACTIVATIONS["none"]: lambda x: x,
        ACTIVATIONS["relu"]: lambda x: np.maximum(x, 0),
        ACTIVATIONS["relu_n1_to_1"]: lambda x: np.clip(x, -1, 1),
        ACTIVATIONS["relu6"]: lambda x: np.clip(x, 0, 6),
        4: np.tanh,
    }[code]


def clipped(x, limit):
    """Values cut to a limit; 0 is none."""
    return np.clip(x, -limit, limit) if limit > 0 else x


def times(matrix, x):
    """A matrix times each row; a vector stands for a diagonal matrix."""
    return x * matrix if matrix.ndim == 1 else x @ matrix.T


def lstm_step(x, h, c, parts, opts):
    """One step of an LSTM: the next output and cell. Gates are input, forget, cell, output."""

    def gate(g, of, cell=None):
        total = times(parts["input"][g], x) + times(parts["recurrent"][g], h)
        peephole = parts["peephole"][g]
        if peephole is not None:
            total = total + cell * peephole
        if parts["norm"][g] is not None:
            mean = total.mean(axis=-1, keepdims=True)
            variance = ((total - mean) ** 2).mean(axis=-1, keepdims=True)
            total = (total - mean) / np.sqrt(variance + VARIANCE_LEAST) * parts["norm"][g]
        return of(total + parts["bias"][g])

    of = activation(opts.fusedActivationFunction)
    forget = gate(1, logistic, c)
    enter = 1 - forget if parts["input"][0] is None else gate(0, logistic, c)
    c = clipped(forget * c + enter * gate(2, of), opts.cellClip)
    h = gate(3, logistic, c) * of(c)
    if parts["projection"] is not None:
        h = times(parts["projection"], h)
        if parts["projection_bias"] is not None:
            h = h + parts["projection_bias"]
        h = clipped(h, opts.projClip)
    return h, c


def lstm_parts(operands, norm=(None,) * 4):
    """The weights of a layer, from the first one."""
    return {
        "input": operands[0:4],
        "recurrent": operands[4:8],
        "peephole": [operands[8], operands[9], None, operands[10]],
        "bias": operands[11:15],
        "projection": operands[15],
        "projection_bias": operands[16],
        "norm": norm,
    }


def over_time(step, x, state, backwards=False):
    """The outputs of all steps of a time-major sequence, and the last state. The first part of a state is the output."""
    outputs = [None] * len(x)
    for at in reversed(range(len(x))) if backwards else range(len(x)):
        state = step(x[at], *state)
        outputs[at] = state[0]
    return np.stack(outputs), state


def turned(x, time_major):
    """Between batch-major and time-major."""
    return x if time_major else np.swapaxes(x, 0, 1)


def remember(node, places, state):
    """Keeps the parts of a state."""
    for place, value in zip(places, state):
        node.remember(place, value)


def lstm(node, x, *operands):
    """LSTM, of either kernel, and UNIDIRECTIONAL_SEQUENCE_LSTM."""
    if node.builtin == BUILTIN.LSTM and node.options.kernelType == 1:
        return basic_lstm(node, x, *operands)
    opts = node.options
    parts = lstm_parts(operands, (list(operands[19:23]) + [None] * 4)[:4])
    is_step = node.builtin == BUILTIN.LSTM
    sequence = x[None] if is_step else turned(x, opts.timeMajor)
    outputs, state = over_time(lambda x, h, c: lstm_step(x, h, c, parts, opts), sequence, operands[17:19])
    remember(node, (18, 19), state)
    return [(outputs[0] if is_step else turned(outputs, opts.timeMajor), None)]


def basic_lstm(node, x, h, weights, bias, c):
    """The LSTM of five inputs: one matrix for the gates input, cell, forget, output."""
    both = np.concatenate([x, h], axis=-1)
    gates = both @ weights.T + bias
    enter, new, forget, leave = np.split(gates, 4, axis=-1)
    c = logistic(enter) * np.tanh(new) + logistic(forget) * c
    h = logistic(leave) * np.tanh(c)
    remember(node, (1, 4), (h, c))
    return [(h, None), (c, None), (both, None), (gates, None)]


def merged(node, time_major, forward, backward):
    """Both directions, in one output or in two."""
    both = [turned(outputs, time_major) for outputs in (forward, backward)]
    return [(np.concatenate(both, axis=-1), None)] if node.options.mergeOutputs else [(outputs, None) for outputs in both]


def bidirectional_lstm(node, x, *operands):
    """BIDIRECTIONAL_SEQUENCE_LSTM without a second input."""
    opts, results = node.options, []
    for first, state in ((0, 34), (17, 36)):
        parts = lstm_parts(operands[first : first + 17])
        step = lambda x, h, c, parts=parts: lstm_step(x, h, c, parts, opts)
        outputs, last = over_time(step, turned(x, opts.timeMajor), operands[state : state + 2], first > 0)
        remember(node, (state + 1, state + 2), last)
        results.append(outputs)
    return merged(node, opts.timeMajor, *results)


def rnn_step(weights, recurrent, bias, code):
    """One step of a plain recurrent layer."""
    return lambda x, h: (activation(code)(x @ weights.T + h @ recurrent.T + bias),)


def rnn(node, x, weights, recurrent, bias, h):
    """RNN and UNIDIRECTIONAL_SEQUENCE_RNN."""
    opts, is_step = node.options, node.builtin == BUILTIN.RNN
    sequence = x[None] if is_step else turned(x, opts.timeMajor)
    step = rnn_step(weights, recurrent, bias, opts.fusedActivationFunction)
    outputs, state = over_time(step, sequence, (h,))
    remember(node, (4,), state)
    return [(outputs[0] if is_step else turned(outputs, opts.timeMajor), None)]


def bidirectional_rnn(node, x, *operands):
    """BIDIRECTIONAL_SEQUENCE_RNN without a second input."""
    opts, results = node.options, []
    for first in (0, 4):
        *parts, h = operands[first : first + 4]
        step = rnn_step(*parts, opts.fusedActivationFunction)
        outputs, last = over_time(step, turned(x, opts.timeMajor), (h,), first > 0)
        remember(node, (first + 4,), last)
        results.append(outputs)
    return merged(node, opts.timeMajor, *results)


def svdf(node, x, features, time, bias, state):
    """SVDF: a memory of what each filter saw, weighted by time; filters of one unit are added up."""
    opts = node.options
    memory = state.reshape(len(x), *time.shape)
    memory = np.concatenate([memory[..., 1:], (x @ features.T)[..., None]], axis=-1)
    node.remember(4, memory.reshape(state.shape))
    total = (memory * time).sum(axis=-1).reshape(len(x), -1, opts.rank).sum(axis=-1)
    total = total if bias is None else total + bias
    return [(activation(opts.fusedActivationFunction)(total), None)]


RECURRENT = {
    BUILTIN.BIDIRECTIONAL_SEQUENCE_LSTM: bidirectional_lstm,
    BUILTIN.BIDIRECTIONAL_SEQUENCE_RNN: bidirectional_rnn,
    BUILTIN.LSTM: lstm,
    BUILTIN.RNN: rnn,
    BUILTIN.SVDF: svdf,
    BUILTIN.UNIDIRECTIONAL_SEQUENCE_LSTM: lstm,
    BUILTIN.UNIDIRECTIONAL_SEQUENCE_RNN: rnn,
}
