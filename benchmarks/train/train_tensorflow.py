"""TensorFlow on the CPU. Modes: function (a tf.function step), fit (Keras's own loop), jit (XLA)."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import train_common  # noqa: E402

ARGS = train_common.arguments(__doc__, ["function", "fit", "jit"])
CLOCK = train_common.Clock()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402  (its import belongs to the time to the first step)


def main():
    tf.config.threading.set_intra_op_parallelism_threads(ARGS.threads)
    tf.config.threading.set_inter_op_parallelism_threads(ARGS.threads)
    tf.keras.utils.set_random_seed(0)
    x, y, x_test, y_test = train_common.mnist(ARGS.data)
    x, x_test, y = x[..., None], x_test[..., None], y.astype(np.int64)

    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            tf.keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    )
    assert model.count_params() == train_common.PARAMETERS
    optimiser = tf.keras.optimizers.Adam(1e-3)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rng = np.random.default_rng(0)
    used = ARGS.images // ARGS.batch * ARGS.batch

    if ARGS.mode == "fit":
        model.compile(optimiser, loss)
        model.train_on_batch(x[: ARGS.batch], y[: ARGS.batch])

        def epoch():
            model.fit(x[:used], y[:used], batch_size=ARGS.batch, verbose=0)
    else:
        images, labels = tf.constant(x), tf.constant(y)

        @tf.function(jit_compile=ARGS.mode == "jit")
        def step(index):
            batch, wanted = tf.gather(images, index), tf.gather(labels, index)
            with tf.GradientTape() as tape:
                value = loss(wanted, model(batch, training=True))
            gradients = tape.gradient(value, model.trainable_variables)
            optimiser.apply_gradients(zip(gradients, model.trainable_variables))
            return value

        optimiser.build(model.trainable_variables)
        step(tf.range(ARGS.batch)).numpy()

        def epoch():
            order = tf.constant(rng.permutation(len(x))[:used].reshape(-1, ARGS.batch).astype(np.int32))
            for index in order:
                value = step(index)
            value.numpy()

    CLOCK.first_step_done()
    for _ in range(ARGS.epochs):
        CLOCK.epoch(used, epoch)
    CLOCK.training_done()
    accuracy = float((model.predict(x_test, verbose=0).argmax(1) == y_test).mean())
    CLOCK.emit("TensorFlow", {"tensorflow": tf.__version__, "keras": tf.keras.__version__}, ARGS, accuracy)


main()
