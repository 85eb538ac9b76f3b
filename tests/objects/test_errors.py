"""What goes wrong is told in one clear message: where, why, what mends it. Mended, the same command goes on.

The servers' answers are those that AWS's and Azure's documentation gives; the emulators behind them never say them.
"""

import os
import resource
import signal
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from bench.objects.certificates import certify
from click.testing import CliRunner

from objects.running import KEYS, SECRET, Asked, Between, Commands, Said, contents, refusal
from tidegate.cli import main
from tidegate.lab.servers.azurite import KEY

COUNT = 6


@pytest.fixture
def commands(receipts, moto, azurite, tmp_path) -> Commands:
    for number in range(COUNT):
        receipts.put(f"{number:02}", b"receipt %d" % number)
    return Commands(tmp_path, receipts.name, receipts.name, moto.url, azurite.url)


@pytest.fixture
def source(commands) -> Iterator[Between]:
    """What stands before S3."""
    with Between(commands.s3) as between:
        commands.s3 = between.url
        yield between


@pytest.fixture
def target(commands) -> Iterator[Between]:
    """What stands before Blob."""
    with Between(commands.blob) as between:
        commands.blob = between.url
        yield between


def said(
    commands: Commands, *words: str, verb: str = "copy", options: tuple[str, ...] = (), code: int = 1, lines: int = 2
) -> str:
    """The message of a command that fails: one, with where and what mends it, and no secret."""
    done = commands.run(verb, *options)
    message = "\n".join(line for line in done.stderr.splitlines() if not line[:2].isdigit())
    assert done.exit_code == code, done.output
    for word in words:
        assert word in message
    first, *mends = message.splitlines()
    assert ": " in first
    assert len(mends) == lines - 1, message
    assert all(mend.startswith("  ") for mend in mends)
    for secret in (SECRET, KEY, KEY[:20], "Signature", "AWS4-HMAC"):
        assert secret not in done.output
    assert "Traceback" not in done.output
    return message


def goes_on(commands: Commands, *options: str) -> None:
    done = commands.run("copy", *options)
    assert done.exit_code == 0, done.output
    assert commands.different() == []
    assert commands.recorded == (COUNT, 0)


def objects(asked: Asked) -> bool:
    """It is about one object or blob, and not about what holds them."""
    return "list-type" not in asked.path and "restype" not in asked.path


# what a server says


def test_a_full_destination(commands, target):
    puts = list[Asked]()

    def full(asked: Asked) -> Said | None:
        if asked.method == "PUT" and "restype" not in asked.path:
            puts.append(asked)
            return refusal(status, code) if len(puts) > 2 else None
        return None

    target.rule = full
    for status, code in ((507, "InsufficientStorage"), (409, "AccountQuotaExceeded")):
        said(commands, "objects on azure", f"{status} {code}", "make room")
    target.rule = lambda _: None
    goes_on(commands)


def test_credentials_that_expire_in_the_middle(commands, source):
    commands.keys |= {"AWS_SESSION_TOKEN": "of-yesterday"}
    good = {"of-yesterday"}

    def expires(asked: Asked) -> Said | None:
        if source.asked > 3:
            good.discard("of-yesterday")
        if asked.headers.get("x-amz-security-token") in good:
            return None
        return refusal(400, "ExpiredToken", "The provided token has expired.")

    source.rule = expires
    said(commands, "objects on aws", "400 ExpiredToken: The provided token has expired.", "log in again")
    good.add("of-today")
    commands.keys |= {"AWS_SESSION_TOKEN": "of-today"}
    assert commands.run("copy").exit_code == 0
    source.rule = lambda _: None
    goes_on(commands)


def test_azures_token_expires_in_the_middle(commands, target):
    answer = refusal(401, "InvalidAuthenticationInfo", "Lifetime validation failed.")
    target.rule = lambda _: answer if target.asked > 3 else None
    said(commands, "objects on azure", "401 InvalidAuthenticationInfo", "log in again")
    target.rule = lambda _: None
    goes_on(commands)


def test_a_wrong_region(commands, source):
    malformed = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-north-1'"
    for answer, *words in (
        (
            refusal(301, "PermanentRedirect", "use this endpoint", x_amz_bucket_region="eu-north-1"),
            *("301 PermanentRedirect", "the bucket is in eu-north-1"),
        ),
        (
            refusal(400, "AuthorizationHeaderMalformed", malformed, x_amz_bucket_region="eu-north-1"),
            *("400 AuthorizationHeaderMalformed", "the bucket is in eu-north-1"),
        ),
        (refusal(400, "AuthorizationHeaderMalformed", malformed), "expecting 'eu-north-1'", "correct the region"),
    ):
        source.rule = lambda _, answer=answer: answer
        said(commands, "objects on aws", *words)
    source.rule = lambda _: None
    goes_on(commands)


