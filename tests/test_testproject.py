"""The pages of Field Notes, as Django's test client sees them.

What needs a server (an open stream, mounts, lifespan) is in the tests of those.
"""

import asyncio
import csv
import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.urls import reverse

from testproject.almanac import Almanac, open_almanac
from testproject.database import database_from_url, sqlite_database
from testproject.notes.feed import Feed, heard
from testproject.notes.models import Attachment, Note
from testproject.notes.views.inside import Row, environ_rows, scope_rows
from testproject.notes.views.live import activity, next_notes
from testproject.notes.views.notes import count_all_words

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def author(django_user_model):
    return django_user_model.objects.create_user("ada", password="secret")


@pytest.fixture
def note(author):
    return Note.objects.create(title="Ospreys", body="Two birds", author=author)


@pytest.fixture
def attachment(note, media):
    body = b"0123456789" * 100
    return Attachment.objects.create(
        note=note,
        file=ContentFile(body, name="log.txt"),
        name="log.txt",
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("home", "Newest notes"),
        ("notes", "Page 1 of 1, 1 notes"),
        ("live", "Live"),
        ("wait", "asks for the next note"),
        ("upload", "as it arrives"),
        ("files", "field-notes.csv"),
        ("count", "Nothing is counted yet"),
        ("two-views", "async def"),
        ("two-views-sync", "Runs in thread"),
        ("two-views-async", "Runs in thread"),
        ("process", "need an ASGI server"),
        ("scope", "WSGI environ"),
        ("login", "Sign in"),
        ("admin:login", "Django administration"),
    ],
)
def test_page_opens_when_anybody_asks(client, note, page, text):
    """Every page opens without signing in."""
    response = client.get(reverse(page))

    assert response.status_code == 200
    assert text in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["live-events", "api"])
def test_page_says_what_it_needs_when_served_by_wsgi(client, page):
    """A page that WSGI cannot serve answers 501 and names ASGI."""
    response = client.get(reverse(page))

    assert response.status_code == 501
    assert "ASGI" in response.content.decode()


@pytest.mark.django_db
def test_note_page_shows_the_note_with_its_files(client, attachment):
    """A note's page has its text and links to its files."""
    response = client.get(attachment.note.get_absolute_url())

    assert "Two birds" in response.content.decode()
    assert attachment.get_absolute_url() in response.content.decode()


@pytest.mark.django_db
def test_note_page_is_missing_when_there_is_no_such_note(client):
    """An unknown note is a 404."""
    assert client.get("/notes/1/").status_code == 404


@pytest.mark.django_db
def test_note_form_writes_a_note_when_signed_in(client, author):
    """A signed-in user's note is stored with its author."""
    client.force_login(author)

    response = client.post("/notes/", {"title": "Bats", "body": "Nine"}, follow=True)

    assert "“Bats” is written down." in response.content.decode()
    assert Note.objects.get().author == author


@pytest.mark.django_db
def test_note_form_asks_to_sign_in_when_nobody_is(client):
    """An anonymous visitor's note is not stored."""
    response = client.post("/notes/", {"title": "Bats", "body": "Nine"})

    assert response.headers["Location"] == "/accounts/login/"
    assert not Note.objects.exists()


@pytest.mark.django_db
def test_note_form_comes_back_when_it_is_wrong(client, author):
    """A note without a title is a 400 with the form's errors."""
    client.force_login(author)

    response = client.post("/notes/", {"body": "Nine"})

    assert response.status_code == 400
    assert "This field is required" in response.content.decode()


@pytest.mark.django_db
def test_visitor_signs_in_and_out(client, author):
    """The header shows who is signed in, until signing out."""
    signed_in = client.post(
        "/accounts/login/", {"username": "ada", "password": "secret"}, follow=True
    )
    signed_out = client.post("/accounts/logout/", follow=True)

    assert "<span>ada</span>" in signed_in.content.decode()
    assert "<span>ada</span>" not in signed_out.content.decode()


@pytest.mark.django_db
def test_admin_lists_notes_and_attachments(admin_client, attachment):
    """Both models are in the admin."""
    notes = admin_client.get(reverse("admin:notes_note_changelist"))
    note = admin_client.get(
        reverse("admin:notes_note_change", args=[attachment.note.pk])
    )
    attachments = admin_client.get(reverse("admin:notes_attachment_changelist"))

    assert "Ospreys" in notes.content.decode()
    assert "log.txt" in note.content.decode()
    assert "log.txt" in attachments.content.decode()


