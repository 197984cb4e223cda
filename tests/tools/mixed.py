#!/usr/bin/env python3
"""Runs the release before and this one on one Redis, under load, and asserts that the books are exact.

Usage: tests/tools/mixed.py BEFORE NOW

BEFORE and NOW are two binaries; `tests/tools/mixed.sh` builds them. All listen on 127.0.0.1, every wait is bounded, and
what was started is ended by its process ID. It prints a row for each case, `case | figure | verdict`, and appends them to
the file in FAULTS_TABLE. It exits with 1 where a case fails.
"""
import collections
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOKENS = 3000
PROMPT = 3
ADMIN = "admin-token-of-the-mix"
# Answers of a call that docs/api.md has for a balance that is held or spent, and for a limiter.
DOCUMENTED = {200, 402, 429}
PATIENCE = 60
ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


def until(what, holds, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Provider:
    """Answers up to `max_tokens` tokens, at most eight, and knows what it has served to whom."""

    def __init__(self):
        self.served = collections.Counter()
        self.lock = threading.Lock()
        # Calls that say "slowly" wait for this.
        self.gate = threading.Event()
        self.waiting = 0
        provider = self

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                words = body["messages"][0]["content"].split()
                bound = body.get("max_tokens") or body.get("max_completion_tokens") or 8
                tokens = min(bound, 8)
                if "slowly" in words:
                    with provider.lock:
                        provider.waiting += 1
                    provider.gate.wait(PATIENCE)
                with provider.lock:
                    provider.served[words[0]] += PROMPT + tokens
                message = {"role": "assistant", "content": "hi " * tokens}
                usage = {"prompt_tokens": PROMPT, "completion_tokens": tokens, "total_tokens": PROMPT + tokens}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                answer = {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}
                text = json.dumps(answer).encode()
                # A gateway that was killed no longer listens.
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1/chat/completions"


class Redis:
    """A redis-server without persistence, and as much of its protocol as reads what is stored."""

    def __init__(self, folder):
        found = shutil.which("redis-server") or str(ROOT / ".tools/redis/usr/bin/redis-server")
        self.port = free_port()
        folder.mkdir()
        words = [found, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        libraries = ROOT / ".tools/redis/usr/lib/x86_64-linux-gnu"
        env = dict(os.environ, LD_LIBRARY_PATH=str(libraries)) if libraries.is_dir() else None
        self.process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL)
        try:
            until("redis-server listens", self.listens, 15)
        except BaseException:
            self.process.kill()
            raise

    def listens(self):
        with contextlib.suppress(OSError):
            return self.ask("PING") == "PONG"

    def ask(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            message = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(message.encode())
            with connection.makefile("rb") as lines:
                return reply(lines)


def reply(lines):
    line = lines.readline().decode().rstrip()
    kind, rest = line[0], line[1:]
    if kind == "+":
        return rest
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else lines.read(int(rest) + 2)[:-2].decode()
    if kind == "*":
        return [reply(lines) for _ in range(int(rest))]
    raise AssertionError(line)


class Gateway:
    """A gateway of either release, with a port and a journal that it has again after a restart."""

    def __init__(self, world, name):
        self.world, self.name, self.port = world, name, free_port()
        self.folder = world.folder / name
        self.folder.mkdir()
        self.process = None

    def start(self, binary):
        store = f"redis://127.0.0.1:{self.world.redis.port}"
        accounts = {"layout": self.world.layout, "journal": str(self.folder / "journal"), "hold_ttl": "5s"}
        accounts["mints_per_address"] = 100000
        settings = {
            "server": {"listen": [f"127.0.0.1:{self.port}"], "drain_timeout": "20s"},
            "store": store,
            "accounts": accounts,
            "admin": {"token": ADMIN},
            "egress": {"allow_private_networks": True},
            "tenants": {"abc": self.world.tenant()},
        }
        path = self.folder / "gateway.yaml"
        path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items()))
        foreign = ("PORT", "HOST", "REDIS_URL", "ADMIN_TOKEN", "SECRETS_KEY", "RUST_LOG")
        env = {name: value for name, value in os.environ.items() if name not in foreign and "RESULLM" not in name}
        words = [binary, "--config", str(path)]
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        until(f"{self.name} is ready", self.is_ready, 30)
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} does not start:\n{self.log()[-2000:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(self.port, "GET", "/readyz")[0] == 200

    def log(self):
        return (self.folder / "log").read_text()

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(f"{self.name} did not stop") from None
        finally:
            self.process = None

    def ask(self, method, path, key, body=None):
        return ask(self.port, method, path, key, body)

    def mint(self):
        return self.ask("POST", "/abc/auth/anonymous", "", {})[1]["apiKey"]

    def admin(self, method, path, body):
        status, answer = self.ask(method, path, ADMIN, body)
        assert status in (200, 201), (path, status, answer)
        return answer

    def call(self, key, tag, how="", most=4):
        body = {"messages": [{"role": "user", "content": f"{tag} {how}"}], "max_tokens": most}
        return self.ask("POST", "/abc/v1/chat/completions", key, body)

    def me(self, key):
        status, answer = self.ask("GET", "/abc/auth/me", key)
        assert status == 200, (status, answer)
        return answer

    def left(self, key):
        """The balance, once no call and no lease holds any of it."""

        def settled():
            answer = self.me(key)
            return answer if answer["tokensFree"] == answer["tokensLeft"] else None

        return until(f"nothing of {self.name}'s is held", settled)["tokensLeft"]


def ask(port, method, path, key="", body=None):
    """Returns status and answer; status 0 where there was no gateway, or it ended before it answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text
    except (ConnectionError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


class World:
    """One Redis, one provider, and gateways of either release in one layout."""

    def __init__(self, before, now, layout, folder):
        self.before, self.now, self.layout, self.folder = before, now, layout, folder
        folder.mkdir()
        self.gateways, self.redis = [], None
        self.provider = Provider()

    def __enter__(self):
        self.redis = Redis(self.folder / "redis")
        return self

    def __exit__(self, *_):
        self.provider.gate.set()
        for gateway in self.gateways:
            if gateway.process is not None:
                gateway.process.kill()
                gateway.process.wait(10)
        self.redis.process.terminate()
        self.redis.process.wait(10)
        self.provider.server.shutdown()

    def gateway(self, name, binary):
        gateway = Gateway(self, name)
        self.gateways.append(gateway)
        return gateway.start(binary)

    def tenant(self, more=None):
        limits = {"tokens": TOKENS, "rate_limit": 1000000, "rate_limit_window": 60}
        groups = {
            "anonymous": limits,
            "google_logged_in": limits | (more or {}),
            "paid": limits,
            "few": limits | {"max_concurrent": 2},
        }
        endpoint = {"url": self.provider.url(), "api_key": "k", "default_model": "gpt-4o-mini"}
        text = {"default": "p", "endpoints": {"p": endpoint}}
        return {"user_groups": groups, "providers": {"text": text}}

    def served(self, *tags):
        with self.provider.lock:
            return sum(self.provider.served[tag] for tag in tags)

    def account(self, key):
        """What is stored under a key, and the name of its account."""
        lead = self.redis.ask("GET", f"apiKey:{key}")
        if not lead.startswith("{"):
            return lead, f"user:{lead}"
        return lead, json.loads(lead).get("account", f"apiKey:{key}")

    def stored(self, key):
        """What is stored of a person: the key's name, record, books, list of keys."""
        lead, person = self.account(key)
        hashes = [self.redis.ask("HGETALL", f"{{{person}}}:{kind}") for kind in ("books", "keys")]
        fields = [dict(zip(flat[::2], flat[1::2])) for flat in hashes]
        return lead, self.redis.ask("GET", person), *fields


def storm(gateways, key, tag, calls=40, threads=12, seen=None, stop=None):
    """Calls from many threads, each to one gateway after the other. Returns how many got which status from which."""
    seen = collections.Counter() if seen is None else seen
    lock = threading.Lock()

    def work(at):
        done = 0
        while done < calls and not (stop and stop.is_set()):
            gateway = gateways[(at + done) % len(gateways)]
            status, answer = gateway.call(key, tag, most=1 + (at + done) % 8)
            with lock:
                seen[gateway.name, status] += 1
                if status == 200:
                    seen["tokens"] += answer["usage"]["total_tokens"]
            done += 1
            # As a proxy in front, which looks for a while before it tries a closed port again.
            time.sleep(0.02 if status == 0 else 0)

    workers = [threading.Thread(target=work, args=(at,)) for at in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(4 * PATIENCE)
        assert not worker.is_alive(), "a call did not end"
    return seen


def documented(seen, more=()):
    strange = {entry: n for entry, n in seen.items() if entry != "tokens" and entry[1] not in DOCUMENTED | set(more)}
    assert not strange, f"undocumented: {strange}"
    return sum(n for entry, n in seen.items() if entry != "tokens")


def exact(served, left, granted=TOKENS):
    assert served + left == granted, f"{served} served + {left} left are not {granted}"


def beside(world):
    """Keys that either release has minted, called at both."""
    old, new = world.gateway("old", world.before), world.gateway("new", world.now)
    # The new release's settings of a tenant stay without effect in the old one.
    config = world.tenant({"refill": {"tokens": TOKENS, "every": "24h"}})
    new.admin("PUT", "/abc/admin/config", {"config": config})
    time.sleep(1.5)
    calls = total = 0
    for minter in (old, new):
        paid = [minter.admin("POST", "/abc/admin/keys", {"group": group})["apiKey"] for group in ("paid", "few")]
        for at, key in enumerate([minter.mint(), *paid]):
            tag = f"{minter.name}{at}"
            seen = storm([old, new], key, tag)
            calls += documented(seen)
            for reader in (old, new):
                exact(world.served(tag), reader.left(key))
            assert seen["tokens"] == world.served(tag), "an answer was lost"
            assert seen["old", 200] and seen["new", 200], seen
            total += seen["tokens"]
    credited = old.mint()
    for at, gateway in enumerate((old, new, old)):
        gateway.admin("POST", f"/abc/admin/keys/{credited}/credit", {"tokens": 500, "id": f"c{min(at, 1)}"})
    calls += documented(storm([old, new], credited, "credited"))
    exact(world.served("credited"), new.left(credited), TOKENS + 1000)
    return f"{calls} calls, {total} tokens at 6 keys of either release; every sum exact, a credit repeated at the other counts once"


def people(world):
    """A person with a bound, called at both; then at the old one alone, which must not harm what it does not know."""
    old, new = world.gateway("old", world.before), world.gateway("new", world.now)
    session = {"userId": "u", "tokens": 2000}
    key = new.admin("POST", "/abc/auth/sessions", session)["apiKey"]
    seen = storm([new, new, old], key, "person", calls=15)
    refusal = {500} if world.layout == "key" else set()
    calls = documented(seen, refusal)
    by_old = {entry[1]: n for entry, n in seen.items() if entry != "tokens" and entry[0] == "old"}
    left = new.left(key)
    exact(world.served("person"), left)
    before = world.stored(key)
    alone = storm([old], key, "person", calls=5, threads=4)
    calls += documented(alone, refusal)
    left = new.left(key)
    lead, record, books, keys = world.stored(key)
    exact(world.served("person"), left)
    assert "label" in json.loads(record), record
    assert (lead, keys) == (before[0], before[3]), "a key or the list of keys was changed"
    if world.layout == "key":
        assert set(by_old) == {500}, by_old
        assert (record, books) == (before[1], before[2]), "the release before has changed a person's record"
        assert alone["tokens"] == 0
    else:
        assert by_old.get(200), by_old
        assert json.loads(record) | {"tokensLeft": 0} == json.loads(before[1]) | {"tokensLeft": 0}
    unknown = {name: value for name, value in before[2].items() if name[0] in "krvftiad"}
    assert unknown and unknown.items() <= books.items(), (unknown, books)
    # Ended at the new one, the key opens nothing at the old one either.
    new.admin("DELETE", f"/abc/admin/keys/{key}", None)
    ended = time.monotonic()
    until("the ended key is unknown to both", lambda: {g.call(key, "ended")[0] for g in (old, new)} == {401}, 5)
    ended = time.monotonic() - ended
    answers = ", ".join(f"{n} times {status}" for status, n in sorted(by_old.items()))
    return f"{calls} calls; the old one answered {answers}; sums exact, {len(unknown)} unknown fields untouched; ended, it was 401 at both after {ended:.1f} s"


def carried(world):
    """The balance of an anonymous key moves while both serve calls with it."""
    old, new = world.gateway("old", world.before), world.gateway("new", world.now)
    calls = moved = 0
    for minter in (old, new):
        key, tag = minter.mint(), f"temp{minter.name}"
        seen = collections.Counter()
        load = threading.Thread(target=storm, args=([old, new], key, tag, 30, 12, seen))
        load.start()
        time.sleep(0.15)
        body = {"userId": f"u-{minter.name}", "carryOver": key}
        person = new.admin("POST", "/abc/auth/sessions", body)
        load.join(4 * PATIENCE)
        # The new one does not know the key any more; what is unbound at the old one is served or moves.
        calls += documented(seen, {401})
        mine = person["apiKey"]

        def rests():
            new.call(mine, f"{tag}-p", most=1)
            lead, record, books, _ = world.stored(mine)
            departed = json.loads(world.redis.ask("GET", world.account(key)[1]))["tokensLeft"]
            received, most, over, _ = books["f:"].split(":", 3)
            return (departed, int(received)) if over == "1" else None

        departed, received = until("the move is over", rests, 90)
        moved += received
        seen = storm([new], mine, f"{tag}-p", calls=5, threads=4)
        calls += documented(seen)
        left = new.left(mine)
        exact(world.served(tag, f"{tag}-p"), left + departed, 2 * TOKENS)
        assert world.served(tag) + received + departed == TOKENS
    assert moved, "nothing has moved"
    return f"{calls} calls while {moved} tokens moved; every sum exact"


def rolling(world):
    """Two old gateways become new ones under load, one after the other, and go back."""
    pair = [world.gateway(name, world.before) for name in ("one", "two")]
    # One is soon spent, two have enough for all of it.
    grants = (TOKENS, 100 * TOKENS, 100 * TOKENS)
    keys = [pair[0].admin("POST", "/abc/admin/keys", {"group": "paid", "tokens": n})["apiKey"] for n in grants]
    seen, stop = collections.Counter(), threading.Event()
    loads = [
        threading.Thread(target=storm, args=(pair, key, f"roll{at}", 10**6, 3, seen, stop)) for at, key in enumerate(keys)
    ]
    for load in loads:
        load.start()
    try:
        for binary in (world.now, world.before):
            for gateway in pair:
                time.sleep(0.7)
                gateway.stop()
                gateway.start(binary)
        time.sleep(0.7)
    finally:
        stop.set()
        for load in loads:
            load.join(4 * PATIENCE)
    # 0: the port was closed, so a proxy in front sends the call to the other one.
    calls = documented(seen, {0, 503})
    for at, (key, granted) in enumerate(zip(keys, grants)):
        for gateway in pair:
            exact(world.served(f"roll{at}"), gateway.left(key), granted)
    spent = world.served("roll0", "roll1", "roll2")
    refused = sum(n for entry, n in seen.items() if entry != "tokens" and entry[1] in (0, 503))
    return f"{calls - refused} calls and {spent} tokens in four restarts, {refused} more found a closed port or a drain; every sum exact"


def back(world):
    """The new one stops with calls in flight, and the old one goes on: by a drain, and by kill -9 with its journal."""
    old, new = world.gateway("old", world.before), world.gateway("new", world.now)
    figures = []
    for how in (signal.SIGTERM, signal.SIGKILL):
        tag = f"back{int(how)}"
        key = new.mint()
        world.provider.gate.clear()
        world.provider.waiting = 0
        answers = collections.Counter()
        lock = threading.Lock()

        def slow():
            status, answer = new.call(key, tag, "slowly", most=8)
            with lock:
                answers[status] += 1
                answers["tokens"] += answer["usage"]["total_tokens"] if status == 200 else 0

        threads = [threading.Thread(target=slow) for _ in range(6)]
        for thread in threads:
            thread.start()
        until("six calls wait", lambda: world.provider.waiting == 6)
        held = old.me(key)
        held = held["tokensLeft"] - held["tokensFree"]
        assert held > 0, "the old one sees what the new one holds"
        stopping = threading.Thread(target=new.stop, args=(how,))
        stopping.start()
        quick = storm([old], key, tag, calls=5, threads=4)
        world.provider.gate.set()
        stopping.join(PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
        documented(quick)
        # Back on the same machine, with the same journal.
        new.start(world.before)
        left = new.left(key)
        known = quick["tokens"] + answers["tokens"]
        orphaned = TOKENS - left - known
        if how == signal.SIGTERM:
            assert answers[200] == 6, answers
            exact(world.served(tag), left)
            figures.append("a drain answered 6 of 6 calls, sums exact")
        else:
            assert answers[0] == 6, answers
            assert 0 <= orphaned <= held, f"{orphaned} of {held} held tokens are charged"
            figures.append(f"of 6 killed calls that held {held}, the old one charged {orphaned} from the journal")
        more = storm([old, new], key, f"{tag}-more", calls=5, threads=4)
        documented(more)
        exact(world.served(f"{tag}-more") + known + orphaned, old.left(key))
        new.stop()
        new.start(world.now)
        exact(world.served(f"{tag}-more") + known + orphaned, new.left(key))
    return "; ".join(figures)


def main():
    before, now = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
    # Else a Ctrl-C of make would leave processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = False
    with tempfile.TemporaryDirectory(prefix="resullm-mixed-") as folder:
        for layout in ("key", "user"):
            for case in (beside, people, carried, rolling, back):
                name = f"the release before beside this one, layout {layout}: {case.__name__}"
                start = time.monotonic()
                world = World(before, now, layout, pathlib.Path(folder) / f"{layout}-{case.__name__}")
                try:
                    with world:
                        figure, verdict = case(world), "pass"
                except AssertionError as error:
                    figure, verdict, failed = f"{error}", "FAIL", True
                    for gateway in world.gateways:
                        print(f"log of {gateway.name}:\n{gateway.log()[-1500:]}", file=sys.stderr)
                row = f"{name} | {figure} | {verdict}"
                print(f"{row} ({time.monotonic() - start:.0f} s)", flush=True)
                if os.environ.get("FAULTS_TABLE"):
                    with open(os.environ["FAULTS_TABLE"], "a") as table:
                        table.write(f"{row}\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
