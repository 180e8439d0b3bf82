"""The OpenAPI schema of the server."""

from typing import Any

from dsbs import __version__

_TEXT = {"type": "string", "minLength": 1}
_CHOICES = {"type": "array", "items": _TEXT, "minItems": 2}
_ROW = {
    "oneOf": [
        _TEXT,
        {
            "type": "object",
            "description": "the columns used in training, or input",
            "properties": {"input": _TEXT, "choices": _CHOICES},
        },
    ]
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {}}}
_ANSWER = {
    "type": "object",
    "required": ["label", "confidence", "source"],
    "properties": {
        "label": {"type": ["string", "null"]},
        "confidence": {"type": ["number", "null"]},
        "source": {"enum": ["student", "teacher"]},
        "note": {"type": "string"},
        "truncated": {"type": "boolean", "description": "the student read only the beginning of the input"},
        "rationale": {"type": ["string", "null"]},
        "scores": {"type": ["object", "null"], "additionalProperties": {"type": ["number", "null"]}},
        "student": {"type": "object"},
        "teacher": {"type": "object"},
    },
}
_FLAGS = {name: {"type": ["boolean", "null"]} for name in ("rationale", "scores")}
_TEACHER = {"teacher": {"type": ["boolean", "null"]}}
_PREDICT = {
    "oneOf": [
        {
            "type": "object",
            "required": ["input"],
            "not": {"required": ["inputs"]},
            "properties": {"input": _ROW, "choices": _CHOICES} | _FLAGS | _TEACHER,
        },
        {
            "type": "object",
            "required": ["inputs"],
            "not": {"required": ["input"]},
            "properties": {"inputs": {"type": "array", "items": _ROW, "minItems": 1, "maxItems": 256}} | _FLAGS,
        },
    ]
}
_CHAT = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {"role": {"type": "string"}, "content": {}},
            },
        },
        "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 16},
        "stream": {"type": ["boolean", "null"]},
    },
}


def _answers(good: dict[str, Any], *codes: int) -> dict[str, Any]:
    bad = {"description": "why not", "content": {"application/json": {"schema": _ERROR}}}
    return {"200": {"description": "the answer", "content": good}} | {str(code): bad for code in codes}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _post(body: dict[str, Any], good: dict[str, Any]) -> dict[str, Any]:
    request = {"required": True, "content": _json(body)}
    return {"post": {"requestBody": request, "responses": _answers(good, 400, 401, 413, 503)}}


SCHEMA: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "dsbs", "version": __version__},
    "paths": {
        "/predict": _post(
            _PREDICT,
            _json(
                {
                    "anyOf": [
                        _ANSWER,
                        {"type": "object", "properties": {"predictions": {"type": "array", "items": _ANSWER}}},
                    ]
                }
            ),
        ),
        "/v1/chat/completions": _post(_CHAT, _json({"type": "object"}) | {"text/event-stream": {"schema": {}}}),
        "/v1/models": {"get": {"responses": _answers(_json({"type": "object"}), 401)}},
        "/healthz": {"get": {"responses": _answers(_json({"type": "object"}))}},
        "/readyz": {"get": {"responses": _answers(_json({"type": "object"}), 503)}},
        "/metrics": {"get": {"responses": _answers({"text/plain": {"schema": {"type": "string"}}}, 401)}},
    },
}
