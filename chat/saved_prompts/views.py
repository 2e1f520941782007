"""/prompts/: a person's own prompts, made, changed, given back as they were, deleted."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from chat import identity
from chat.models import SavedPrompt
from chat.saved_prompts.forms import PromptForm
from chat.saved_prompts.store import (
    PromptNotFound,
    own_prompt,
    own_prompts,
    prompt_keep,
    version_restore,
)


@never_cache
@require_http_methods(["GET", "POST"])
def prompts(request: HttpRequest) -> HttpResponse:
    """All of them, and a form for another one."""
    owner = identity.owner_id(request.user)
    form = PromptForm(request.POST or None, instance=SavedPrompt(owner_id=owner))
    if form.is_valid():
        return _kept(request, form.save(commit=False))
    shown = {"form": form, "prompts": own_prompts(owner_id=owner)}
    return render(request, "saved_prompts/list.html", shown)


@never_cache
@require_http_methods(["GET", "POST"])
def prompt(request: HttpRequest, prompt_id: uuid.UUID) -> HttpResponse:
    """One of them, to be changed, with what it was."""
    its = _own(request, prompt_id)
    form = PromptForm(request.POST or None, instance=its)
    if form.is_valid():
        return _kept(request, form.save(commit=False))
    now, *earlier = its.versions.all()
    shown = {"form": form, "id": prompt_id, "now": now, "earlier": earlier}
    return render(request, "saved_prompts/one.html", shown)


@require_POST
def restore(request: HttpRequest, prompt_id: uuid.UUID, number: int) -> HttpResponse:
    if not version_restore(_own(request, prompt_id), number=number):
        raise Http404
    messages.success(request, _("The prompt is what it was in version %(n)d.") % {"n": number})
    return redirect("prompts")


@require_POST
def delete(request: HttpRequest, prompt_id: uuid.UUID) -> HttpResponse:
    """With its versions."""
    _own(request, prompt_id).delete()
    messages.success(request, _("The prompt was deleted."))
    return redirect("prompts")


def _own(request: HttpRequest, prompt_id: uuid.UUID) -> SavedPrompt:
    try:
        return own_prompt(owner_id=identity.owner_id(request.user), prompt_id=prompt_id)
    except PromptNotFound as error:
        raise Http404(error.message) from None


def _kept(request: HttpRequest, changed: SavedPrompt) -> HttpResponse:
    prompt_keep(changed)
    messages.success(request, _("Saved."))
    return redirect("prompts")
