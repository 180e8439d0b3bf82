"""A stand-in of W&B on loopback: as much of its GraphQL as publishing a dashboard asks for, and what was asked."""

import base64
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENTITY = "my-team"
USER = {"id": "VXNlcjox", "name": "me", "username": "me", "email": "me@example.org"}
DATE = "2026-01-01T00:00:00"


class WandbServer:
    """What the stand-in knows and was asked.

    Attributes:
        url: for ``WANDB_BASE_URL``.
        runs: W&B id -> the summary of a run.
        views: id -> a saved workspace or report.
        asked: names of queries and mutations.
        keys: what came as credentials.
        refusal: what is answered in the place of a saved view, or None.
    """

    def __init__(self) -> None:
        self.url = ""
        self.runs: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.tokens: list[str] = []
        self.asked: list[str] = []
        self.keys: set[str] = set()
        self.refusal: str | None = None

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data, or the errors, that a request is answered with."""
        named = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = named[1] if named else ""
        self.asked.append(name)
        if self.refusal and "upsertView" in query:
            return {"errors": [{"message": self.refusal}], "data": None}
        return {"data": self.data(name, query, variables)}

    def data(self, name: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data for a request."""
        project = {"id": "UHJvamVjdDox", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ==", "name": "", "entityName": ENTITY}
        if "upsertView" in query:
            return {"upsertView": {"view": self.save(variables) | {"project": project}, "inserted": True}}
        if "createAccessToken" in query:
            self.tokens.append(f"token-{len(self.tokens)}")
            return {"createAccessToken": {"accessToken": {"token": self.tokens[-1], "type": "PUBLIC"}}}
        if name == "ViewAccessTokens":
            return {"view": {"accessTokens": []}}
        if name == "ProjectInternalId":
            return {"project": project}
        if name == "View":
            found = [{"node": view} for view in self.views.values() if view["name"] == variables["viewName"]]
            return {"project": {"allViews": {"edges": found}}}
        if name == "Runs":
            return {"project": {"internalId": "1", "runCount": 1, "readOnly": False, "runs": self.find(variables)}}
        if name == "GetProjects":
            node = {
                "id": "1",
                "name": "mine",
                "entityName": ENTITY,
                "createdAt": DATE,
                "isBenchmark": False,
                "user": None,
            }
            return {"models": _connection([node])}
        viewer = USER | {"entity": ENTITY, "flags": "{}", "admin": False, "apiKeys": _connection([]), "userInfo": {}}
        return {"viewer": viewer | {"teams": _connection([]), "deletedAt": None, "photoUrl": None}, "serverInfo": None}

    def save(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Keep a view; one with an id replaces another."""
        id = variables.get("id") or base64.b64encode(f"View:{100 + len(self.views)}".encode()).decode()
        keys = ("name", "displayName", "description", "type", "spec", "entityName", "projectName")
        self.views[id] = {"id": id, "updatedAt": None} | {key: variables.get(key) for key in keys}
        return self.views[id]

    def find(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return those of the runs that are asked for."""
        wanted = json.loads(variables["filters"])["name"]["$in"]
        empty = dict.fromkeys(("sweepName", "group", "jobType", "commit", "historyKeys"))
        return _connection(
            [
                empty
                | {"id": id, "name": id, "displayName": id, "tags": [], "state": "finished", "readOnly": False}
                | {"createdAt": DATE, "heartbeatAt": DATE, "description": "", "notes": "", "historyLineCount": 1}
                | {"config": "{}", "summaryMetrics": json.dumps(summary), "systemMetrics": "{}", "user": USER}
                | {"project": {"name": ""}, "projectId": "1", "internalId": "1"}
                for id, summary in self.runs.items()
                if id in wanted
            ]
        )


def _connection(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "edges": [{"node": node, "cursor": "end"} for node in nodes],
        "pageInfo": {"endCursor": "end", "hasNextPage": False},
    }


@contextmanager
def serving() -> Iterator[WandbServer]:
    """Serve the stand-in on a free port of this machine."""
    stand_in = WandbServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer: dict[str, Any] = {}
            if self.path == "/graphql":
                sent = json.loads(body)
                stand_in.keys.add(self.headers.get("Authorization", ""))
                answer = stand_in.answer(sent["query"], sent.get("variables") or {})
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
