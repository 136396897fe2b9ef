"""Llama-like networks on this computer: many rows at a time, without effect on each other.

PyTorch can guarantee the same (`tools/pytorch_rows.py`). With its products one user of SmolLM2 gets
0.49 times as many tokens/s, eight users 0.57 times (`tools/measure_host_values.py --random`, two
threads, idle cores). One user alone is the usual case, so these kernels are our own.
"""

from onewafer.server.values.llama.kernel import BLOCK
from onewafer.server.values.llama.network import LlamaNetwork, qualifies

__all__ = ["BLOCK", "LlamaNetwork", "qualifies"]