def test_a_missing_bucket(commands):
    commands.bucket += "x"
    said(commands, f"objects on aws (bucket {commands.bucket})", "NoSuchBucket", "correct its name, or create it")
    commands.bucket = commands.bucket[:-1]
    commands.manifest.unlink()  # it is of the other
    goes_on(commands)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_right_that_is_missing(commands, request, side):
    between = request.getfixturevalue(side)
    code = "AccessDenied" if side == "source" else "AuthorizationPermissionMismatch"
    between.rule = lambda _: refusal(403, code, "not authorized")
    said(commands, f"403 {code}", "check the keys, and what they may do")
    between.rule = lambda asked: refusal(403, code, "not authorized") if objects(asked) else None
    if side == "source":  # each object has a policy's rules of its own
        said(commands, f"{COUNT} objects were left as they are", code=4)
    else:
        said(commands, f"403 {code}: not authorized", "check the keys, and what they may do")
    between.rule = lambda _: None
    goes_on(commands)


def test_a_right_to_make_containers_that_is_missing(commands, target):
    target.rule = lambda asked: (
        refusal(403, "AuthorizationFailure") if "restype" in asked.path and asked.method == "PUT" else None
    )
    said(commands, "objects on azure", "403 AuthorizationFailure", "check the keys")
    target.rule = lambda _: None
    goes_on(commands)


