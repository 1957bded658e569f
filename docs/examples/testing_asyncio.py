"""A test for pytest-asyncio."""

import pytest
from django.contrib.auth.models import User

from django_asgi_bridge.testing import AsyncClient


@pytest.mark.django_db
@pytest.mark.asyncio
async def test_count_sees_the_users_of_the_test(asgi_client: AsyncClient) -> None:
    await User.objects.acreate(username="ada")

    response = await asgi_client.get("/count/")

    assert response.content == b"1"
