"""Chinese, Japanese and Korean answers: what they look like, and that no character is ever halved.

A case is (markdown, a part of its HTML). Most of what is wrong with such text is a space too many,
a mark that stays a mark, or a character in two pieces.
"""

from __future__ import annotations

import pytest

from chat.rendering import StreamRenderer, render_blocks
from inference.detokenizer import Detokenizer
from inference.prompt_codec import TokenizerCodec
from tests.fixtures_models import chat_codec, chat_model_dir
from tests.test_rendering import text_of, whole

__all__ = ["chat_codec", "chat_model_dir"]

LINK = ' target="_blank" rel="noopener noreferrer nofollow"'
X = '<math display="inline"><mrow><mi>x</mi></mrow></math>'

BOLD = [
    ("**加粗：**后面", "<strong>加粗：</strong>后面"),
    ("“**强调**”。", "“<strong>强调</strong>”。"),
    ("他说**“强调”**后", "他说<strong>“强调”</strong>后"),
    ("他说**“强调”**again", "他说<strong>“强调”</strong>again"),
    ("see**“强调”**后", "see<strong>“强调”</strong>后"),
    ("**他说：“好。”**她", "<strong>他说：“好。”</strong>她"),
    ("字**‘引’**字", "字<strong>‘引’</strong>字"),
    ("字*“引”*字", "字<em>“引”</em>字"),
    ("全**（1）**和", "全<strong>（1）</strong>和"),
    ("**【重点】**内容", "<strong>【重点】</strong>内容"),
    ("《**书名**》", "《<strong>书名</strong>》"),
    ("**《书名》**作者", "<strong>《书名》</strong>作者"),
    ("**第一步！**然后", "<strong>第一步！</strong>然后"),
    ("真的**吗？**是", "真的<strong>吗？</strong>是"),
    ("*斜体：*后面", "<em>斜体：</em>后面"),
    ("***粗斜。***后面", "<em><strong>粗斜。</strong></em>后面"),
    ("**粗*斜*粗**", "<strong>粗<em>斜</em>粗</strong>"),
    ("**重点*强调***后", "<strong>重点<em>强调</em></strong>后"),
    ("~~删除。~~后面", "<s>删除。</s>后面"),
    ("**￥100**元", "<strong>￥100</strong>元"),
    ("**`代码`：**后", "<strong><code>代码</code>：</strong>后"),
    ("**中文（English）**English", "<strong>中文（English）</strong>English"),
    ("**粗**——说", "<strong>粗</strong>——说"),
    ("……**粗**……", "……<strong>粗</strong>……"),
    ("**甲**、**乙**和**丙**", "<strong>甲</strong>、<strong>乙</strong>和<strong>丙</strong>"),
    ("**甲：**一；**乙：**二", "<strong>甲：</strong>一；<strong>乙：</strong>二"),
    ("第１章：**总则**。", "第１章：<strong>总则</strong>。"),
    ("葛\U000e0100**（注）**あ", "葛\U000e0100<strong>（注）</strong>あ"),
    ("𠮷**（注）**𠮷", "𠮷<strong>（注）</strong>𠮷"),
    ("ㄅ**（注）**ㄆ", "ㄅ<strong>（注）</strong>ㄆ"),
    ("**家👨‍👩‍👧：**人", "<strong>家👨‍👩‍👧：</strong>人"),
    ("中**文", "中**文"),
    ("**粗 **文", "**粗 **文"),
    ("３＊２＊１", "３＊２＊１"),
    ("中_文_字", "中_文_字"),
]
JAPANESE_AND_KOREAN = [
    ("これは**「重要」**です", "これは<strong>「重要」</strong>です"),
    ("**「日本語」**です", "<strong>「日本語」</strong>です"),
    ("*強調。*次の文", "<em>強調。</em>次の文"),
    ("ﾊﾟ**「ﾃｽﾄ」**ﾊ", "ﾊﾟ<strong>「ﾃｽﾄ」</strong>ﾊ"),
    ("一行目。\n二行目", "<p>一行目。二行目</p>"),
    ("カタカナー\nひらがな", "<p>カタカナーひらがな</p>"),
    ("**한국어(韓國語)**는", "<strong>한국어(韓國語)</strong>는"),
    ("이것은 **중요(重要)**합니다", "<strong>중요(重要)</strong>합니다"),
    ("**‘중요’**합니다", "<strong>‘중요’</strong>합니다"),
    ("한국어\n문장", "<p>한국어\n문장</p>"),
    ("한자(漢字)\n漢字", "<p>한자(漢字)\n漢字</p>"),
]
LINES = [
    ("第一行\n第二行", "<p>第一行第二行</p>"),
    ("第一行，\n第二行", "<p>第一行，第二行</p>"),
    ("她说“好。”\n他走了", "<p>她说“好。”他走了</p>"),
    ("他停了——\n然后", "<p>他停了——然后</p>"),
    ("他说：\n“好”", "<p>他说：“好”</p>"),
    ("**粗**\n后面", "<p><strong>粗</strong>后面</p>"),
    ("前面\n**粗**", "<p>前面<strong>粗</strong></p>"),
    ("**甲**\n*乙*", "<p><strong>甲</strong><em>乙</em></p>"),
    ("`变量`\n后面", "<p><code>变量</code>后面</p>"),
    ("𠮷\n野家", "<p>𠮷野家</p>"),
    ("> 引\n> 用", "<p>引用</p>"),
    ("- 一行\n  两行", "<li>一行两行</li>"),
    ("中文\nEnglish", "<p>中文\nEnglish</p>"),
    ("English\n中文", "<p>English\n中文</p>"),
    ("“one”\n“two”", "<p>“one”\n“two”</p>"),
    ("用 $x$\n表示", f"<p>用 {X}\n表示</p>"),
    ("中文  \n换行", "<p>中文<br>\n换行</p>"),
    ("中文\\\n换行", "<p>中文<br>\n换行</p>"),
    ("中文\n\n另段", "<p>中文</p>\n<p>另段</p>"),
]
LINKS = [
    ("见[链接](http://e.com)。", f'见<a href="http://e.com"{LINK}>链接</a>。'),
    ("[链接](http://e.com)后面", f'<a href="http://e.com"{LINK}>链接</a>后面'),
    ("（[链接](http://e.com)）", f'（<a href="http://e.com"{LINK}>链接</a>）'),
    ("**[链接](http://e.com)：**后", f'<strong><a href="http://e.com"{LINK}>链接</a>：</strong>后'),
    ("[链接](http://e.com)\n后面", "链接</a>后面"),
    ("[题](http://e.com/?q=中文)", 'href="http://e.com/?q=%E4%B8%AD%E6%96%87"'),
    ("[题](http://例子.中国)", 'href="http://xn--fsqu00a.xn--fiqs8s"'),
    ("<http://e.com/>后", ">http://e.com/</a>后"),
    ("［不是］（http://e.com）", "<p>［不是］（http://e.com）</p>"),
    ("![图片](http://e.com/a.png)。", f'<a href="http://e.com/a.png"{LINK}>图片</a>。'),
]
BLOCKS = [
    ("# 标题：**重点。**尾", "<h1>标题：<strong>重点。</strong>尾</h1>"),
    ("- 一\n- 二", "<ul>\n<li>一</li>\n<li>二</li>\n</ul>"),
    ("1. **步骤：**做", "<li><strong>步骤：</strong>做</li>"),
    ("3. 三\n4. 四", '<ol start="3">'),
    ("1、一", "<p>1、一</p>"),
    ("１．一", "<p>１．一</p>"),
    ("－ 一", "<p>－ 一</p>"),
    ("| 名称 | 价格 |\n|---|--:|\n| 苹果 | ￥５ |", '<td class="right">￥５</td>'),
    ("| **名：**甲 | `乙` |\n|---|---|", "<th><strong>名：</strong>甲</th>"),
    ("｜不是｜表｜", "<p>｜不是｜表｜</p>"),
    ("> **注意：**小心", "<p><strong>注意：</strong>小心</p>"),
    ("`变量名`是", "<code>变量名</code>是"),
    ("`**不粗：**`是", "<code>**不粗：**</code>是"),
    ("```python\nx = '中'  # 注释\n```", '<span class="c1"># 注释</span>'),
    ("```\n中　文\n```", "中　文\n"),
    ("```文言\n吾\n```", "<figcaption>文言</figcaption>"),
]
MARKS = [
    ("$5 到 $10", "<p>$5 到 $10</p>"),
    ("$5到$10之间", "<p>$5到$10之间</p>"),
    ("￥5 到 ￥10", "<p>￥5 到 ￥10</p>"),
    ("＄5＄", "<p>＄5＄</p>"),
    ("令$x$为", f"<p>令{X}为</p>"),
    ("（$x$）", f"<p>（{X}）</p>"),
    ("$x$，$x$。", f"<p>{X}，{X}。</p>"),
    ("**$x$：**后", f"<strong>{X}：</strong>后"),
    ("“$x$”", f"“{X}”"),
    ("由\\(x\\)得", f"<p>由{X}得</p>"),
    ("$\\text{速度}$", "<mtext>速度</mtext>"),
    ("１２３，４５６．７％", "<p>１２３，４５６．７％</p>"),
    ("“引”‘用’「日」『本』", "<p>“引”‘用’「日」『本』</p>"),
    ("中　文", "<p>中　文</p>"),
    ("在 Python 3 中用 `x`。", "<p>在 Python 3 中用 <code>x</code>。</p>"),
    ("a &lt; 中 &amp; 文", "<p>a &lt; 中 &amp; 文</p>"),
]
CASES = [*BOLD, *JAPANESE_AND_KOREAN, *LINES, *LINKS, *BLOCKS, *MARKS]