@pytest.mark.parametrize(
    ("side", "code", "message"),
    [
        (
            "source",
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        (
            "target",
            "AuthenticationFailed",
            "no</Message><AuthenticationErrorDetail>Request date header too old</AuthenticationErrorDetail><Message>",
        ),
    ],
)
def test_a_clock_that_is_off(commands, request, side, code, message):
    between = request.getfixturevalue(side)
    then = format_datetime(datetime.now(UTC) - timedelta(minutes=20), usegmt=True)
    between.rule = lambda _: refusal(403, code, message, date=then)
    said(commands, f"403 {code}", "set this machine's clock")
    between.rule = lambda _: None
    goes_on(commands)


def test_a_wrong_key(commands):
    commands.keys |= {"AZURE_STORAGE_KEY": "d3Jvbmc="}
    said(commands, "objects on azure", "403", "check the keys")
    commands.keys |= {"AZURE_STORAGE_KEY": "not base64!"}
    said(commands, "AZURE_STORAGE_KEY", code=3)
    commands.keys |= {"AZURE_STORAGE_KEY": KEY}
    goes_on(commands)


# what the network says


@pytest.fixture
def tls(tmp_path) -> Iterator[str]:
    """A server with a certificate of an authority that nobody knows."""
    certify(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            server.settimeout(0.05)
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                    with connection, context.wrap_socket(connection, server_side=True):
                        pass
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        ended.set()
        thread.join()


def test_a_certificate_that_is_not_trusted(commands, tls):
    commands.s3 = tls
    said(commands, "objects on aws", "its certificate isn't trusted", "SSL_CERT_FILE")


def test_a_name_that_does_not_resolve(commands, monkeypatch):
    monkeypatch.setattr("tidegate.objects.http.PAUSES", (0.01,))
    right, commands.s3 = commands.s3, "http://no-such-host.invalid"
    said(commands, "objects on aws", "no-such-host.invalid", "see whether it runs and can be reached")
    commands.s3 = right
    commands.manifest.unlink(missing_ok=True)
    goes_on(commands)


def test_a_server_that_speaks_no_http(commands, monkeypatch):
    monkeypatch.setattr("tidegate.objects.http.PAUSES", (0.01,))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                    connection.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        commands.s3 = f"http://127.0.0.1:{server.getsockname()[1]}"
        said(commands, "objects on aws", "isn't HTTP")
        thread.join()


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_is_no_listing_is_not_taken_for_an_empty_one(commands, request, side):
    between = request.getfixturevalue(side)
    goes_on(commands)
    for body in (b"<html><body>Log in first</body></html>", b"", b"{}", b"<ListBucketResult>", b"\xff\xfe\x00"):
        between.rule = lambda asked, body=body: Said(200, {}, body) if "list" in asked.path else None
        said(commands, "its listing can't be read", "no proxy's", verb="verify")
        if side == "source":
            said(commands, "its listing can't be read", "no proxy's")
    between.rule = lambda _: None
    goes_on(commands)


# what this machine says


def test_a_disk_that_is_full(commands):
    """The manifest's: as a quota does it, and as a file system does."""

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    with commands.begin("copy", preexec_fn=small) as process:
        out, message = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert str(commands.manifest) in message
    assert "see to the disk's space" in message
    assert "Traceback" not in message
    goes_on(commands)


def test_a_manifest_of_other_sides(commands, receipts):
    goes_on(commands)
    commands.container += "-2"
    for verb in ("copy", "sync", "verify"):
        options = ("--once",) if verb == "sync" else ()
        said(commands, str(commands.manifest), "it is of ", "own --manifest", verb=verb, options=options, code=2)
    commands.container = receipts.name
    goes_on(commands)


def test_a_file_that_is_no_manifest_is_left_as_it_is(commands):
    text = b"this is no database\n" * 100
    of_others = commands.folder / "others.sqlite"
    with closing(sqlite3.connect(of_others)) as other:
        other.execute("create table customers (name text)")
        other.commit()
    for verb, *options in (("copy",), ("sync", "--once"), ("verify",)):
        for content in (text, of_others.read_bytes()):
            commands.manifest.write_bytes(content)
            words = (str(commands.manifest), "isn't a manifest", "give another --manifest")
            said(commands, *words, verb=verb, options=tuple(options))
            assert commands.manifest.read_bytes() == content


def test_two_commands_with_one_manifest(commands, target):
    """The second is refused, whatever name it gives the file; `verify` only looks then."""
    held, go_on = threading.Event(), threading.Event()

    def holds(asked: Asked) -> Said | None:
        if asked.method == "PUT" and "restype" not in asked.path:
            held.set()
            go_on.wait()
        return None

    target.rule = holds
    with commands.begin("copy") as first:
        held.wait()
        message = said(commands, str(commands.manifest), f"process {first.pid} works with it", "wait")
        assert said(commands, verb="sync", options=("--once",)) == message
        link = commands.folder / "link.sqlite"
        link.symlink_to(commands.manifest)
        assert commands.run("copy", "--manifest", str(link)).exit_code == 1
        assert commands.run("verify").exit_code == 4
        go_on.set()
        first.communicate()
    assert first.returncode == 0
    goes_on(commands)


@pytest.mark.parametrize(("verb", "which"), [("copy", signal.SIGINT), ("sync", signal.SIGTERM)])
def test_an_interrupted_command_ends_at_once_and_goes_on_later(commands, target, which, verb):
    held, go_on = threading.Event(), threading.Event()

    def holds(asked: Asked) -> Said | None:
        if asked.method == "PUT" and "restype" not in asked.path and asked.path.endswith("5"):
            held.set()
            go_on.wait()
        return None

    target.rule = holds
    with commands.begin(verb) as process:
        held.wait()
        process.send_signal(which)
        out, message = process.communicate(timeout=60)
        go_on.set()
    assert process.returncode == 130
    assert "Traceback" not in message
    assert out == ""
    assert "the same command goes on" in message
    goes_on(commands)


def test_a_reader_that_has_gone(commands):
    reader, writer = os.pipe()
    os.close(reader)
    with commands.begin("copy", stdout=writer) as process:
        os.close(writer)
        _, message = process.communicate()
    assert "Traceback" not in message
    assert "Exception ignored" not in message
    goes_on(commands)


# what the user says


def test_sides_that_are_swapped(tmp_path):
    words = ["objects", "copy", "azure://account/container", "s3://bucket"]
    done = CliRunner().invoke(main, ["--store", str(tmp_path), *words], env=KEYS)
    assert done.exit_code == 2
    assert "the bucket comes first" in done.stderr
    assert "sync --reverse" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["s3:/bucket", "azure://account/container"], "S3"),
        (["s3://bucket", "azure://account"], "BLOB"),
        (["s3://bucket", "https://account.blob.core.windows.net/container"], "BLOB"),
        (["s3://bucket", "azure://account/container", "--source-endpoint", "nowhere"], "--source-endpoint"),
        (["s3://bucket", "azure://account/container", "--target-endpoint", "ftp://nowhere"], "--target-endpoint"),
        (["s3://bucket", "azure://account/container", "--how", "magic"], "--how"),
        (["s3://bucket", "azure://account/container", "--at-once", "0"], "--at-once"),
        (["s3://bucket", "azure://account/container", "--manifest", "."], "--manifest"),
        (["s3://bucket"], "BLOB"),
    ],
)
def test_what_can_not_be_given_is_named(tmp_path, monkeypatch, words, where):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["objects", "copy", *words, "--region", "us-east-1"], env=KEYS)
    assert done.exit_code == 2, done.output
    assert where in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_verify_changes_nothing(commands, receipts):
    """What was deleted or changed at the source since the copy is told, and not done."""
    goes_on(commands)
    receipts.delete("03")
    receipts.put("04", b"changed")
    receipts.put("new")
    before = commands.sides(contents)
    message = said(commands, "3 objects aren't the same", verb="verify", code=4, lines=1)
    assert commands.sides(contents) == before
    assert commands.recorded == (COUNT, 0), message
