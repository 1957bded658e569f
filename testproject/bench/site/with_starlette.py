"""Starlette with the same answers.

BENCH_THREADS: how many sync endpoints may run at once; Starlette's 40 when left out.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from testproject.bench.site import answers

__all__ = ("application",)


def _hello(request: Request) -> Response:
    return PlainTextResponse(answers.HELLO)


async def _ahello(request: Request) -> Response:
    return PlainTextResponse(answers.HELLO)


def _json(request: Request) -> Response:
    return JSONResponse(answers.MESSAGE)


async def _ajson(request: Request) -> Response:
    return JSONResponse(answers.MESSAGE)


async def _queries(request: Request) -> Response:
    numbers = []
    async with request.state.pool.connection() as connection:
        for key in answers.random_ids(request.path_params["count"]):
            cursor = await connection.execute(
                "SELECT id, value FROM site_number WHERE id = %s", (key,)
            )
            numbers.append(await cursor.fetchone())
    return JSONResponse({"numbers": numbers})


def _wait(request: Request) -> Response:
    time.sleep(answers.WAIT)
    return PlainTextResponse(answers.HELLO)


async def _await(request: Request) -> Response:
    await asyncio.sleep(answers.WAIT)
    return PlainTextResponse(answers.HELLO)


def _big(request: Request) -> Response:
    return PlainTextResponse(answers.BIG)


async def _abig(request: Request) -> Response:
    return PlainTextResponse(answers.BIG)


async def _file(request: Request) -> Response:
    return FileResponse(answers.file_path())


def _csv(request: Request) -> Response:
    return StreamingResponse(answers.csv_blocks(), media_type="text/csv")


async def _acsv(request: Request) -> Response:
    async def blocks() -> AsyncIterator[str]:
        for block in answers.csv_blocks():
            yield block

    return StreamingResponse(blocks(), media_type="text/csv")


async def _upload(request: Request) -> Response:
    async with request.form() as form:
        file: Any = form["file"]
        return PlainTextResponse(str(file.size))


async def _events(request: Request) -> Response:
    async def source() -> AsyncIterator[str]:
        while True:
            yield f"data: {answers.event_text()}\n\n"
            await asyncio.sleep(answers.EVENT_INTERVAL)

    return StreamingResponse(source(), media_type="text/event-stream")


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    if threads := os.environ.get("BENCH_THREADS"):
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = int(threads)
    place = os.environ.get("BENCH_DATABASE", "")
    if not place.startswith("postgres"):
        yield {}
        return
    from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415

    kwargs = {"autocommit": True}
    async with AsyncConnectionPool(
        place, min_size=4, max_size=32, kwargs=kwargs
    ) as pool:
        yield {"pool": pool}


application = Starlette(
    lifespan=_lifespan,
    routes=[
        Route("/hello/sync", _hello),
        Route("/hello/async", _ahello),
        Route("/json/sync", _json),
        Route("/json/async", _ajson),
        Route("/queries/{count:int}/async", _queries),
        Route("/wait/sync", _wait),
        Route("/wait/async", _await),
        Route("/big/sync", _big),
        Route("/big/async", _abig),
        Route("/file/sync", _file),
        Route("/csv/sync", _csv),
        Route("/csv/async", _acsv),
        Route("/upload/sync", _upload, methods=["POST"]),
        Route("/events/async", _events),
    ],
)
