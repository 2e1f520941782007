"""Which keys the database's rows may need, told by a row for each one that has been written with.
Looking at every value would say it too, and take as long as there are values."""

from __future__ import annotations

from chat.encryption.keys import keys, writing_key
from chat.models import EncryptionKey


def note_used() -> None:
    """Before anything is written with the first key."""
    key = writing_key()
    if key is not None:
        EncryptionKey.objects.get_or_create(id=key.name)


def is_used() -> bool:
    """Whether a server has begun with the first key, or all of it is encrypted with that."""
    key = writing_key()
    return key is not None and EncryptionKey.objects.filter(id=key.name).exists()


def missing() -> list[str]:
    """The ids of keys that rows may need and that were not given."""
    given = {key.name for key in keys()}
    used = EncryptionKey.objects.order_by("since").values_list("id", flat=True)
    return [name for name in used if name not in given]


def forget_others() -> None:
    """Once no value needs another key than the one that is written with, if any."""
    key = writing_key()
    EncryptionKey.objects.exclude(id=key.name if key else "").delete()
