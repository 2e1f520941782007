"""Ratings become examples of what was really asked and answered."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from chat.identity import local_user
from chat.models import AuditEntry, Feedback, Generation, Message, MessageReading, Session
from inference.training.lora import well_rated

pytestmark = pytest.mark.django_db

SYSTEM = {"role": "system", "content": "Be brief."}
READ = {"role": "user", "content": "[1] bread.txt: flour\n\nWhat is in it?"}


class Talk:
    def __init__(self) -> None:
        self.owner = local_user()
        self.session = Session.objects.create(owner=self.owner, title="Bread", model="chat")
        self.at = timezone.now() - timedelta(hours=1)

    def says(self, role: str, content: str, parent: Message | None = None, **its: Any) -> Message:
        self.at += timedelta(seconds=1)
        its |= {"created_at": self.at, "shown_at": self.at, "parent": parent}
        return Message.objects.create(session=self.session, role=role, content=content, **its)

    def answers(self, content: str, parent: Message, rating: int = 0) -> Message:
        answer = self.says("assistant", content, parent)
        Generation.objects.create(
            session=self.session,
            message=answer,
            model="chat",
            status="DONE",
            owner="test",
            request_id="r",
            context={"system_prompt": SYSTEM["content"]},
        )
        if rating:
            Feedback.objects.create(message=answer, owner=self.owner, value=rating)
        return answer


@pytest.fixture
def talk() -> Talk:
    """A question about a file with a good and a bad answer, and one behind the good one."""
    made = Talk()
    asked = made.says("user", "What is in it?", reads_files=True)
    MessageReading.objects.create(message=asked, prompt_text=READ["content"], tokens=5)
    good = made.answers("Flour.", asked, rating=1)
    made.answers("Gold.", asked, rating=-1)
    made.answers("Not rated.", asked)
    made.answers("12.", made.says("user", "How much?", good), rating=-1)
    return made


def written(path: Path, form: str) -> list[dict[str, Any]]:
    call_command("feedback_dataset", str(path), form=form)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_ratings_are_what_tuning_takes(talk: Talk, tmp_path: Path) -> None:
    rows = written(tmp_path / "ratings.jsonl", "ratings")
    said = [READ, {"role": "assistant", "content": "Flour."}]
    follow_up = [SYSTEM, *said, {"role": "user", "content": "How much?"}]
    assert rows == [
        {"prompt": [SYSTEM, READ], "answer": "Flour.", "rating": 1},
        {"prompt": [SYSTEM, READ], "answer": "Gold.", "rating": -1},
        {"prompt": follow_up, "answer": "12.", "rating": -1},
    ]
    learned = list(well_rated(tmp_path / "ratings.jsonl", 1.0))
    assert len(learned) == 1


def test_good_answers_are_conversations(talk: Talk, tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "Flour."}
    assert written(tmp_path / "sft.jsonl", "sft") == [{"messages": [SYSTEM, READ, answer]}]


def test_a_good_and_a_bad_answer_are_a_pair(talk: Talk, tmp_path: Path) -> None:
    pair = {"prompt": [SYSTEM, READ], "chosen": "Flour.", "rejected": "Gold."}
    assert written(tmp_path / "dpo.jsonl", "dpo") == [pair]
    entry = AuditEntry.objects.get(action="feedback.export")
    assert entry.after == {"format": "dpo", "rows": 1}


def test_what_is_about_to_be_deleted_is_left_out(talk: Talk, tmp_path: Path) -> None:
    Session.objects.update(deleted_at=timezone.now())
    assert written(tmp_path / "none.jsonl", "ratings") == []


def test_no_file_is_overwritten(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("mine")
    with pytest.raises(CommandError, match="is there already"):
        call_command("feedback_dataset", str(path))
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("feedback_dataset", str(tmp_path / "absent" / "x.jsonl"))
    assert path.read_text() == "mine"
