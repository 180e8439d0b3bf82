"""An endpoint's own words in its errors, without the API key: where they stand, what they mean, which setting helps."""

import re
from typing import Any

from dsbs.core.untrusted import Fields, excerpt, load_json
from dsbs.teachers.endpoint.address import NO_KEY

EXCERPT = 200
# Characters of an endpoint's words that are looked at: gateways put their own before those of the server.
MAX_SAID = 2000
# Shorter keys, such as ``none``, are no secrets.
SECRET = 12
_MAX_DEPTH = 3
_TITLE = re.compile(r"<title[^>]*>([^<]{1,300})", re.I)
_TAGS = re.compile(r"<(?:style|script).{0,5000}?</(?:style|script)>|<[^<>]{0,300}>", re.I | re.S)
# Codes and types of errors that end the money.
NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "budget_exceeded",
            "exceeded_current_quota_error", "Arrearage"}  # fmt: skip
CONTEXT = (
    r"(?:maximum|max)\s?(?:context|model\slength|length)|context.{0,3}(?:length|size|window|limit)|n_ctx"
    r"|too many.{0,9}tokens"
    r"|(?:prompt|input|string|request)s?\W{0,3}(?:is |are )?too (?:long|large)|reduce the length|longer than the max"
    r"|exceed.{0,40}(?:context|allowed token|model limit)|tokens? limit exceeded|length exceeds?\b"
    r"|inputs?.{0,20}(?:tokens?|length).{0,20}exceed|greater than max_seq_len"
    r"|max_tokens must be at least 1, got -|range of input length|.inputs. (?:must have less than|tokens \+)"
)
# More than the tokens of a whole minute: no wait helps.
TOO_LARGE = r"request too large.{0,200}tokens per min"
# The server, not the prompt: the same request may pass a little later.
BUSY = re.compile(r"too many requests|please wait|throttl|rate.?limit|try again later", re.I)
# The first that fits.
HINTS = (
    (r"v1/responses", "dsbs does not speak that API: use another model or endpoint."),
    (r"chat.?template", "This model has none: teacher.api=completions sends plain text."),
    (r"not a chat model|not support chat|use v1/completions", "teacher.api=completions sends plain text."),
    (r"reasoning.?effort", "'+teacher.extra.reasoning_effort=low' sets it."),
    (r"enable_thinking", "'+teacher.extra.enable_thinking=false' sets it."),
    (r"api.version", "Azure's compatible API needs none: teacher.base_url=https://RESOURCE.openai.azure.com/openai/v1."),
    (r"\bstream", "dsbs does not stream answers: use another model or endpoint."),
    (TOO_LARGE, "One prompt exceeds what the account may send in a minute: use fewer prompt.exemplars, shorter inputs "
                "or a lower teacher.max_tokens."),
    (r"['\"`]stop['\"`].{0,20}(?:too long|too many|at most)|(?:up to|at most|more than) \d+ stop|too many stop",
     "Fewer stop sequences: teacher.stop=[...]"),
    (CONTEXT, "The prompt exceeds the model's context: use fewer prompt.exemplars, shorter inputs or a lower "
              "teacher.max_tokens."),
    (r"higher max_(?:completion_|output_)?tokens|output limit was reached|max_\w{0,12}tokens.{0,40}must be greater",
     "Raise teacher.max_tokens: the model thinks before it answers."),
    (r"max_\w{0,12}tokens.{0,40}(?:minimum|>= ?\d)", "Raise teacher.max_tokens."),
    (r"just a moment|attention required|cloudflare|^error code: 10\d\d",
     "A firewall in front of the endpoint blocks requests from here: ask whoever runs it, or use another network."),
    (r"max_(?:completion_|output_)?tokens|maximum.{0,20}(?:output|tokens)",
     "Set teacher.max_tokens to what the model can write."),
    (r"system.?(?:role|message|prompt|instruction)|['\"`]system['\"`]|(?:got|role) system\b|developer instruction",
     "prompt.system_role=false puts the instruction into the first question."),
    (r"alternat(?:e|es|ing)\b",
     "This model requires alternating turns: prompt.system_role=false, or no prompt.exemplars."),
    (r"response_(?:format|schema)|json_|json mode|schema.{0,60}(?:states|complex)|(?:generate|validate) json|word .json"
     r"|structured|grammar|guided",
     "prompt.answer_format=text asks for plain text."),
    (r"support the requested parameters",
     "Is it teacher.top_logprobs, prompt.answer_format or a field of teacher.extra?"),
    (r"logprobs", "teacher.top_logprobs=null asks for none; some endpoints give fewer than OpenAI."),
    (r"temperature", "teacher.temperature=null leaves it to the endpoint."),
    (r"top_p", "teacher.top_p=null leaves it to the endpoint."),
    (r"\bstop\b|stop_sequences", "teacher.stop=[] leaves it out."),
    (r"unrecogni[sz]ed|unknown (?:field|param|name)|extra (?:inputs|fields)|not permitted|unsupported param"
     r"|additional propert|not support param|['\"`] is not supported|(?:param|field|argument).{0,40} is not supported",
     "Is it a field of teacher.extra?"),
)  # fmt: skip
TOO_LONG = re.compile(CONTEXT, re.I)  # no second attempt can help
FILTERED = re.compile(
    r"content.{0,20}(?:polic|filter|risk|moderat)|was moderated|flagged|safety system|responsible ai"
    r"|inappropriate content|high risk|敏感",
    re.I,
)
NO_CREDIT = re.compile(
    r"credit balance|insufficient.{0,12}(?:balance|credit|funds|quota)|(?:out of|no|more) credits?\b|arrears|overdue"
    r"|balance.{0,12}insufficient|n't have any credits|budget has been exceeded|key limit exceeded|payment required"
    r"|reach(?:ing|ed) (?:the|its|your).{0,20}(?:spending|specified.{0,20}usage) limit|all available credits|余额不足"
    r"|quota.{0,300}\blimit: 0\b",
    re.I,
)
BAD_KEY = re.compile(
    r"(?:invalid|incorrect|missing|no|wrong|expired)\b.{0,20}\bapi.?key|virtual key expected"
    r"|api.?key.{0,20}(?:not valid|invalid|missing|required|expired|leaked)"
    r"|(?:invalid|expired) (?:access|security|session|bearer|auth\w*) token"
    r"|(?:access|security|session|bearer|auth\w*) token\b.{0,40}(?:expired|invalid|missing)",
    re.I,
)
# A router that knows the model, but has nobody to ask under the account's or the request's conditions.
NO_PROVIDER = re.compile(r"no (?:endpoints found (?:that|matching)|allowed providers)", re.I)
NO_MODEL = re.compile(
    r"model\b.{0,80}(?:does not exist|not exist|not found|not a valid|not loaded)|(?:invalid|unknown|no such) model"
    r"|not a valid model|no models?.{0,15} loaded|no healthy deployments"
    r"|model\b.{0,80}(?:decommissioned|identifier is invalid|not supported by any provider)"
    r"|provider not provided|on-demand throughput|access to (?:the |this )?model|verified to use the model",
    re.I,
)