@pytest.mark.parametrize(("text", "html"), CASES)
def test_case(text: str, html: str) -> None:
    assert html in whole(text)


@pytest.mark.parametrize(("text", "html"), CASES)
def test_case_letter_by_letter(text: str, html: str) -> None:
    renderer, shown = StreamRenderer(), list[str]()
    for character in text:
        first, blocks = renderer.push(character)
        shown[first:] = blocks
    assert html in "\n".join(shown)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**Bold:**text", "**Bold:**text"),
        ('a**"b"**c', "a**&quot;b&quot;**c"),
        ("“**a**”b", "“<strong>a</strong>”b"),
        ("x**“y”**z", "x**“y”**z"),
        ("été**«mot»**été", "été**«mot»**été"),
        ("слово**«другое»**слово", "слово**«другое»**слово"),
        ("2 * 3 * 4 a** b**", "2 * 3 * 4 a** b**"),
        ("one\ntwo", "<p>one\ntwo</p>"),
        ("a ** b：** c", "a ** b：** c"),
        ("**a** **b**", "<strong>a</strong> <strong>b</strong>"),
    ],
)
def test_words_that_are_written_apart_keep_commonmarks_rule(text: str, html: str) -> None:
    assert html in whole(text).replace('"', "&quot;")


@pytest.mark.parametrize("text", ["中" * 19_000, "中" * 60_000, "。**" * 6_000, "“**" * 6_000])
def test_long_lines_without_spaces(text: str) -> None:
    assert text_of(whole(text)).replace("*", "") == text.replace("*", "")


