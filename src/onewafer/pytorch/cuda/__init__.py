"""Scripts written for CUDA on the wafer: `alias` puts the parts in place.

`tensors` are what such a script holds, `moves` and `legacy` make them, `device` answers its
questions.
"""

from onewafer.pytorch.cuda.alias import NOTICE, alias_cuda, has_cuda_device
from onewafer.pytorch.cuda.tensors import OnDevice, call_plain, mark, unmarked

__all__ = ["NOTICE", "OnDevice", "alias_cuda", "call_plain", "has_cuda_device", "mark", "unmarked"]
