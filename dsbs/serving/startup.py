"""Starting and ending an ASGI app: what fails then is a message of the command, no traceback of the server."""

import asyncio
import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dsbs.core.errors import DsbsError


class Startup:
    """An ASGI app that keeps why it could not start.

    Attributes:
        failure: what its start raised, if it is for the user; else None.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.failure: DsbsError | OSError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app; the server gets no traceback of a failed start or a second Ctrl-C, which it would log."""

        async def keep(message: Message) -> None:
            error = sys.exc_info()[1]  # sent where it is handled
            if message["type"] == "lifespan.startup.failed" and isinstance(error, DsbsError | OSError):
                self.failure = error
            cut_off = message["type"] == "lifespan.shutdown.failed" and isinstance(error, asyncio.CancelledError)
            await send({**message, "message": ""} if self.failure or cut_off else message)

        await self.app(scope, receive, keep if scope["type"] == "lifespan" else send)
