"""The web application: what is asked of a model, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from triptych import __version__
from triptych.commands.serving.bodies import Inbox
from triptych.commands.serving.guard import HEADERS, refuse
from triptych.commands.serving.uploads import BODY, Upload, find_reader
from triptych.errors import DataError
from triptych.panels.prediction import Caution, predict_files

if TYPE_CHECKING:
    from triptych.tracking.registry.loading import LoadedVersion

PAGE = Path(__file__).parent / "page"
REFUSALS = (400, 403, 408, 413, 415, 421, 422, 503)
# Requests whose images are in memory; others wait, after they have arrived. One after the other is predicted.
AT_A_TIME = 4


@dataclass(frozen=True)
class Served:
    """A version of a registered model that answers.

    Attributes:
        name: of the model.
        version: its number.
        loaded: the panel.
        caution: when it gives no answer.
    """

    name: str
    version: str
    loaded: LoadedVersion
    caution: Caution | None = None


class Source(Protocol):
    """Where the served version is found."""

    current: Served
    problem: str


class Guess(BaseModel):
    """A class, and how probable it is."""

    name: str = Field(alias="class")
    probability: float


class Prediction(BaseModel):
    """What the model says about an image.

    Attributes:
        image: the name of its file, or its place in the JSON.
        classes: the most probable ones, best first.
        answer: the best class, "not sure" or "foreign", where the server has --error-at-most.
    """

    image: str
    classes: list[Guess]
    answer: str | None = None


class Answer(BaseModel):
    """The predictions of the images of a request, in their order."""

    model: str
    version: str
    predictions: list[Prediction]


class Refusal(BaseModel):
    """What is wrong with a request."""

    detail: str | list[Any]


class Health(BaseModel):
    """Which version answers.

    Attributes:
        registry_answers: whether the last look for a newer version succeeded.
    """

    model: str
    version: str
    registry_answers: bool


def build_app(source: Source, names: Collection[str] = ()) -> FastAPI:
    """Return the application.

    Args:
        source: has the served version.
        names: of this server, besides its addresses.
    """
    # The pages of FastAPI's documentation load scripts from elsewhere.
    app = FastAPI(title="triptych serve", version=__version__, docs_url=None, redoc_url=None)
    inbox, turns, worker = Inbox(), asyncio.Semaphore(AT_A_TIME), ThreadPoolExecutor(max_workers=1)

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = refuse(request, names) or await answer(request)
        response.headers.update(HEADERS)
        return response

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> Health:
        served = source.current
        return Health(model=served.name, version=served.version, registry_answers=not source.problem)

    refusals: dict[int | str, dict[str, Any]] = {status: {"model": Refusal} for status in REFUSALS}

    @app.post("/predict", openapi_extra=BODY, response_model_exclude_none=True, responses=refusals)
    async def predict(request: Request, top: Annotated[int, Query(ge=1, le=100_000)] = 5) -> Answer:
        read = find_reader(request)
        async with inbox.receive(request) as received, turns:
            uploads = await read(received)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(worker, predict_uploads, source.current, uploads, top)

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def predict_uploads(served: Served, uploads: Sequence[Upload], top: int) -> Answer:
    """Return what a model says about images, exactly what `triptych predict` says about their files.

    Raises:
        HTTPException: status 422; an image cannot be read, or is of a size that the model does not take.
    """
    loaded = served.loaded
    with TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(uploads))]
        for file, upload in zip(files, uploads, strict=True):
            file.write_bytes(upload.content)
        try:
            rows, unreadable = predict_files(
                loaded.network, loaded.classes, files, top, loaded.white_level, served.caution
            )
        except DataError as error:
            raise HTTPException(422, str(error)) from error
    if unreadable:
        names = {file: upload.name for file, upload in zip(files, uploads, strict=True)}
        lines = [f"{names[error.file]} cannot be read ({error.reason}): {error.remedy}" for error in unreadable]
        raise HTTPException(422, "; ".join(lines))
    named: list[dict[str, Any]] = [{**row, "image": one.name} for row, one in zip(rows, uploads, strict=True)]
    return Answer.model_validate({"model": served.name, "version": served.version, "predictions": named})
