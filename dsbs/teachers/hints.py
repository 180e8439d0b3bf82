"""What an endpoint's own words mean, and the setting that helps."""

import re

CONTEXT = (
    r"(?:maximum|max)\s?(?:context|model\slength|length)|context.{0,3}(?:length|size|window|limit)|n_ctx"
    r"|too many.{0,9}tokens"
    r"|(?:prompt|input|string|request)s?\W{0,3}(?:is |are )?too (?:long|large)|reduce the length|longer than the max"
    r"|exceed.{0,40}(?:context|allowed token|model limit)|tokens? limit exceeded|length exceeds?\b"
    r"|inputs?.{0,20}(?:tokens?|length).{0,20}exceed|greater than max_seq_len"
    r"|max_tokens must be at least 1, got -|range of input length|.inputs. (?:must have less than|tokens \+)"
)
# The server, not the prompt: the same request may pass a little later.
BUSY = re.compile(r"too many requests|please wait|throttl|rate.?limit|try again later", re.I)
# The first that fits.
HINTS = (
    (r"v1/responses", "dsbs does not speak that API: use another model or endpoint."),
    (r"chat.?template", "This model has none: teacher.api=completions sends plain text."),
    (r"not a chat model|not support chat|use v1/completions", "teacher.api=completions sends plain text."),
    (r"enable_thinking", "'+teacher.extra.enable_thinking=false' sets it."),
    (r"api.version", "Azure's compatible API needs none: teacher.base_url=https://RESOURCE.openai.azure.com/openai/v1."),
    (r"\bstream", "dsbs does not stream answers: use another model or endpoint."),
    (CONTEXT, "The prompt exceeds the model's context: use fewer prompt.exemplars, shorter inputs or a lower "
              "teacher.max_tokens."),
    (r"higher max_(?:completion_|output_)?tokens|output limit was reached",
     "Raise teacher.max_tokens: the model thinks before it answers."),
    (r"max_(?:completion_|output_)?tokens|maximum.{0,20}(?:output|tokens)",
     "Set teacher.max_tokens to what the model can write."),
    (r"system.?(?:role|message|prompt|instruction)|['\"`]system['\"`]|(?:got|role) system\b|developer instruction",
     "prompt.system_role=false puts the instruction into the first question."),
    (r"alternat(?:e|es|ing)\b",
     "This model requires alternating turns: prompt.system_role=false, or no prompt.exemplars."),
    (r"response_format|json_|json mode|(?:generate|validate) json|word .json|structured|grammar|guided",
     "prompt.answer_format=text asks for plain text."),
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
    r"|reaching the monthly spending limit|余额不足",
    re.I,
)
BAD_KEY = re.compile(
    r"(?:invalid|incorrect|missing|no|wrong|expired)\b.{0,20}\bapi.?key|virtual key expected"
    r"|api.?key.{0,20}(?:not valid|invalid|missing|required|expired|leaked)"
    r"|(?:invalid|expired) (?:access|security|session|bearer|auth\w*) token"
    r"|(?:access|security|session|bearer|auth\w*) token\b.{0,40}(?:expired|invalid|missing)",
    re.I,
)
NO_MODEL = re.compile(
    r"model\b.{0,80}(?:does not exist|not exist|not found|not a valid|not loaded)|(?:invalid|unknown|no such) model"
    r"|not a valid model|no models?.{0,15} loaded|no healthy deployments"
    r"|model\b.{0,80}(?:decommissioned|identifier is invalid|not supported by any provider)"
    r"|provider not provided|on-demand throughput|access to (?:the |this )?model|verified to use the model",
    re.I,
)


def hint(said: str) -> str:
    """Return the setting that helps against an endpoint's message, as a sentence to append; empty where none does.

    >>> hint("Unsupported value: 'temperature' does not support 0.0 with this model.")
    ' teacher.temperature=null leaves it to the endpoint.'
    """
    advice = next((advice for pattern, advice in HINTS if re.search(pattern, said, re.I)), "")
    return f"{'' if said.endswith(('.', '!', '?')) else '.'} {advice}" if advice else ""
