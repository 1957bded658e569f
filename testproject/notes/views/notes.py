"""Pages about notes: home, list, one note; work after the response."""

from http import HTTPStatus

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from django_asgi_bridge import http
from testproject.notes.forms import NoteForm
from testproject.notes.models import Note

_PER_PAGE = 20


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Say what is here, with the newest notes."""
    newest = Note.objects.select_related("author")[:5]
    return render(request, "notes/home.html", {"newest": newest})


@require_http_methods(["GET", "HEAD", "POST"])
def note_list(request: HttpRequest) -> HttpResponse:
    """List the notes; signed-in users write one."""
    form = NoteForm(request.POST or None)
    if request.method == "POST":
        if not isinstance(request.user, User):
            return redirect("login")
        if form.is_valid():
            form.instance.author = request.user
            note = form.save()
            messages.success(request, f"“{note.title}” is written down.")
            return redirect("notes")
    page = Paginator(Note.objects.select_related("author"), _PER_PAGE).get_page(
        request.GET.get("page")
    )
    status = HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
    return render(
        request, "notes/note_list.html", {"form": form, "page": page}, status=status
    )


@require_safe
def note_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one note and its files."""
    note = get_object_or_404(
        Note.objects.select_related("author").prefetch_related("attachments"), pk=pk
    )
    return render(request, "notes/note_detail.html", {"note": note})


@require_http_methods(["GET", "HEAD", "POST"])
def count_words(request: HttpRequest) -> HttpResponse:
    """Answer at once, and count the words of all notes after the last byte."""
    if request.method == "POST":
        http.after(request, count_all_words)
        messages.info(request, "The response left first; the count runs now.")
        return redirect("count")
    newest = Note.objects.exclude(counted=None).order_by("-counted").first()
    return render(
        request,
        "notes/count.html",
        {"newest": newest, "waiting": Note.objects.filter(counted=None).count()},
    )


def count_all_words() -> None:
    """Count the words of every note; runs in a worker thread."""
    now = timezone.now()
    notes = list(Note.objects.only("body", "word_count", "counted"))
    for note in notes:
        note.word_count = len(note.body.split())
        note.counted = now
    Note.objects.bulk_update(notes, ["word_count", "counted"], batch_size=200)
