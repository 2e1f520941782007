"""The words that the page's JavaScript says, in the reader's language. It fills {name} in."""

from __future__ import annotations

from django.utils.translation import gettext as _

from chat.glass.strings import glass_strings
from chat.session_settings.panel import panel_strings


def page_strings() -> dict[str, str]:
    return _numbers() | {
        "today": _("Today"),
        "yesterday": _("Yesterday"),
        **_sessions(),
        "write_chat": _("Write a message"),
        "write_story": _("Begin a story, or go on with it"),
        **_status(),
        **panel_strings(),
        **glass_strings(),
        **_usage(),
        "version": _("Version {n} of {total}"),
        "busy": _(
            "An answer is still being written in this session. Wait for it, or stop it first."
        ),
        "not_heard": _("The browser could not listen. Check that it may use the microphone."),
        "not_done": _("That did not work. Try again."),
        "rated": _("Your rating is saved."),
        "prompts_own": _("Your prompts: make and change them…"),
        "prompts_found": _("{n} prompts"),
        **_links(),
        **_import(),
        "copy": _("Copy"),
        "copied": _("Copied"),
        "copy_code": _("Copy this code"),
        "caution": _("A small model is often wrong. Check what matters."),
        "other_language": _(
            "{title} was trained on {languages}. Your text looks like {language}; "
            "the answer may be poor."
        ),
        "gone": _("This session is no longer there. Copy what you need before you leave the page."),
    }


def _import() -> dict[str, str]:
    """What came of an import."""
    return {
        "importing": _("{sessions} sessions so far…"),
        "imported": _("{sessions} sessions with {messages} messages were taken."),
        "left_out": _("{left} messages of tools, of the system or without text were left out."),
        "skipped": _("{skipped} were not taken"),
        "entry": _("No. {n}"),
    }


def _links() -> dict[str, str]:
    """The list of share links."""
    return {
        "link_until": _("Made {made}, ends {ends}"),
        "link_always": _("Made {made}, no end"),
        "revoked": _("The link was taken back."),
    }


def _sessions() -> dict[str, str]:
    """The list of sessions."""
    return {
        "pinned": _("Pinned"),
        "no_folder": _("No folder"),
        "new_folder": _("New folder"),
        "moved": _("Moved: {name}"),
        "last_days": _("Last {n} days"),
        "actions_named": _("Actions for {title}"),
        "title_of_session": _("Title of the session"),
        "deleted_named": _("“{title}” was deleted."),
        "found": _("{n} found"),
        "not_changed": _("The session could not be changed. Try again."),
        "not_read": _("The earlier messages could not be read. Try again."),
        "not_listed": _("The list could not be read. Try again."),
    }


def _numbers() -> dict[str, str]:
    """What stands below an answer."""
    return {
        "tokens": _("{n} tokens"),
        "tokens_title": _(
            "Tokens written. Read before: {prompt}, of them {cached} from the cache."
        ),
        "cached": _("{n} remembered"),
        "cached_title": _("Tokens of the conversation that did not have to be read again"),
        "speed": _("{n} tokens/s"),
        "speed_title": _("Speed of writing, after the first token"),
        "first": _("first token after {n} s"),
        "first_title": _("From sending to the first token, with the wait in the queue"),
        "guessed": _("{right} of {n} guessed right"),
        "guessed_title": _("Tokens that were guessed from the text so far and checked together"),
        "seed": _("seed {n}"),
        "seed_title": _("The same seed, text and settings give the same answer again"),
    }


def _usage() -> dict[str, str]:
    """The panel of a person's own use."""
    return {
        "usage_today": _("{n} tokens today."),
        "usage_of": _("{n} of {limit} tokens today."),
        "usage_resets": _("A new day begins at {time}."),
        "usage_held": _("{n} are held by answers that are being written."),
        "usage_at_once": _("At most {n} answers are written at once."),
        "usage_unknown": _("Your use could not be read. Try again."),
    }


def _status() -> dict[str, str]:
    """What goes on, and how it ended."""
    return {
        "sending": _("Sending…"),
        "thinking": _("Thinking…"),
        "stopping": _("Stopping…"),
        "queue": _("Waiting, place {n} in the queue"),
        "loading": _("Loading the model… {percent} %"),
        "reading": _("Reading, {percent} %"),
        "summarising": _("Summarising earlier messages…"),
        "retry": _("Try again now"),
        "retry_in": _("Trying again in {n} s"),
        "finished": _("The answer is finished."),
        "ended_early": _("The answer ended early. What was written is kept."),
        "failed": _("The answer broke off. What was written is kept."),
        "stopped": _("Stopped."),
        "length": _("The answer reached its length limit."),
        "filtered": _("The answer was ended here: what follows may not be said on this site."),
    }
