"""What Python's readers make of a body: JSON by the standard library and by pydantic, forms by
python-multipart, by Starlette and by the standard library's reader of mail.

A line in is the kind of a body, its content type and its bytes, the last two in base64. A line out is a list
in JSON: the meaning of the body to each reader, or why that reader refuses it.
"""

import asyncio
import base64
import json
import sys
from email import policy
from email.parser import BytesParser

import python_multipart
from starlette.requests import Request

try:
    from pydantic_core import from_json
except ImportError:
    # The older readers are asked about forms alone.
    from_json = None

# Members whose strings are a part of the prompt.
PROMPTS = {"messages", "input", "prompt", "instructions", "system", "tools", "functions", "suffix"}
# What holds an image, a file or a sound: its bytes are not read as text.
HELD = {"image_url", "source", "file", "file_data", "input_audio"}
# What holds parts, or is one.
CONTENTS = {"content", "output"}
# A role and a type are in the frame of what they stand in, up to this many bytes.
FRAME = {"role", "type"}
LONGEST_FRAME = 20
HOSTED = ("web_", "file_search", "code_", "image_generation", "mcp", "browser_search")


def plain(text):
    """A text without halves of surrogate pairs, as every encoder can write it."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def weigh(value, seen, is_content):
    """Only what stands in the content of a message is an image to anyone."""
    if isinstance(value, str):
        seen["text"] += len(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, list):
        for each in value:
            weigh(each, seen, is_content)
    elif isinstance(value, dict):
        for name, each in value.items():
            if is_content and name in HELD and isinstance(each, (str, dict)):
                seen["images"] += 1
            elif not (name in FRAME and isinstance(each, str) and len(each) <= LONGEST_FRAME):
                weigh(each, seen, name in CONTENTS)


def scalar(value):
    """A scalar as itself, of anything else that it is there."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "Infinity"
    if type(value) is int and not 0 <= value < 1 << 64:
        return "Infinity"
    if isinstance(value, str):
        return plain(value)
    return {} if isinstance(value, (list, dict)) else value


def meaning(by, read, body):
    try:
        members = read(body)
    except (ValueError, RecursionError) as error:
        return {"by": by, "refused": plain(str(error))}
    if not isinstance(members, dict):
        return {"by": by, "refused": "no object"}
    seen = {"by": by, "prompts": {}, "texts": {}, "hosted": 0}
    for name, value in members.items():
        if name in PROMPTS:
            within = {"text": 0, "images": 0}
            weigh(value, within, name == "system")
            seen["prompts"][name] = [within["text"], within["images"]]
        if name in ("prompt", "input") and isinstance(value, list):
            numbers = all(isinstance(each, (int, float)) for each in value)
            seen["texts"][name] = 1 if numbers else len(value)
        if name == "tools" and isinstance(value, list):
            kinds = [each.get("type") for each in value if isinstance(each, dict)]
            seen["hosted"] = sum(isinstance(kind, str) and kind.startswith(HOSTED) for kind in kinds)
    seen["names"] = [plain(name) for name in members]
    seen["values"] = {plain(name): scalar(value) for name, value in members.items()}
    return seen


def by_python_multipart(content_type, body):
    fields, files = [], []

    def on_field(field):
        value = field.value or b""
        fields.append([field.field_name.decode("utf-8", "replace"), value.decode("utf-8", "replace")])

    def on_file(file):
        file.file_object.seek(0)
        files.append([(file.field_name or b"").decode("utf-8", "replace"), len(file.file_object.read())])

    headers = {"Content-Type": content_type, "Content-Length": str(len(body)).encode()}
    parser = python_multipart.create_form_parser(headers, on_field, on_file)
    parser.write(body)
    parser.finalize()
    return fields, files


async def by_starlette(content_type, body):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", content_type)]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    fields, files = [], []
    async with Request(scope, receive).form() as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields.append([plain(name), plain(value)])
            else:
                files.append([plain(name), len(await value.read())])
    return fields, files


def by_email(content_type, body):
    head = b"Content-Type: " + content_type + b"\r\nMIME-Version: 1.0\r\n\r\n"
    mail = BytesParser(policy=policy.HTTP).parsebytes(head + body)
    if not mail.is_multipart():
        raise ValueError("no form")
    fields, files = [], []
    for part in mail.walk():
        if part.is_multipart():
            continue
        name = str(part.get_param("name", header="content-disposition") or "")
        value = part.get_payload(decode=True)
        if part.get_filename() is None:
            fields.append([plain(name), value.decode("utf-8", "replace")])
        else:
            files.append([plain(name), len(value)])
    return fields, files


def form(by, read, *body):
    try:
        fields, files = read(*body)
    except Exception as error:  # readers refuse in many ways
        return {"by": by, "refused": plain(f"{type(error).__name__}: {error}")}
    return {"by": by, "fields": fields, "files": files}


def read_form(loop, content_type, body, suffix):
    starlette = lambda *body: loop.run_until_complete(by_starlette(*body))
    answers = [
        form("python-multipart" + suffix, by_python_multipart, content_type, body),
        form("Starlette" + suffix, starlette, content_type, body),
    ]
    if not suffix:
        answers.append(form("Python email", by_email, content_type, body))
    return answers


def main():
    suffix = sys.argv[1] if len(sys.argv) > 1 else ""
    loop = asyncio.new_event_loop()
    for line in sys.stdin.buffer:
        kind, content_type, body = line.rstrip(b"\n").split(b" ")
        content_type, body = base64.b64decode(content_type), base64.b64decode(body)
        if kind == b"form":
            answers = read_form(loop, content_type, body, suffix)
        elif suffix:
            answers = []
        else:
            answers = [meaning("Python json", json.loads, body), meaning("pydantic", from_json, body)]
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()


main()
