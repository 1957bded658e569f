import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from testproject.notes.models import Note
from django_asgi_bridge.testing import AsyncClient
pytest_plugins = []

@pytest.fixture(autouse=True)
def urls(settings): settings.ASGI_BRIDGE = {"LIFESPAN": ["testproject.almanac.open_almanac"]}

@pytest.mark.asyncio
async def test_a(db, asgi_client):
    u = await User.objects.acreate(username="x")
    await Note.objects.acreate(title="Osp", body="b", author=u)
    async with asgi_client as c:
        r = await c.get("/")
        assert b"Osp" in r.content
        assert r.templates
        assert r.resolver_match.url_name == "home"
        await c.aforce_login(u)
        r = await c.post("/notes/", {"title": "Bats", "body": "Nine"}, follow=True)
        assert b"Bats" in r.content, r
        async with c.stream("GET", "/live/events/") as s:
            assert s.status_code == 200
            async for chunk in s:
                print(chunk); break
            await s.disconnect(); await s.wait_end()
        r = await c.get("/live/events/")
        async for chunk in r: print(chunk); break

@pytest.mark.django_db
def test_b():
    u = User.objects.create(username="x")
    Note.objects.create(title="Osp", body="b", author=u)
    async def f():
        c = AsyncClient()
        r = await c.get("/")
        assert b"Osp" in r.content
        r = await c.get("/notes/export.csv")
        print(r, r.getvalue() if not r.is_async else [x async for x in r])
    async_to_sync(f)()

@pytest.mark.asyncio
async def test_c(db):
    from asgiref.sync import sync_to_async
    c = AsyncClient()
    r = await c.get("/")
    assert b"Osp" not in r.content

@pytest.mark.asyncio
@pytest.mark.parametrize("n", [1,2])
async def test_d(django_user_model, author, n):
    c = AsyncClient()
    r = await c.get("/")
    assert b"Osp" in r.content

@pytest.fixture
def author(db):
    u = User.objects.create(username="x")
    return Note.objects.create(title="Osp", body="b", author=u)
