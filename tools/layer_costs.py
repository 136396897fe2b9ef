"""Print where the cycles of one layer of a known model go, by kind of mesh operation.

    python tools/layer_costs.py llama-3.1-8b --region 107x292 --context 1000

The cycles are those of the closed form for one token at the end of the context, in fp16, with the
timing of real machines. The model is captured if it was not before, which needs PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

from onewafer.arch import load_architecture
from onewafer.geometry import parse_size
from onewafer.graph import with_positions, with_rows
from onewafer.mesh import Estimator, shard
from onewafer.mesh.blocks import Launch
from onewafer.perf import kept_model

if TYPE_CHECKING:
    from onewafer.perf import Model


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="a name of the catalogue")
    parser.add_argument("--region", type=parse_size, required=True, metavar="WxH")
    parser.add_argument("--context", type=int, required=True, metavar="TOKENS")
    arguments = parser.parse_args()
    cycles = layer_cycles(_load(arguments.model), arguments.region, arguments.context)
    total = cycles.total()
    for kind, count in cycles.most_common():
        print(f"{kind:20} {count:7,} {100 * count / total:5.1f} %")
    print(f"{'all':20} {total:7,}")
    return 0


def layer_cycles(model: Model, region: tuple[int, int], context: int) -> Counter[str]:
    """Return the cycles of each kind of operation in one of the equal layers of a model."""
    layers = max(model.segments, key=lambda segment: segment.repeats)
    graph = with_rows(with_positions(model.graph_for(layers, context), context), 1)
    architecture = load_architecture("wse3", profile="silicon")
    width, height = region
    program = shard(graph, width=width, height=height, architecture=architecture, context=context)
    estimate = Estimator(program, architecture).estimate(Launch.at(context - 1, 1))
    cycles: Counter[str] = Counter()
    for cost in estimate.operations[program.num_prepared :]:
        cycles[cost.kind.name] += cost.cycles
    return cycles


def _load(name: str) -> Model:
    kept = kept_model(name)
    if kept is not None:
        return kept
    from onewafer.pytorch import describe_model  # noqa: PLC0415  # loads torch

    return describe_model(name)


if __name__ == "__main__":
    sys.exit(main())
