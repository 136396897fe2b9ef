"""The fast engine: compiled kernels over flat arrays, equal to the reference in every cycle.

engine                    what the machine asks for: run, launch, peek, checkpoint
state/                    the records: every field, and the arrays that they lie in
build/                    from a loaded program to these arrays
kernels/loop              the loop over windows of cycles, and what it looks at:
kernels/fabric/           routers, links, switches and queues
kernels/compute_element/  main threads, tasks and DSD operations
threads/                  which thread looks at which PEs
snapshots/                the arrays as tables that every engine understands, and back
reports/                  counters, errors and deadlocks
machine_code/             how kernels are compiled, kept, and delivered
"""

from onewafer.simulator.fast.engine import FastEngine

__all__ = ["FastEngine"]
