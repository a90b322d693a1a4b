"""A training step as torch runs it, beside the same step through `torch.compile`, in turns.

Run: python -m tests.benchmarks.compiled [NET…] [--threads N]     (mobilenetv2 and resnet18; needs a C++ compiler)

A step is forward and backward of 32 slices of 224 pixels in bfloat16. lungcli does not compile: this says what it would
bring.
"""

import argparse
import copy
import functools

import torch
from torch import nn

from lungcli.core import cpu as hardware
from lungcli.training import nets
from tests.benchmarks import machine

BATCH, SIZE, ROUNDS = 32, 224, 6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("nets", nargs="*", default=("mobilenetv2", "resnet18"))
    parser.add_argument("--threads", type=int, default=hardware.physical_cores())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine.state()
    slices = (torch.rand(BATCH, 1, SIZE, SIZE) * 255).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 3
    for name in options.nets:
        net = nets.build(name, 3, SIZE).to(memory_format=torch.channels_last).train()
        compiled = copy.deepcopy(net)
        compiled.compile()
        step(net, slices, labels)
        first = machine.seconds(functools.partial(step, compiled, slices, labels))
        actions = [functools.partial(step, each, slices, labels) for each in (net, compiled)]
        plain, made = machine.taking_turns(actions, ROUNDS)
        machine.say(
            f"{name}: as it is {plain:.2f} s a step, compiled {made:.2f} s ({plain / made:.2f}×), "
            f"after {first - made:.0f} s of compiling"
        )


def step(net: nn.Module, slices: torch.Tensor, labels: torch.Tensor) -> None:
    """Do one step but for the change of weights."""
    net.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nn.functional.cross_entropy(net(slices).float(), labels)
    loss.backward()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