def read_error(content: bytes, key: str) -> tuple[str, str]:
    """Return message and code of an error's body; the API key is masked."""
    try:
        body = load_json(content)
    except ValueError:
        body = content
    return read_parsed_error(body, key)


def read_parsed_error(body: Any, key: str) -> tuple[str, str]:
    """Return message and code of an error's body as parsed from JSON; see ``read_error``."""
    if isinstance(body, list) and len(body) == 1:  # as Gemini's compatible layer answers
        (body,) = body
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict) and isinstance(errors := inner.get("errors"), list) and errors:  # as Cloudflare answers
        inner = errors[0]
    fields = Fields(inner)
    explanation = read_words(fields) or inner
    if isinstance(explanation, bytes) and explanation.lstrip().startswith(b"<"):
        explanation = plain_text(explanation)
    kinds = [kind for name in ("code", "type") if (kind := fields.text(name))]
    code = next((kind for kind in kinds if kind in NO_MONEY), kinds[0] if kinds else "")
    return scrub(explanation or "no explanation", key, MAX_SAID), code


def read_words(fields: Fields, depth: int = 0) -> Any:
    """Return the message in an error object, under the names that servers give it; of a list the first places.

    Behind what OpenRouter itself says stands what the provider said.
    """
    explanation = next(
        filter(None, map(fields.raw, ("message", "Message", "detail", "msg", "error_msg", "status_msg"))), None
    )
    if isinstance(explanation, dict) and depth < _MAX_DEPTH:
        return read_words(Fields(explanation), depth + 1) or explanation
    if isinstance(explanation, str) and isinstance(more := fields.inside("metadata").raw("raw"), str):
        return f"{explanation}: {more}"
    if not isinstance(explanation, list) or not all(isinstance(one, dict) and "msg" in one for one in explanation):
        return explanation
    places = [(one.get("loc"), one["msg"]) for one in explanation[:3]]
    return "; ".join(f"{'.'.join(map(str, loc)) if isinstance(loc, list) else loc}: {msg}" for loc, msg in places)


def plain_text(page: bytes) -> str:
    """Return the title of a web page, or else its text."""
    text = page[: 2**16].decode(errors="replace")
    title = _TITLE.search(text)
    return title[1].strip() if title and title[1].strip() else " ".join(_TAGS.sub(" ", text).split())


def scrub(explanation: Any, key: str, limit: int = EXCERPT) -> str:
    """Return an endpoint's words for a message: on one line, at most ``limit`` characters, with the API key masked.

    The key is masked before the text is shortened, so that not even a part of it is left.
    """
    text = excerpt(explanation, 8 * limit)
    return (text.replace(key, "***") if key and key != NO_KEY else text)[:limit]


def hide(text: str | None, key: str) -> str | None:
    """Return a teacher's text with the API key masked; short keys such as ``none`` or ``EMPTY`` stay."""
    return text.replace(key, "***") if text and len(key) >= SECRET else text


def hint(explanation: str) -> str:
    """Return the setting that helps against an endpoint's message, as a sentence to append; empty where none does.

    >>> hint("Unsupported value: 'temperature' does not support 0.0 with this model.")
    ' teacher.temperature=null leaves it to the endpoint.'
    """
    advice = next((advice for pattern, advice in HINTS if re.search(pattern, explanation, re.I)), "")
    return f"{'' if explanation.endswith(('.', '!', '?')) else '.'} {advice}" if advice else ""
