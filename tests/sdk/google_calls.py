"""Calls the gateway through Google's official Python SDK and prints one JSON line of facts.

Usage: google_calls.py CALL [TIMES], where CALL is a name in CALLS

BASE_URL and API_KEY say where and as whom, MODEL what to ask for. The call is repeated until it was
made TIMES times or the SDK raised. It never judges: the tests do.
"""

import json
import os
import sys

from google import genai
from google.genai import errors, types

# No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
TIMEOUT_MILLIS = 30_000
MODEL = os.environ["MODEL"]
PROMPT = "Hello from the Python SDK"
PIXEL = bytes.fromhex("89504e470d0a1a0a")
WEATHER = types.FunctionDeclaration(
    name="weather",
    description="The weather of a city",
    parameters=types.Schema(
        type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]
    ),
)
# A loop of tools that has no end must not run for ever.
MOST_TURNS = 8

# What a stream has brought, also where it ends in an exception.
heard = []


def facts(answer):
    usage = answer.usage_metadata
    return {
        "text": answer.text,
        "finish_reason": answer.candidates[0].finish_reason.name,
        "id": answer.response_id,
        "total_tokens": usage and usage.total_token_count,
    }


def generate(client, **config):
    config = types.GenerateContentConfig(max_output_tokens=100, **config)
    return facts(client.models.generate_content(model=MODEL, contents=PROMPT, config=config))


def image(client):
    contents = [PROMPT, types.Part.from_bytes(data=PIXEL, mime_type="image/png")]
    return facts(client.models.generate_content(model=MODEL, contents=contents))


def stream(client):
    last = None
    for chunk in client.models.generate_content_stream(model=MODEL, contents=PROMPT):
        last = chunk
        heard.append(chunk.text or "")
    return {**facts(last), "text": "".join(heard)}


def tools(client):
    """Answers the calls of every turn until there is none, streamed."""
    contents = [types.Content(role="user", parts=[types.Part(text=PROMPT)])]
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[WEATHER])])
    turns, called = 0, []
    while turns < MOST_TURNS:
        turns += 1
        parts = []
        chunks = client.models.generate_content_stream(
            model=MODEL, contents=contents, config=config
        )
        for chunk in chunks:
            parts += chunk.candidates[0].content.parts or []
        calls = [part.function_call for part in parts if part.function_call]
        if not calls:
            return {"text": "".join(part.text or "" for part in parts), "turns": turns, "called": called}
        called += [{"name": call.name, "args": call.args} for call in calls]
        contents.append(types.Content(role="model", parts=parts))
        results = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"output": f"of {call.args['city']}"}
                )
            )
            for call in calls
        ]
        contents.append(types.Content(role="user", parts=results))
    return {"turns": turns}


CALLS = {
    "generate": generate,
    "bad-generate": lambda client: generate(client, top_k=-5, candidate_count=-1),
    "image": image,
    "stream": stream,
    "tools": tools,
    "count-tokens": lambda client: {
        "total_tokens": client.models.count_tokens(model=MODEL, contents=PROMPT).total_tokens
    },
    "models": lambda client: {"models": [model.name for model in client.models.list()]},
}


def refusal_facts(error):
    return {
        "raised": type(error).__name__,
        "status": error.code,
        "type": error.status,
        "message": error.message,
        "body": error.details,
        "heard": "".join(heard),
    }


def main():
    call = CALLS[sys.argv[1]]
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    attempts = []
    client = genai.Client(
        api_key=os.environ["API_KEY"],
        http_options=types.HttpOptions(
            base_url=os.environ["BASE_URL"],
            timeout=TIMEOUT_MILLIS,
            client_args={"event_hooks": {"request": [attempts.append]}},
        ),
    )
    answers, refusal = [], None
    while len(answers) < times and refusal is None:
        attempts.clear()
        heard.clear()
        try:
            answers.append({**call(client), "attempts": len(attempts)})
        except errors.APIError as error:
            refusal = {**refusal_facts(error), "attempts": len(attempts)}
    print(json.dumps({"answers": answers, "refusal": refusal}))


main()
