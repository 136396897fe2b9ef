"""Scripts written for CUDA on the wafer: `alias` puts the parts in place.

`tensors` are what such a script holds, `moves` and `legacy` make them, `device` answers its
questions, and `presence` says from when on.
"""

from onewafer.pytorch.cuda.alias import alias_cuda
from onewafer.pytorch.cuda.presence import NOTICE, CudaAlias, Presence
from onewafer.pytorch.cuda.tensors import OnDevice, call_plain, mark, unmarked, view_plain

__all__ = [
    "NOTICE",
    "CudaAlias",
    "OnDevice",
    "Presence",
    "alias_cuda",
    "call_plain",
    "mark",
    "unmarked",
    "view_plain",
]
