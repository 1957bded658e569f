"""Files in and out: uploads, downloads, the CSV export."""

import csv
import hashlib
from collections.abc import Iterator
from http import HTTPStatus

from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from django_asgi_bridge import http
from testproject.notes.forms import UploadForm
from testproject.notes.models import Attachment, Note

_ROWS_AT_ONCE = 500


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Take a file and tell its size and SHA-256; keep it when a note is chosen.

    A sync view: it starts when the first bytes are there and reads the rest from
    the connection. The script shows progress; without it the form works as well.
    """
    is_post = request.method == "POST"
    form = UploadForm(request.POST, request.FILES) if is_post else UploadForm()
    if isinstance(request.user, User):
        # ModelChoiceField is what the form declares under this name.
        form.fields["note"].queryset = request.user.notes.all()  # type: ignore[attr-defined]
    if not is_post:
        return render(request, "notes/upload.html", {"form": form})
    wants_json = not request.accepts("text/html")
    if not form.is_valid():
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        if wants_json:
            return JsonResponse({"errors": form.errors}, status=status)
        return render(request, "notes/upload.html", {"form": form}, status=status)
    result = _measure(form.cleaned_data["file"])
    if note := form.cleaned_data["note"]:
        attachment = _attach(note, form.cleaned_data["file"], result)
        result["url"] = attachment.get_absolute_url()
    if wants_json:
        return JsonResponse(result)
    return render(request, "notes/upload.html", {"form": form, "result": result})


def _measure(file: "UploadedFile[bytes]") -> dict[str, str | int]:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return {
        "name": file.name or "",
        "size": file.size or 0,
        "sha256": digest.hexdigest(),
    }


@transaction.atomic
def _attach(
    note: Note, file: "UploadedFile[bytes]", result: dict[str, str | int]
) -> Attachment:
    file.seek(0)
    return Attachment.objects.create(
        note=note,
        file=file,
        name=str(result["name"])[:255],
        size=result["size"],
        sha256=result["sha256"],
    )


# No cookie is read here, so no other site can use a visitor's session.
@csrf_exempt
@http.streams_body
async def upload_raw(request: HttpRequest) -> HttpResponse:
    """Hash a body of any length as it arrives: `curl -T file URL`."""
    if request.method not in {"POST", "PUT"}:
        return HttpResponse(
            status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST, PUT"}
        )
    digest = hashlib.sha256()
    size = chunks = 0
    async for chunk in http.stream(request):
        digest.update(chunk)
        size += len(chunk)
        chunks += 1
    return JsonResponse({"size": size, "chunks": chunks, "sha256": digest.hexdigest()})


@require_safe
def files(request: HttpRequest) -> HttpResponse:
    """List the files to download."""
    attachments = Attachment.objects.select_related("note")
    return render(request, "notes/files.html", {"attachments": attachments})


@require_safe
def download(request: HttpRequest, pk: int) -> FileResponse:
    """Send one file, or the range of it that was asked for."""
    attachment = get_object_or_404(Attachment, pk=pk)
    try:
        file = attachment.file.open("rb")
    except FileNotFoundError as exc:
        message = f"The file of attachment {pk} is gone."
        raise Http404(message) from exc
    return FileResponse(file, as_attachment=True, filename=attachment.name)


@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    """Send all notes as CSV, row by row, while the database reads them."""
    return StreamingHttpResponse(
        _csv_rows(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="field-notes.csv"'},
    )


class _Echo:
    """A file for csv.writer that gives back what is written."""

    def write(self, row: str) -> str:
        return row


def _csv_rows() -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(["id", "created", "author", "title", "body"])
    notes = Note.objects.order_by("pk").values_list(
        "pk", "created", "author__username", "title", "body"
    )
    for pk, created, author, title, body in notes.iterator(_ROWS_AT_ONCE):
        yield writer.writerow(
            [pk, created.isoformat(), *map(_plain, (author, title, body))]
        )


def _plain(text: str) -> str:
    # Spreadsheets take a cell that starts so for a formula (OWASP: CSV injection).
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
