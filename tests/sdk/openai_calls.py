"""Calls the gateway through OpenAI's official Python SDK and prints one JSON line of facts.

Usage: openai_calls.py chat|stream|stream-with-usage|list-files [TIMES]

GATEWAY, TENANT and API_KEY say where and as whom; MAX_RETRIES replaces the SDK's own number. The
call is repeated until it was made TIMES times or the SDK raised. It never judges: the tests do.
"""

import json
import os
import sys

import openai

# No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
TIMEOUT_SECONDS = 30
MESSAGES = [{"role": "user", "content": "Hello from the Python SDK"}]


def usage_facts(usage):
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return usage and {name: getattr(usage, name) for name in names}


def chat(client):
    answer = client.chat.completions.create(model="demo-1", messages=MESSAGES)
    choice = answer.choices[0]
    return {
        "text": choice.message.content,
        "finish_reason": choice.finish_reason,
        "usage": usage_facts(answer.usage),
        "request_id": answer._request_id,
    }


def stream(client, **options):
    chunks = list(
        client.chat.completions.create(
            model="demo-1", messages=MESSAGES, stream=True, **options
        )
    )
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    pieces = [choice.delta.content for choice in choices if choice.delta.content]
    return {
        "text": "".join(pieces),
        "pieces": len(pieces),
        "finish_reason": choices[-1].finish_reason,
        "chunks_without_choices": len(chunks) - len(choices),
        "chunks_with_usage": sum(chunk.usage is not None for chunk in chunks),
        "usage": usage_facts(chunks[-1].usage),
    }


def stream_with_usage(client):
    return stream(client, stream_options={"include_usage": True})


def list_files(client):
    return {"files": len(client.files.list().data)}


CALLS = {
    "chat": chat,
    "stream": stream,
    "stream-with-usage": stream_with_usage,
    "list-files": list_files,
}


def refusal_facts(error):
    return {
        "raised": type(error).__name__,
        "status": error.status_code,
        "body": error.body,
        "type": error.type,
        "code": error.code,
        "request_id": error.request_id,
        "retry_after": error.response.headers.get("retry-after"),
    }


def main():
    call = CALLS[sys.argv[1]]
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    attempts = []
    client = openai.OpenAI(
        base_url=f"{os.environ['GATEWAY']}/{os.environ['TENANT']}/v1",
        api_key=os.environ["API_KEY"],
        max_retries=int(os.environ.get("MAX_RETRIES", openai.DEFAULT_MAX_RETRIES)),
        timeout=TIMEOUT_SECONDS,
        # The SDK retries behind its caller's back; here every request it sends leaves a mark.
        http_client=openai.DefaultHttpxClient(event_hooks={"request": [attempts.append]}),
    )
    answers, refusal = [], None
    while len(answers) < times and refusal is None:
        attempts.clear()
        try:
            answers.append({**call(client), "attempts": len(attempts)})
        except openai.APIStatusError as error:
            refusal = {**refusal_facts(error), "attempts": len(attempts)}
    print(json.dumps({"answers": answers, "refusal": refusal}))


main()