# --- No half characters ---------------------------------------------------------------------

HALVES = [
    "加粗：**重点。**后面",
    "𠮷野家",
    "👨‍👩‍👧‍👦是一家人",
    "🏳️‍🌈和🇨🇳",
    "👍🏽好",
    "葛\U000e0100城",
    "각 (분해)",
    "e\u0301は合成",
    "价格：￥１００（$5 到 $10）",
    "速度$v=\\frac{路程}{时间}$。",
]


@pytest.mark.parametrize("text", HALVES)
def test_tokens_that_cut_characters_show_only_whole_ones(
    chat_codec: TokenizerCodec, text: str
) -> None:
    """What is sent is at every moment a beginning of the text, and so are its blocks."""
    ids = chat_codec.encode(text)
    cut = [id for id in ids if "\ufffd" in chat_codec.decode([id])]
    assert cut, "no token of this text ends within a character: it proves nothing"
    for table in (None, chat_codec.token_bytes):
        detokenizer, renderer = Detokenizer(chat_codec.decode, token_bytes=table), StreamRenderer()
        sent, shown = "", list[str]()
        for id in ids:
            piece = detokenizer.push(id)
            sent += piece
            assert text.startswith(sent)
            assert piece.encode().decode() == piece, "a lone surrogate would not encode"
            first, blocks = renderer.push(piece)
            shown[first:] = blocks
            assert shown == render_blocks(sent)
        assert sent + detokenizer.finish() == text
