"""The fast engine: compiled kernels over flat arrays, equal to the reference in every cycle.

engine                    the interface of the machine: run, launch, peek, checkpoint
state/                    the records: every field, and the arrays that they lie in
build/                    from a loaded program to these arrays
kernels/loop              the loop over windows of cycles, which visits
kernels/fabric/           routers, links, switches and queues
kernels/compute_element/  main threads, tasks and DSD operations
threads/                  the assignment of PEs to threads
snapshots/                the arrays as tables in the format of all engines, and back
reports/                  counters, errors and deadlocks
machine_code/             compilation, cache and delivery of the kernels
"""

from onewafer.simulator.fast.engine import FastEngine

__all__ = ["FastEngine"]
