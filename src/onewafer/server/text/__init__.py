"""Texts and tokens: prompts, answers, stop texts, tool calls, grammars."""

from onewafer.server.text.answers import AnswerText
from onewafer.server.text.constraints import Grammar
from onewafer.server.text.language import Language

__all__ = ["AnswerText", "Grammar", "Language"]
