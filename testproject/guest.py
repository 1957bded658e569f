"""A Starlette application that lives beside Django, mounted at /api.

It tells sunrise and sunset for a place, without the database: another framework,
its own routes, its own lifespan, in the same process and on the same port.
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

__all__ = ("app",)

_PLACES: Mapping[str, tuple[float, float]] = {  # degrees north, degrees east
    "cairngorms": (57.08, -3.67),
    "wadden-sea": (53.48, 6.13),
    "camargue": (43.52, 4.52),
}


def daylight(day: date, north: float, east: float) -> tuple[datetime, datetime]:
    """Return sunrise and sunset in UTC, right to some minutes below 65° north.

    The sunrise equation with the mean declination of the day of the year.
    """
    day_of_year = day.timetuple().tm_yday
    declination = -23.44 * math.cos(2 * math.pi * (day_of_year + 10) / 365.25)
    cosine = -math.tan(math.radians(north)) * math.tan(math.radians(declination))
    half_day = timedelta(hours=math.degrees(math.acos(cosine)) / 15)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    noon = midnight + timedelta(hours=12 - east / 15)
    return noon - half_day, noon + half_day


async def index(request: Request) -> JSONResponse:
    """List the places, and tell where this application is mounted."""
    return JSONResponse(
        {
            "framework": "Starlette",
            "mounted_at": request.scope.get("root_path", ""),
            "opened": request.app.state.opened,
            "places": {
                name: str(request.url_for("place", name=name)) for name in _PLACES
            },
        }
    )


async def place(request: Request) -> JSONResponse:
    """Tell today's daylight at one place."""
    name = request.path_params["name"]
    if name not in _PLACES:
        return JSONResponse({"error": f"No place {name!r} here."}, status_code=404)
    sunrise, sunset = daylight(datetime.now(UTC).date(), *_PLACES[name])
    return JSONResponse(
        {
            "place": name,
            "sunrise": sunrise.isoformat(timespec="minutes"),
            "sunset": sunset.isoformat(timespec="minutes"),
        }
    )


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Note when this application was opened: its lifespan runs with Django's."""
    app.state.opened = datetime.now(UTC).isoformat(timespec="seconds")
    yield


app = Starlette(
    routes=[
        Route("/", index),
        Route("/daylight/{name}", place, name="place"),
    ],
    lifespan=lifespan,
)
