"""JAX on the CPU, lax convolutions and optax's Adam. Modes: reshape_pool, reduce_window (how max pooling is written)."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import train_common  # noqa: E402

ARGS = train_common.arguments(__doc__, ["reshape_pool", "reduce_window"])
CLOCK = train_common.Clock()

import jax  # noqa: E402  (its import belongs to the time to the first step)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402


def convolve(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def pool(x):
    if ARGS.mode == "reduce_window":
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def logits(p, x):
    x = pool(jax.nn.relu(convolve(x, p["conv1"]) + p["conv1_bias"]))
    x = pool(jax.nn.relu(convolve(x, p["conv2"]) + p["conv2_bias"]))
    x = jax.nn.relu(x.reshape(len(x), -1) @ p["dense1"] + p["dense1_bias"])
    return x @ p["dense2"] + p["dense2_bias"]


def main():
    x, y, x_test, y_test = train_common.mnist(ARGS.data)
    x, x_test, y = x[..., None], x_test[..., None], y.astype(np.int32)
    shapes = {"conv1": (3, 3, 1, 32), "conv2": (3, 3, 32, 64), "dense1": (3136, 128), "dense2": (128, 10)}
    glorot = jax.nn.initializers.glorot_uniform()
    params = {}
    for key, (name, shape) in zip(jax.random.split(jax.random.PRNGKey(0), 4), shapes.items()):
        params |= {name: glorot(key, shape), f"{name}_bias": jnp.zeros(shape[-1])}
    assert sum(p.size for p in params.values()) == train_common.PARAMETERS
    optimiser = optax.adam(1e-3)
    state = optimiser.init(params)

    def loss(p, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits(p, images), labels).mean()

    @jax.jit(donate_argnums=(0, 1))
    def step(p, s, images, labels):
        value, gradients = jax.value_and_grad(loss)(p, images, labels)
        updates, s = optimiser.update(gradients, s)
        return optax.apply_updates(p, updates), s, value

    params, state, value = step(params, state, x[: ARGS.batch], y[: ARGS.batch])
    value.block_until_ready()
    CLOCK.first_step_done()
    rng = np.random.default_rng(0)

    def epoch():
        nonlocal params, state, value
        order = rng.permutation(len(x))
        for at in range(0, ARGS.images - ARGS.batch + 1, ARGS.batch):
            index = order[at : at + ARGS.batch]
            params, state, value = step(params, state, x[index], y[index])
        value.block_until_ready()

    for _ in range(ARGS.epochs):
        CLOCK.epoch(ARGS.images // ARGS.batch * ARGS.batch, epoch)
    CLOCK.training_done()
    accuracy = float((np.asarray(jax.jit(logits)(params, x_test)).argmax(1) == y_test).mean())
    CLOCK.emit("JAX", {"jax": jax.__version__, "optax": optax.__version__}, ARGS, accuracy)


main()
