"""What is said to a model about summaries. In the conversation's language, not in the page's: the
same conversation makes the same prompt whoever looks at it. The shorter the instruction, the better
a small model follows it."""

from __future__ import annotations

import re

_CHINESE = re.compile("[\u4e00-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")

_ENGLISH = (
    "Summary of the conversation so far:\n",
    "Summarize the conversation above in a few sentences.",
    "Summarize the earlier summary and the conversation above in a few sentences.",
)
_IN_CHINESE = (
    "到目前为止的对话摘要：\n",
    "请用几句话总结以上对话。",
    "请用几句话总结先前的摘要和以上对话。",
)


def headed(summary: str) -> str:
    """A summary as it stands in a prompt."""
    heading, *_rest = _words(summary)
    return heading + summary


def instruction(conversation: str, *, has_earlier: bool) -> str:
    """The message that asks for a summary of what was said before it."""
    _heading, asking, asking_with_earlier = _words(conversation)
    return asking_with_earlier if has_earlier else asking


def _words(text: str) -> tuple[str, str, str]:
    is_chinese = 2 * len(_CHINESE.findall(text)) > len(_LETTER.findall(text))
    return _IN_CHINESE if is_chinese else _ENGLISH
