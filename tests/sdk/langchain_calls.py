"""Calls the gateway through LangChain and prints one JSON line: a list of facts, one for each call.

Each of its clients asks plainly, streamed, and with a tool. BASE_URL (without the v1) and API_KEY say
where and as whom, PLAIN and TOOL what is asked. It never judges: the tests do.
"""

import json
import os

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

URL, KEY = os.environ["BASE_URL"], os.environ["API_KEY"]
PLAIN, TOOL = os.environ["PLAIN"], os.environ["TOOL"]
BOUNDS = {"timeout": 30, "max_retries": 0}

CLIENTS = {
    "chat": ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model="gpt-4o", **BOUNDS),
    "responses": ChatOpenAI(
        base_url=f"{URL}/v1", api_key=KEY, model="gpt-4o", use_responses_api=True, **BOUNDS
    ),
    "messages": ChatAnthropic(base_url=URL, api_key=KEY, model="claude-sonnet-4-5", **BOUNDS),
}


@tool
def weather(city: str) -> str:
    """The weather in a city"""
    return f"Sunny in {city}"


def used(*answers):
    """All tokens of some answers; None where one does not say."""
    usages = [answer.usage_metadata for answer in answers]
    return sum(usage["total_tokens"] for usage in usages) if all(usages) else None


def plain(client):
    answer = client.invoke(PLAIN)
    return {"text": answer.text, "used": used(answer)}


def stream(client):
    whole, pieces = None, 0
    for chunk in client.stream(PLAIN):
        whole = chunk if whole is None else whole + chunk
        pieces += bool(chunk.text)
    return {"text": whole.text, "used": used(whole), "pieces": pieces}


def with_tool(client):
    client = client.bind_tools([weather])
    messages = [HumanMessage(TOOL)]
    first = client.invoke(messages)
    results = [weather.invoke(call) for call in first.tool_calls]
    last = client.invoke([*messages, first, *results])
    return {
        "text": last.text,
        "used": used(first, last),
        "results": [result.content for result in results],
    }


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
