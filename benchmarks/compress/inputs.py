"""Inputs for the networks of MLPerf Tiny, from a seed: their own data sets are too large to come along.

`images` draws what photographs are like as far as a network's first layers can tell: things of all sizes that cover each other,
the "dead leaves" of Lee, Mumford and Huang, 2001, with textures whose amplitude falls with frequency, under uneven light.
`machine_frames` makes sounds of a running machine and takes the features of them that the autoencoder was trained on.
"""

import numpy as np

SUPERSAMPLING = 2
LEAVES = 60
RATE_HZ = 16_000
SECONDS = 4
FFT, HOP, MELS, FRAMES = 1024, 512, 128, 5
# Windows taken of one sound; few, so that many sounds are heard.
WINDOWS = 8


def _texture(rng: np.random.Generator, size: int, power: float) -> np.ndarray:
    """Noise of `size` by `size` whose amplitude is `1 / frequency ** power`; standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / frequency**power, s=(size, size))
    return noise / noise.std()


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Mostly grey: the brightness of natural colours varies far more than their hue."""
    grey, red_blue, green = rng.normal(0, [0.28, 0.09, 0.05])
    return 0.5 + np.array([grey + red_blue + green, grey - green, grey - red_blue + green])


def _image(rng: np.random.Generator, size: int) -> np.ndarray:
    canvas = size * SUPERSAMPLING
    y, x = np.mgrid[:canvas, :canvas] / canvas
    picture = _colour(rng) + 0.12 * _texture(rng, canvas, 1.3)[..., None] * rng.uniform(0.3, 1, 3)
    # Radii with density 1 / r^3 between the bounds: the law under which the picture looks alike at any scale.
    low, high = 0.07, 0.6
    radii = 1 / np.sqrt(rng.uniform(high**-2, low**-2, rng.integers(LEAVES // 4, LEAVES)))
    for radius in radii:
        angle, flat = rng.uniform(0, np.pi), rng.uniform(0.35, 1)
        dx, dy = x - rng.uniform(-0.1, 1.1), y - rng.uniform(-0.1, 1.1)
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        exponent = rng.choice([1, 2, 8])  # a rhombus, an ellipse, nearly a box
        inside = (np.abs(along) / radius) ** exponent + (np.abs(across) / (radius * flat)) ** exponent < 1
        leaf = _colour(rng) + rng.uniform(0, 0.1) * _texture(rng, canvas, rng.uniform(0.6, 1.6))[..., None]
        picture[inside] = leaf[inside]
    light = 1 + rng.uniform(0, 0.4) * ((x - 0.5) * np.cos(angle := rng.uniform(0, 2 * np.pi)) + (y - 0.5) * np.sin(angle))
    picture = (picture - 0.5) * rng.uniform(0.5, 1.3) + rng.uniform(0.35, 0.6)
    picture = (picture * light[..., None]).clip(0, 1)
    fine = picture.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    return np.round((fine + rng.normal(0, 0.01, fine.shape)).clip(0, 1) * 255)


def images(seed: int, count: int, size: int) -> np.ndarray:
    """`count` colour images, `[count, size, size, 3]`, bytes."""
    rng = np.random.default_rng(seed)
    return np.stack([_image(rng, size) for _ in range(count)]).astype(np.uint8)


def _mel_filters() -> np.ndarray:
    """`[MELS, FFT / 2 + 1]`: Slaney's mel scale, linear below 1 kHz, each triangle of area 1, as librosa has by default."""
    step = np.log(6.4) / 27
    to_mel = lambda hz: np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1e-9) / 1000) / step)
    to_hz = lambda mel: np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
    edges = to_hz(np.linspace(0, to_mel(np.float64(RATE_HZ / 2)), MELS + 2))
    hz = np.linspace(0, RATE_HZ / 2, FFT // 2 + 1)
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def _sound(rng: np.random.Generator) -> np.ndarray:
    """A motor with its harmonics, its speed drifting, clicks, and noise under a smooth spectrum."""
    count = RATE_HZ * SECONDS
    time = np.arange(count) / RATE_HZ
    drift = 1 + rng.uniform(0, 0.05) * np.sin(2 * np.pi * rng.uniform(0.1, 1) * time + rng.uniform(0, 6))
    phase = 2 * np.pi * rng.uniform(25, 300) * np.cumsum(drift) / RATE_HZ
    motor = sum(
        rng.normal() * order ** -rng.uniform(0.5, 1.5) * np.sin(order * phase + rng.uniform(0, 6)) for order in range(1, 25)
    )
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    knots = np.cumsum(rng.normal(rng.uniform(-5, -1), 5, 12))
    envelope = 10 ** (np.interp(hz, np.geomspace(20, RATE_HZ / 2, 12), knots) / 20)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * envelope, count)
    clicks = np.zeros(count)
    clicks[rng.integers(0, count - 400, rng.integers(0, 20))] = rng.normal(0, 1)
    clicks = np.convolve(clicks, np.exp(-np.arange(400) / 60) * np.sin(np.arange(400) * rng.uniform(0.3, 2)))[:count]
    parts = [motor, noise, clicks]
    sound = sum(rng.uniform(0.1, 1) * part / max(part.std(), 1e-9) for part in parts)
    # A microphone hears no rumble and hisses, and a file has 16 bits.
    sound = np.fft.irfft(np.fft.rfft(sound) * hz**2 / (hz**2 + 80**2), count)
    sound *= 10 ** rng.uniform(-2.4, -1.25) / sound.std()
    hiss = rng.normal(0, 10 ** rng.uniform(0.5, 1.5), count)
    return np.round(sound * 32_768 + hiss).clip(-32_768, 32_767) / 32_768


def machine_frames(seed: int, count: int) -> np.ndarray:
    """`[count, 640]` in decibels: 5 frames in a row of 128 mel bands each, of sounds of 4 s at 16 kHz, 64 ms windows, 32 ms apart."""
    rng = np.random.default_rng(seed)
    window, filters, found = np.hanning(FFT + 1)[:-1], _mel_filters(), []
    while len(found) < count:
        sound = _sound(rng)
        starts = np.arange(0, len(sound) - FFT, HOP)
        power = np.abs(np.fft.rfft(sound[starts[:, None] + np.arange(FFT)] * window)) ** 2
        decibels = 10 * np.log10(power @ filters.T + np.finfo(float).eps)
        for first in rng.choice(len(starts) - FRAMES, WINDOWS, replace=False):
            found.append(decibels[first : first + FRAMES].reshape(-1))
    return np.stack(found[:count]).astype(np.float32)
