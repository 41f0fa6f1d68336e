"""PyTorch on the CPU. Modes: channels_last, contiguous, compile (channels_last, compiled)."""

import train_common

ARGS = train_common.arguments(__doc__, ["channels_last", "contiguous", "compile"])
CLOCK = train_common.Clock()

import torch  # noqa: E402  (its import belongs to the time to the first step)
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402


def main():
    torch.set_num_threads(ARGS.threads)
    torch.manual_seed(0)
    x, y, x_test, y_test = (torch.from_numpy(a) for a in train_common.mnist(ARGS.data))
    x, x_test, y, y_test = x[:, None], x_test[:, None], y.long(), y_test.long()

    layers = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
    assert sum(p.numel() for p in model.parameters()) == train_common.PARAMETERS
    last = ARGS.mode != "contiguous"
    if last:
        model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    forward = torch.compile(model) if ARGS.mode == "compile" else model

    def step(index):
        batch = x[index]
        if last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(forward(batch), y[index]).backward()
        optimiser.step()

    def epoch():
        order = torch.randperm(len(x))
        for at in range(0, ARGS.images - ARGS.batch + 1, ARGS.batch):
            step(order[at : at + ARGS.batch])

    step(torch.arange(ARGS.batch))
    CLOCK.first_step_done()
    for _ in range(ARGS.epochs):
        CLOCK.epoch(ARGS.images // ARGS.batch * ARGS.batch, epoch)
    CLOCK.training_done()
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    CLOCK.emit("PyTorch", {"torch": torch.__version__}, ARGS, accuracy)


main()
