"""Our apps in a project that is not ours (`tests/third_party/`): its own accounts with numbers for
keys, its own pages and sign-in, and the assistant below /assistant/."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.server_process import ROOT
from tests.third_party_server import PATIENCE_S, Bookshop, Visitor

pytestmark = pytest.mark.fake_engine

DOCUMENT = ROOT / "docs/embedding.md"

POOR = """
from bookshop.settings import *
del TINYLLM_DEADLINE_S, TINYLLM_LOCAL
MIDDLEWARE = [name for name in MIDDLEWARE if name != "chat.audit.AuditMiddleware"]
TEMPLATES[0]["DIRS"] = STATICFILES_DIRS = []
ROOT_URLCONF = "poor"
urlpatterns = []
"""
SAID = {
    "chat.E007": "TINYLLM_DEADLINE_S, TINYLLM_LOCAL",
    "chat.E008": "chat.audit.AuditMiddleware",
    "chat.E009": 'include("chat.urls")',
    "chat.E010": "TINYLLM_TEMPLATES",
    "chat.E011": "TINYLLM_STATIC",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bookshop]:
    server = Bookshop(tmp_path_factory.mktemp("bookshop"))
    server.migrate().start()
    yield server
    assert server.end() == 0


@pytest.fixture(scope="module")
def talked(shop: Bookshop) -> dict[str, tuple[Visitor, str]]:
    """Both members, and the session in which each has said something."""
    found = {}
    for name in ("ada", "bob"):
        visitor = Visitor(shop).sign_in(name)
        ended = visitor.say(f"A quiet word of {name}")
        assert ended["status"] == "DONE"
        found[name] = (visitor, ended["session_id"])
    return found


def titles(rows: list[dict[str, Any]]) -> list[str]:
    return [row["title"] for row in rows]


def answers_of(visitor: Visitor) -> int:
    return sum(day["turns"] for day in visitor.get("api/usage").json()["days"])


def test_the_project_is_in_order(tmp_path: Path) -> None:
    shop = Bookshop(tmp_path)
    checked = shop.manage("check", "--fail-level", "WARNING")
    assert checked.returncode == 0, checked.stderr
    migrated = shop.manage("makemigrations", "--check", "--dry-run")
    assert migrated.returncode == 0, migrated.stdout


def test_the_documented_lines_are_those_of_the_project() -> None:
    blocks = re.findall(r"```(?:python|html)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    files = [path for kind in ("*.py", "*.html") for path in Bookshop.project.rglob(kind)]
    written = {line for path in files for line in path.read_text().splitlines()}
    assert len(blocks) == 4
    assert [line for block in blocks for line in block.splitlines() if line not in written] == []


def test_what_is_missing_is_named_with_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "poor.py").write_text(POOR)
    shop = Bookshop(tmp_path)
    shop.environment["PYTHONPATH"] += f":{tmp_path}"
    shop.environment["DJANGO_SETTINGS_MODULE"] = "poor"
    said = shop.manage("check").stderr
    assert {id: words for id, words in SAID.items() if id not in said or words not in said} == {}
    (tmp_path / "poor.py").write_text(POOR + "INSTALLED_APPS.remove('unfold')")
    assert "INSTALLED_APPS lacks unfold" in shop.manage("check").stderr


def test_each_member_sees_only_what_is_theirs(talked: dict[str, tuple[Visitor, str]]) -> None:
    (ada, of_ada), (bob, of_bob) = talked["ada"], talked["bob"]
    assert titles(ada.get("api/sessions").json()) == ["A quiet word of ada"]
    assert titles(bob.get("api/sessions").json()) == ["A quiet word of bob"]
    assert ada.get(f"sessions/{of_ada}/").status_code == 200
    assert ada.get(f"sessions/{of_bob}/").status_code == 404
    assert ada.get(f"api/sessions/{of_bob}").json()["error"]["code"] == "session_not_found"
    # by the index of the search, and by its short cut, both SQL of our own
    for query in ("quiet", "qu"):
        found = ada.get(f"api/search?q={query}").json()
        assert {hit["session_id"] for hit in found} == {of_ada}
    assert answers_of(ada) == 1
    with zipfile.ZipFile(io.BytesIO(ada.get("my-data/archive/").content)) as archive:
        assert "tables/member.jsonl" in archive.namelist()
        assert "ada" in archive.read("tables/session.jsonl").decode()


def test_rows_carry_the_number_of_their_member(
    shop: Bookshop, talked: dict[str, tuple[Visitor, str]]
) -> None:
    owners = shop.rows(
        "SELECT username, typeof(owner_id), title FROM chat_session"
        " JOIN bookshop_people ON bookshop_people.id = owner_id ORDER BY username"
    )
    assert owners == [(name, "integer", f"A quiet word of {name}") for name in ("ada", "bob")]
    assert shop.rows("SELECT * FROM sqlite_master WHERE name = 'chat_user'") == []
    assert shop.rows("PRAGMA foreign_key_check") == []


def test_the_page_is_in_the_shops_own_frame(talked: dict[str, tuple[Visitor, str]]) -> None:
    page = talked["ada"][0].get("")
    assert '<header class="site-header"><a href="/">The bookshop</a></header>' in page.text
    assert 'data-root="/assistant/"' in page.text
    assert 'id="composer"' in page.text
    assert "script-src 'nonce-" in page.headers["content-security-policy"]


def test_only_the_assistant_asks_to_sign_in(shop: Bookshop) -> None:
    stranger = Visitor(shop)
    front = stranger.http.get("/")
    assert (front.status_code, "Open to everybody" in front.text) == (200, True)
    assert "content-security-policy" not in front.headers
    assert stranger.get("").headers["location"] == "/login/?next=/assistant/"
    assert stranger.get("api/sessions").status_code == 401
    assert stranger.get("api/nothing").headers["content-type"].startswith("application/json")
    with stranger.socket() as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_a_program_of_a_member_has_the_other_api(
    shop: Bookshop, talked: dict[str, tuple[Visitor, str]]
) -> None:
    before = answers_of(talked["bob"][0])
    answer = httpx.post(
        f"{shop.url}/assistant/v1/chat/completions",
        json={"model": "chat", "messages": [{"role": "user", "content": "Hi"}]},
        headers={"authorization": f"Bearer {shop.token}"},
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200, answer.text
    assert answers_of(talked["bob"][0]) == before + 1


def test_the_account_and_the_admin_work_on_the_shops_members(shop: Bookshop) -> None:
    boss = Visitor(shop).sign_in("boss")
    assert 'value="boss"' in boss.get("account/").text
    for page in ("chat/session/", "chat/accountlink/", "members/member/", "engine/", "settings/"):
        assert boss.http.get(f"/admin/{page}").status_code == 200, page
