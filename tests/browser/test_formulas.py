"""Formulas and Chinese text as a browser lays them out, on a phone and a desk, light and dark."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.asked import asked_once
from tests.browser.conftest import Chat, Site
from tests.browser.test_layout import LOW_CONTRAST, overflow

ANSWER = r"""**匀速运动：**速度 $v$ 是路程 $s$ 与时间 $t$ 之比，“**平均速度**”写作
$\bar{v}=\frac{\Delta s}{\Delta t}$。从 $5 到 $10 是价格，不是公式。

$$
v = \frac{\text{路程}}{\text{时间}} = \frac{s}{t}
$$

The roots of $ax^2+bx+c=0$ with $a \ne 0$ are

\[
x_{1,2} = \frac{-b \pm \sqrt{b^2-4ac}}{2a}, \qquad \sum_{i=1}^{n} i = \frac{n(n+1)}{2}.
\]

$$\begin{aligned}
(a+b)^2 &= (a+b)(a+b) \\
        &= a^2 + 2ab + b^2
\end{aligned}$$

$$f(x) = \begin{cases} x^2 & \text{如果 } x \ge 0 \\ -x & \text{否则} \end{cases}
\qquad A = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$$

- **注意力：** $\mathrm{Attention}(Q,K,V) = \mathrm{softmax}
  \left(\frac{QK^\top}{\sqrt{d_k}}\right)V$
- **欧拉：** $e^{i\pi}+1=0$，$\mathbf{x} \in \mathbb{R}^n$，
  $\int_0^\infty e^{-x^2}\,\mathrm{d}x = \frac{\sqrt{\pi}}{2}$

$$1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12 + 13 + 14 + 15 + 16 + 17 + 18 + 19 + 20 = 210$$

| 名称 | 公式 |
|---|---|
| 面积 | $\boxed{\pi r^2}$ |

写错的 $\frac{a$ 和 $\nosuch{x}$ 原样显示。
"""


@pytest.fixture(scope="module")
def session_path(site: Site) -> Callable[[BrowserContext], str]:
    """The path of a session whose answer is the one above, which no small model would write."""

    def rewrite(chat: Chat) -> None:
        with closing(sqlite3.connect(site.database)) as connection, connection:
            update = "UPDATE chat_message SET content = ? WHERE id = ?"
            connection.execute(update, [ANSWER, chat.message_id.replace("-", "")])

    return asked_once(site, "What is the capital of France?", rewrite)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_formulas_fit_and_can_be_read(
    new_context: Callable[..., BrowserContext],
    site: Site,
    session_path: Callable[[BrowserContext], str],
    width: int,
    scheme: str,
) -> None:
    context = new_context(width=width, height=1500, color_scheme=scheme)
    chat = Chat.open(context, site, session_path(context))
    assert chat.answer.locator("math").count() == 16
    assert chat.page.evaluate(LOW_CONTRAST) == []
    chat.screenshot(f"formulas-{width}-{scheme}")
    assert overflow(chat.page) == 0
    scrolling = "elements => elements.filter(e => e.scrollWidth > e.clientWidth).length"
    assert chat.answer.locator(".formula").evaluate_all(scrolling) > 0