@pytest.mark.django_db
def test_upload_tells_size_and_hash_when_nothing_is_kept(client):
    """A file is measured and thrown away."""
    body = b"kestrel" * 100_000

    response = client.post(
        "/upload/",
        {"file": SimpleUploadedFile("birds.log", body)},
        headers={"accept": "application/json"},
    )

    assert response.json() == {
        "name": "birds.log",
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert not Attachment.objects.exists()


@pytest.mark.django_db
def test_upload_is_attached_when_the_user_chose_a_note(client, note, media):
    """A signed-in user's file is stored with the note that was chosen."""
    client.force_login(note.author)

    client.post(
        "/upload/",
        {"file": SimpleUploadedFile("birds.log", b"kestrel"), "note": note.pk},
    )

    attachment = Attachment.objects.get()
    assert (attachment.note, attachment.size) == (note, 7)
    assert attachment.file.read() == b"kestrel"
    attachment.file.close()


@pytest.mark.django_db
def test_upload_refuses_a_note_of_another_user(client, note, media, admin_user):
    """A file cannot be attached to somebody else's note."""
    client.force_login(admin_user)

    response = client.post(
        "/upload/",
        {"file": SimpleUploadedFile("birds.log", b"kestrel"), "note": note.pk},
    )

    assert response.status_code == 422
    assert not Attachment.objects.exists()


@pytest.mark.django_db
def test_upload_names_the_problem_when_there_is_no_file(client):
    """A form without a file comes back with its error."""
    response = client.post("/upload/", headers={"accept": "application/json"})

    assert response.status_code == 422
    assert "file" in response.json()["errors"]


@pytest.mark.django_db
def test_download_sends_the_file(client, attachment):
    """A file is sent under its name."""
    response = client.get(attachment.get_absolute_url())

    assert b"".join(response) == b"0123456789" * 100
    assert 'filename="log.txt"' in response.headers["Content-Disposition"]


@pytest.mark.django_db
def test_download_is_missing_when_the_file_is_gone(client, attachment):
    """A file that was deleted beside the database is a 404."""
    attachment.file.storage.delete(attachment.file.name)

    assert client.get(attachment.get_absolute_url()).status_code == 404


@pytest.mark.django_db
def test_export_streams_every_note(client, note):
    """The CSV file has a row for each note; cells are no formulas."""
    Note.objects.create(title="=1+1", body="-", author=note.author)

    response = client.get("/notes/export.csv")

    text = b"".join(response).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert response.streaming
    assert [row["title"] for row in rows] == ["Ospreys", "'=1+1"]


@pytest.mark.django_db
def test_count_words_counts_every_note(note):
    """The work behind the button stores each note's words."""
    count_all_words()

    note.refresh_from_db()
    assert note.word_count == 2
    assert note.counted is not None


@pytest.mark.django_db
def test_count_button_counts_after_the_response(client, note):
    """The button's work is done once the response is closed."""
    response = client.post("/count/", follow=True)

    note.refresh_from_db()
    assert "The response left first" in response.content.decode()
    assert note.word_count == 2


@pytest.mark.django_db
def test_raw_upload_hashes_the_body(client):
    """A body without a form is measured."""
    response = client.put("/upload/raw", b"kestrel", content_type="text/plain")

    assert response.json()["size"] == 7
    assert response.json()["sha256"] == hashlib.sha256(b"kestrel").hexdigest()


@pytest.mark.django_db
@pytest.mark.parametrize("after", ["", "-1", "x", "9" * 30])
def test_long_poll_refuses_a_number_that_is_none(client, after):
    """A question without a usable number is a 400."""
    assert client.get("/wait/next/", {"after": after}).status_code == 400


@pytest.mark.django_db
def test_long_poll_answers_at_once_when_there_is_a_newer_note(client, note):
    """Notes that are there already are not waited for."""
    response = client.get("/wait/next/", {"after": note.pk - 1})

    assert [found["title"] for found in response.json()["notes"]] == ["Ospreys"]


@pytest.mark.django_db
def test_long_poll_answers_with_nothing_when_the_time_is_up(note):
    """A wait that is over gives an empty list."""

    async def poll():
        return await next_notes(note.pk, within=0)

    assert async_to_sync(poll)() == []


@pytest.mark.django_db
def test_live_stream_gives_the_clock_and_the_notes(note):
    """The stream has each newer note, and the time."""

    async def read():
        events = activity(after=0)
        try:
            return [await anext(events), await anext(events)]
        finally:
            await events.aclose()

    first, second = async_to_sync(read)()

    assert first.event == "note"
    assert first.data["title"] == "Ospreys"
    assert second.event == "clock"


def test_feed_wakes_a_listener_when_another_thread_announces():
    """A ring in a thread sets the event of a loop."""
    feed = Feed()

    async def listen():
        with feed.listen() as news:
            await asyncio.to_thread(feed.announce)
            return await heard(news, within=30)

    assert asyncio.run(listen())


def test_feed_is_quiet_when_nobody_announces():
    """A wait that is over says so."""

    async def listen():
        with Feed().listen() as news:
            return await heard(news, within=0)

    assert not asyncio.run(listen())


@pytest.mark.django_db
def test_new_note_wakes_the_feed(
    author, monkeypatch, django_capture_on_commit_callbacks
):
    """A note announces itself when it is stored, not when it is changed."""
    rings = []
    monkeypatch.setattr("testproject.notes.feed.feed.announce", lambda: rings.append(1))

    with django_capture_on_commit_callbacks(execute=True):
        note = Note.objects.create(title="Bats", body="Nine", author=author)
        note.save()

    assert rings == [1]


def test_scope_page_hides_secrets():
    """Cookies and credentials are not shown, other headers are."""
    rows = scope_rows(
        {
            "client": ("127.0.0.1", 1),
            "headers": [(b"cookie", b"sessionid=1"), (b"accept", b"*/*")],
            "state": {"almanac": Almanac()},
        }
    )

    assert rows == [
        Row("client", "127.0.0.1, 1"),
        Row("headers", table=[("cookie", "(hidden)"), ("accept", "*/*")]),
        Row("state", table=[("almanac", "(Almanac)")]),
    ]


def test_environ_page_hides_secrets():
    """Cookies are hidden, the environment of the process is left out."""
    rows = environ_rows(
        {"HTTP_COOKIE": "sessionid=1", "SECRET_KEY": "x", "REQUEST_METHOD": "GET"}
    )

    assert rows == [Row("HTTP_COOKIE", "(hidden)"), Row("REQUEST_METHOD", "GET")]


def test_almanac_is_open_while_the_hook_is():
    """The hook yields the almanac and stops its task."""

    async def serve():
        async with open_almanac() as state:
            return state["almanac"].process

    assert asyncio.run(serve()) > 0


@pytest.mark.django_db
def test_setup_demo_makes_notes_and_a_user(settings, media, capsys):
    """The command fills the notebook and prints how to sign in; twice is fine."""
    settings.DEBUG = True

    call_command("setup_demo", readings=3)
    call_command("setup_demo", readings=3)

    assert Note.objects.count() == 9
    assert "Sign in as 'demo'" in capsys.readouterr().out


@pytest.mark.django_db
def test_setup_demo_refuses_when_debug_is_off():
    """No user with a known password is made on a site for the public."""
    with pytest.raises(CommandError, match="DEBUG only"):
        call_command("setup_demo")


@pytest.mark.django_db
def test_models_have_their_migrations():
    """No change of a model lacks its migration."""
    call_command("makemigrations", "--check", "--dry-run")


def test_site_has_no_failing_checks():
    """Django's system checks find nothing in the site's own settings."""
    run = subprocess.run(
        [sys.executable, "testproject/manage.py", "check", "--fail-level", "WARNING"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr


def test_database_url_is_read():
    """Every part of a PostgreSQL URL arrives in DATABASES."""
    entry = database_from_url("postgres://me:p%40ss@db:6543/notes?sslmode=require")

    assert entry == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "notes",
        "USER": "me",
        "PASSWORD": "p@ss",
        "HOST": "db",
        "PORT": "6543",
        "OPTIONS": {"sslmode": "require"},
    }


def test_database_url_is_refused_when_its_scheme_is_unknown():
    """The message names the scheme and not the password."""
    with pytest.raises(ValueError, match="'mysql'") as caught:
        database_from_url("mysql://me:p4ss@db/notes")

    assert "p4ss" not in str(caught.value)


def test_sqlite_database_lets_writers_wait():
    """A second writer waits instead of failing."""
    assert sqlite_database(Path("x"))["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
