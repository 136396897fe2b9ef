"""Llama-like networks on this computer: many rows at a time, each as if it were alone."""

from onewafer.server.values.llama.kernel import BLOCK
from onewafer.server.values.llama.network import LlamaNetwork, qualifies

__all__ = ["BLOCK", "LlamaNetwork", "qualifies"]
