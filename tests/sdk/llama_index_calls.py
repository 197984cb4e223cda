"""Calls the gateway through LlamaIndex and prints one JSON line: a list of facts, one for each call.

Each of its clients asks plainly, streamed, and with a tool. BASE_URL (without the v1) and API_KEY say
where and as whom, PLAIN and TOOL what is asked. It never judges: the tests do.
"""

import json
import os

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike

PLAIN, TOOL = os.environ["PLAIN"], os.environ["TOOL"]
PLACE = {
    "api_base": os.environ["BASE_URL"] + "/v1",
    "api_key": os.environ["API_KEY"],
    "timeout": 30,
    "max_retries": 0,
}

CLIENTS = {
    "chat": OpenAI(model="gpt-4o", **PLACE),
    "responses": OpenAIResponses(model="gpt-4o", **PLACE),
    "like": OpenAILike(
        model="our-model", is_chat_model=True, is_function_calling_model=True, **PLACE
    ),
}


def weather(city: str) -> str:
    """The weather in a city"""
    return f"Sunny in {city}"


weather_tool = FunctionTool.from_defaults(weather)


def used(*answers):
    """All tokens of some answers; None where one does not say."""
    usages = [getattr(answer.raw, "usage", None) for answer in answers]
    return sum(usage.total_tokens for usage in usages) if all(usages) else None


def plain(client):
    answer = client.chat([ChatMessage(role="user", content=PLAIN)])
    return {"text": answer.message.content, "used": used(answer)}


def stream(client):
    pieces = list(client.stream_chat([ChatMessage(role="user", content=PLAIN)]))
    return {
        "text": pieces[-1].message.content,
        "used": used(pieces[-1]),
        "pieces": sum(bool(piece.delta) for piece in pieces),
    }


def with_tool(client):
    messages = [ChatMessage(role="user", content=TOOL)]
    first = client.chat_with_tools([weather_tool], chat_history=messages)
    results = []
    messages.append(first.message)
    for call in client.get_tool_calls_from_response(first):
        results.append(weather(**call.tool_kwargs))
        messages.append(
            ChatMessage(
                role="tool",
                content=results[-1],
                additional_kwargs={"tool_call_id": call.tool_id},
            )
        )
    last = client.chat_with_tools([weather_tool], chat_history=messages)
    return {"text": last.message.content, "used": used(first, last), "results": results}


calls = {"plain": plain, "stream": stream, "tool": with_tool}
print(
    json.dumps(
        [
            {"client": client_name, "call": name, **call(client)}
            for client_name, client in CLIENTS.items()
            for name, call in calls.items()
        ]
    )
)
