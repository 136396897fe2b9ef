"""Training loops on the wafer: forward, loss, backward pass and step as launches of one program.

A step travels through the files in this order: `admission` (which calls are tried, and their
capture) → `training` (what follows what) with `autograd` (a call as a node of autograd's graph) and
`hooks` (losses and optimizers of a script) → `calls` (one call and its launches) → `modules` and
`programs` (which program, its entries) → `steps`, `optimizers`, `places`, `pieces` (the step of
parameters that are on the wafer). `losses` has the losses that it can take. Where the host has the
values, `following` measures what a step counts, and `repeats` recognises later steps like it by
what `known` has of them.
"""

from onewafer.pytorch.training.admission import Admission
from onewafer.pytorch.training.hooks import training_on
from onewafer.pytorch.training.modules import TrainedModule
from onewafer.pytorch.training.repeats import NOT_REPEATED
from onewafer.pytorch.training.training import Training

__all__ = ["NOT_REPEATED", "Admission", "TrainedModule", "Training", "training_on"]
