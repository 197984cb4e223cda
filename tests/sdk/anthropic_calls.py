"""Calls the gateway through Anthropic's official Python SDK and prints one JSON line of facts.

Usage: anthropic_calls.py CALL [TIMES], where CALL is a name in CALLS

BASE_URL and API_KEY say where and as whom, MODEL what to ask for; MAX_RETRIES replaces the SDK's own
number. The call is repeated until it was made TIMES times or the SDK raised. It never judges: the
tests do.
"""

import json
import os
import sys

import anthropic

# No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
TIMEOUT_SECONDS = 30
PROMPT = {
    "model": os.environ["MODEL"],
    "messages": [{"role": "user", "content": "Hello from the Python SDK"}],
}
ASKED = {**PROMPT, "max_tokens": 100}

# What a stream has brought, also where it ends in an exception.
heard = []

IMAGE_DATA = {"type": "base64", "media_type": "image/png", "data": "aW1hZ2U="}
IMAGE_URL = {"type": "url", "url": "https://images.example/cat.png"}


def message_facts(message):
    return {
        "text": message.content[0].text,
        "stop_reason": message.stop_reason,
        "input_tokens": message.usage.input_tokens,
        "output_tokens": message.usage.output_tokens,
    }


def message(client, **options):
    answer = client.messages.create(**{**ASKED, **options})
    return {**message_facts(answer), "request_id": answer._request_id}


def looking(client, source):
    """A message about an image."""
    text = {"type": "text", "text": PROMPT["messages"][0]["content"]}
    content = [text, {"type": "image", "source": source}]
    return message(client, messages=[{"role": "user", "content": content}])


def beta(client):
    return message_facts(client.beta.messages.create(**ASKED, betas=["first-beta", "second-beta"]))


def stream(client):
    last = None
    for event in client.messages.create(**ASKED, stream=True):
        last = event
        if event.type == "content_block_delta":
            heard.append(event.delta.text)
    return {"text": "".join(heard), "last": last.type}


def stream_helper(client):
    with client.messages.stream(**ASKED) as events:
        for text in events.text_stream:
            heard.append(text)
        return {**message_facts(events.get_final_message()), "text": "".join(heard)}


def count_tokens(client):
    return {"input_tokens": client.messages.count_tokens(**PROMPT).input_tokens}


CALLS = {
    "message": message,
    "bad-message": lambda client: message(client, max_tokens=-1),
    "looking-at-data": lambda client: looking(client, IMAGE_DATA),
    "looking-at-url": lambda client: looking(client, IMAGE_URL),
    "beta": beta,
    "stream": stream,
    "stream-helper": stream_helper,
    "count-tokens": count_tokens,
    "list-batches": lambda client: {"batches": len(client.messages.batches.list().data)},
}


def refusal_facts(error):
    return {
        "raised": type(error).__name__,
        "status": error.status_code,
        "body": error.body,
        "type": error.type,
        "request_id": error.request_id,
        "retry_after": error.response.headers.get("retry-after"),
        "heard": "".join(heard),
    }


def main():
    call = CALLS[sys.argv[1]]
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    attempts = []
    client = anthropic.Anthropic(
        base_url=os.environ["BASE_URL"],
        api_key=os.environ["API_KEY"],
        max_retries=int(os.environ.get("MAX_RETRIES", anthropic.DEFAULT_MAX_RETRIES)),
        timeout=TIMEOUT_SECONDS,
        # The SDK retries behind its caller's back; here every request it sends leaves a mark.
        http_client=anthropic.DefaultHttpxClient(event_hooks={"request": [attempts.append]}),
    )
    answers, refusal = [], None
    while len(answers) < times and refusal is None:
        attempts.clear()
        heard.clear()
        try:
            answers.append({**call(client), "attempts": len(attempts)})
        except anthropic.APIStatusError as error:
            refusal = {**refusal_facts(error), "attempts": len(attempts)}
    print(json.dumps({"answers": answers, "refusal": refusal}))


main()
