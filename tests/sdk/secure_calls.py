"""Calls the gateway over TLS through the official Python SDKs, with HTTP/2 where the server agrees to it.

BASE_URL says where, without a version, API_KEY as whom, CA whom to trust. Prints one JSON line of facts and never
judges: the test does.
"""

import json
import os
import ssl

import anthropic
import openai

URL = os.environ["BASE_URL"]
KEY = os.environ["API_KEY"]
MESSAGES = [{"role": "user", "content": "Hello over TLS"}]
TRUST = ssl.create_default_context(cafile=os.environ["CA"])

protocols = []


def note(response):
    protocols.append(response.http_version)


def raised(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


def client(sdk):
    return sdk.DefaultHttpxClient(http2=True, verify=TRUST, event_hooks={"response": [note]})


def of_openai(key):
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, http_client=client(openai), max_retries=0)


def of_anthropic(key):
    return anthropic.Anthropic(base_url=URL, api_key=key, http_client=client(anthropic), max_retries=0)


def main():
    chat = of_openai(KEY)
    plain = chat.chat.completions.create(model="demo-1", messages=MESSAGES)
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in chat.chat.completions.create(model="demo-1", messages=MESSAGES, stream=True)
        if chunk.choices
    ]
    talk = of_anthropic(KEY)
    message = talk.messages.create(model="demo-1", max_tokens=100, messages=MESSAGES)
    with talk.messages.stream(model="demo-1", max_tokens=100, messages=MESSAGES) as stream:
        streamed = stream.get_final_message()
    stranger = of_openai("temp_unknown")
    other = of_anthropic("temp_unknown")
    ask = {"model": "demo-1", "messages": MESSAGES}
    facts = {
        "openai": plain.choices[0].message.content,
        "openai_streamed": "".join(pieces),
        "anthropic": message.content[0].text,
        "anthropic_streamed": streamed.content[0].text,
        "openai_raised": raised(lambda: stranger.chat.completions.create(**ask)),
        "anthropic_raised": raised(lambda: other.messages.create(max_tokens=9, **ask)),
        "protocols": sorted(set(protocols)),
    }
    print(json.dumps(facts))


main()
