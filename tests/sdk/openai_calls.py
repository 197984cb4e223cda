"""Calls the gateway through OpenAI's official Python SDK and prints one JSON line of facts.

Usage: openai_calls.py CALL [TIMES], where CALL is a name in CALLS

BASE_URL and API_KEY say where and as whom, MODEL what to ask for; MAX_RETRIES replaces the SDK's own
number. The call is repeated until it was made TIMES times or the SDK raised. It never judges: the
tests do.
"""

import io
import json
import os
import sys
import wave

import openai

# No test waits this long; a gateway that does not answer must not hold one up for ten minutes.
TIMEOUT_SECONDS = 30
MODEL = os.environ["MODEL"]
PROMPT = "Hello from the Python SDK"
MESSAGES = [{"role": "user", "content": PROMPT}]

# What a stream has brought, also where it ends in an exception.
heard = []

IMAGE_DATA = "data:image/png;base64,aW1hZ2U="
IMAGE_URL = "https://images.example/cat.png"


def usage_facts(usage):
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return usage and {name: getattr(usage, name) for name in names}


def chat(client, **options):
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, **options)
    choice = answer.choices[0]
    return {
        "text": choice.message.content,
        "finish_reason": choice.finish_reason,
        "usage": usage_facts(answer.usage),
        "request_id": answer._request_id,
    }


def looking(client, url):
    """A chat about an image."""
    image = {"type": "image_url", "image_url": {"url": url}}
    content = [{"type": "text", "text": PROMPT}, image]
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": content}]
    )
    return {"text": answer.choices[0].message.content, "total_tokens": answer.usage.total_tokens}


def responses_looking(client, url):
    content = [
        {"type": "input_text", "text": PROMPT},
        {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    answer = client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])
    return {"text": answer.output_text, "total_tokens": answer.usage.total_tokens}


def stream(client, **options):
    chunks, choices = [], []
    for chunk in client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, **options
    ):
        chunks.append(chunk)
        choices += chunk.choices[:1]
        heard.extend(choice.delta.content for choice in chunk.choices[:1] if choice.delta.content)
    return {
        "text": "".join(heard),
        "pieces": len(heard),
        "finish_reason": choices[-1].finish_reason,
        "chunks_without_choices": len(chunks) - len(choices),
        "chunks_with_usage": sum(chunk.usage is not None for chunk in chunks),
        "usage": usage_facts(chunks[-1].usage),
    }


def stream_with_usage(client):
    return stream(client, stream_options={"include_usage": True})


def responses(client):
    answer = client.responses.create(model=MODEL, input=PROMPT)
    return {"text": answer.output_text, "total_tokens": answer.usage.total_tokens}


def responses_stream(client):
    last = None
    for event in client.responses.create(model=MODEL, input=PROMPT, stream=True):
        last = event
        if event.type == "response.output_text.delta":
            heard.append(event.delta)
    return {
        "text": "".join(heard),
        "last": last.type,
        "total_tokens": last.response.usage.total_tokens,
    }


def completions(client):
    answer = client.completions.create(model=MODEL, prompt=PROMPT)
    return {"text": answer.choices[0].text, "total_tokens": answer.usage.total_tokens}


def completions_stream(client):
    for chunk in client.completions.create(model=MODEL, prompt=PROMPT, stream=True):
        heard.append(chunk.choices[0].text)
    return {"text": "".join(heard)}


def embeddings(client):
    # The SDK itself asks for base64, and decodes it.
    answer = client.embeddings.create(model=MODEL, input=PROMPT)
    return {"vector": answer.data[0].embedding, "total_tokens": answer.usage.total_tokens}


def moderations(client):
    return {"flagged": client.moderations.create(model=MODEL, input=PROMPT).results[0].flagged}


def images(client):
    answer = client.images.generate(model=MODEL, prompt=PROMPT)
    return {"image": answer.data[0].b64_json, "total_tokens": answer.usage.total_tokens}


def recording():
    """A second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    return "silence.wav", file.getvalue(), "audio/wav"


def transcription(client):
    answer = client.audio.transcriptions.create(model=MODEL, file=recording())
    return {"text": answer.text, "total_tokens": answer.usage.total_tokens}


def transcription_text(client):
    text = client.audio.transcriptions.create(
        model=MODEL, file=recording(), response_format="text"
    )
    return {"text": text}


def speech(client):
    sound = client.audio.speech.create(model=MODEL, voice="alloy", input=PROMPT)
    return {"sound": list(sound.content)}


CALLS = {
    "chat": chat,
    "stream": stream,
    "stream-with-usage": stream_with_usage,
    "bad-chat": lambda client: chat(client, max_tokens=-1),
    "looking-at-data": lambda client: looking(client, IMAGE_DATA),
    "looking-at-url": lambda client: looking(client, IMAGE_URL),
    "responses-looking-at-data": lambda client: responses_looking(client, IMAGE_DATA),
    "responses-looking-at-url": lambda client: responses_looking(client, IMAGE_URL),
    "responses": responses,
    "responses-stream": responses_stream,
    "completions": completions,
    "completions-stream": completions_stream,
    "embeddings": embeddings,
    "moderations": moderations,
    "images": images,
    "transcription": transcription,
    "transcription-text": transcription_text,
    "speech": speech,
    "list-files": lambda client: {"files": len(client.files.list().data)},
}


def refusal_facts(error):
    # An error within a stream comes without an answer of its own.
    response = getattr(error, "response", None)
    return {
        "raised": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "body": error.body,
        "type": error.type,
        "code": error.code,
        "request_id": getattr(error, "request_id", None),
        "retry_after": response and response.headers.get("retry-after"),
        "heard": "".join(heard),
    }


def main():
    call = CALLS[sys.argv[1]]
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    attempts = []
    client = openai.OpenAI(
        base_url=os.environ["BASE_URL"],
        api_key=os.environ["API_KEY"],
        max_retries=int(os.environ.get("MAX_RETRIES", openai.DEFAULT_MAX_RETRIES)),
        timeout=TIMEOUT_SECONDS,
        # The SDK retries behind its caller's back; here every request it sends leaves a mark.
        http_client=openai.DefaultHttpxClient(event_hooks={"request": [attempts.append]}),
    )
    answers, refusal = [], None
    while len(answers) < times and refusal is None:
        attempts.clear()
        heard.clear()
        try:
            answers.append({**call(client), "attempts": len(attempts)})
        except openai.APIConnectionError:
            # Nothing answered, and that is no refusal.
            raise
        except openai.APIError as error:
            refusal = {**refusal_facts(error), "attempts": len(attempts)}
    print(json.dumps({"answers": answers, "refusal": refusal}))


main()
