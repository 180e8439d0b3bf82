"""Clients of others work unchanged against the server."""

import pytest
from serving_client import Scripted, build, serve_in_thread

openai = pytest.importorskip("openai")
KEY = "sk-planted-0123456789abcdef"
CARD = "4111-1111-1111-1111"


def test_the_official_client_of_openai(caplog: pytest.LogCaptureFixture) -> None:
    with (
        serve_in_thread(build(Scripted(), token=KEY)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client,
    ):
        messages = [{"role": "system", "content": "Classify."}, {"role": "user", "content": f"It leaks. {CARD}"}]
        said = client.chat.completions.create(model="any", messages=messages, temperature=0, n=2)
        assert [choice.message.content for choice in said.choices] == ["refund", "refund"]
        assert said.choices[0].finish_reason == "stop"
        assert said.usage is not None
        assert said.usage.total_tokens > 0
        parts = client.chat.completions.create(
            model="any", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(parts)
        assert "".join(part.choices[0].delta.content or "" for part in chunks if part.choices) == "refund"
        assert chunks[-1].usage is not None
        assert [model.id for model in client.models.list()] == ["triage-test"]
        with pytest.raises(openai.BadRequestError, match="expected a whole number"):
            client.chat.completions.create(model="any", messages=messages, n=17)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").models.list()
    assert KEY not in caplog.text
    assert CARD not in caplog.text
