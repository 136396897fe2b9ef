"""Between texts and tokens: prompts, answers, stop texts, calls of tools, grammars."""

from onewafer.server.text.answers import AnswerText
from onewafer.server.text.constraints import Grammar
from onewafer.server.text.language import Language

__all__ = ["AnswerText", "Grammar", "Language"]
