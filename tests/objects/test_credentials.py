"""Where credentials come from, how long they are kept, and what is said when there are none.

S3 and STS are moto's, Blob is Azurite, which checks signatures. Entra ID's endpoint stands here only for App Service's
managed identity (C: its version 2019-08-01); no other can be had without Azure.
"""

import base64
import hmac
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlencode

import pytest
from pydantic import ValidationError

from tidegate.errors import InvalidMigration, Refused, TidegateError, Unreachable
from tidegate.lab.buckets import Buckets
from tidegate.lab.servers.azurite import ACCOUNT, KEY
from tidegate.objects.aws_chain import aws_credentials, aws_region
from tidegate.objects.azure_chain import azure_credentials
from tidegate.objects.blob import BlobSide
from tidegate.objects.credentials import Credentials, Granted
from tidegate.objects.http import Http
from tidegate.objects.s3 import S3Side
from tidegate.objects.side import Properties
from tidegate.objects.signing import AzureSas, AzureToken, Request
from tidegate.runbook.migration import AwsBucket, AzureContainer

BUCKET = AwsBucket(bucket="receipts", region="eu-north-1")
CONTAINER = AzureContainer(account=ACCOUNT, container="receipts")
GET = Request("GET", "https://h.example/b/key")
SSO = "[profile lender]\nsso_account_id = 1\nsso_role_name = n\n"
SSO_SESSION = "[sso-session s]\nsso_start_url = https://s.example\nsso_region = r\n"
BASE = "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = hush\n"
ROLE = f"[profile mover]\nrole_arn = arn:aws:iam::123456789012:role/mover\nsource_profile = base\n{BASE}"
HUSH = "hush/hush+hush=="


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing of this machine's user is found, nor of a cloud that it may stand in."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".aws"
    folder.mkdir()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    return folder


@pytest.fixture
def serving():
    """Starts a server that answers GET as a function of path and headers says: status, body."""
    servers = []

    def serve(answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answer(self.path, self.headers)
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if body.startswith("{") else "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format, *given):  # noqa: A002 - its name there
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
async def http():
    http = Http()
    yield http
    await http.close()


def of_aws(clock=time.time, **given) -> Credentials:
    return aws_credentials(BUCKET.model_copy(update=given), "s3", "eu-north-1", "receipts on aws", clock)


def of_azure(clock=time.time, **given) -> Credentials:
    return azure_credentials(CONTAINER.model_copy(update=given), "receipts on azure", clock)


async def headers(credentials) -> dict[str, str]:
    return (await credentials.signer()).sign(GET, datetime.now(UTC))


async def refusal(credentials) -> TidegateError:
    """Why there is no signer: a line, with what mends it, and no secret."""
    with pytest.raises(TidegateError) as caught:
        await credentials.signer()
    assert "\n" not in caught.value.why
    assert caught.value.mend
    assert caught.value.where
    assert "hush" not in str(caught.value) + repr(caught.value)
    return caught.value


def lends(folder, name="lender", minutes=5) -> None:
    """A profile whose program lends other keys each time."""
    program = folder / "lend.sh"
    expiry = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"Version": 1, "AccessKeyId": "LENT$N", "SecretAccessKey": HUSH, "SessionToken": "token-$N"}
    text = json.dumps(keys | {"Expiration": expiry}).replace('"', '\\"')
    count = folder / "count"
    program.write_text(f'#!/bin/sh\necho x >> {count}\nN=$(wc -l < {count} | tr -d " ")\necho "{text}"\n')
    program.chmod(0o755)
    (folder / "config").write_text(f"[profile {name}]\ncredential_process = {program}\n")


# AWS


async def test_keys_that_the_migration_names_come_first(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    monkeypatch.setenv("MY_KEY", "MINE")
    monkeypatch.setenv("MY_SECRET", HUSH)
    sent = await headers(of_aws(access_key="env:MY_KEY", secret_key="env:MY_SECRET"))
    assert "Credential=MINE/" in sent["authorization"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"access_key": "env:A"}, "or neither"),
        ({"secret_key": "env:A"}, "or neither"),
        ({"access_key": "env:A", "secret_key": "env:B", "profile": "p"}, "not both"),
    ],
)
def test_there_is_one_way_into_a_bucket(given, why):
    with pytest.raises(ValidationError, match=why):
        AwsBucket(bucket="b", region="r", **given)


def test_there_is_one_way_into_a_container():
    with pytest.raises(ValidationError, match="not both"):
        AzureContainer(account="a", container="c", key="env:A", sas="env:B")


async def test_then_the_environment_with_its_session_token(monkeypatch):
    for name, value in (("ACCESS_KEY_ID", "ENV"), ("SECRET_ACCESS_KEY", HUSH), ("SESSION_TOKEN", "session")):
        monkeypatch.setenv(f"AWS_{name}", value)
    sent = await headers(of_aws())
    assert "Credential=ENV/" in sent["authorization"]
    assert "x-amz-security-token" in sent["authorization"]
    assert sent["x-amz-security-token"] == "session"


async def test_a_profile_is_found_in_the_shared_files_even_if_the_environment_has_keys(home, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", HUSH)
    (home / "credentials").write_text(f"[staging]\naws_access_key_id = FILED\naws_secret_access_key = {HUSH}\n")
    assert "Credential=FILED/" in (await headers(of_aws(profile="staging")))["authorization"]


async def test_a_profile_takes_a_role_and_moto_takes_its_keys(home, moto, http, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.url)
    (home / "config").write_text(ROLE)
    sent = await headers(of_aws(profile="mover"))
    assert "Credential=ASIA" in sent["authorization"]
    assert sent["x-amz-security-token"]
    Buckets(moto.url).create("lent-to-a-role")
    spec = BUCKET.model_copy(update={"bucket": "lent-to-a-role", "profile": "mover", "endpoint": moto.url})
    assert [each async for each in S3Side("receipts", spec, http).list()] == []


@pytest.mark.parametrize(
    ("config", "kind", "why", "mend"),
    [
        ("", InvalidMigration, "no profile lender", "aws configure --profile lender"),
        ("[profile lender]\nregion = r\n", InvalidMigration, "no AWS credentials were found", "aws sso login"),
        (
            f"{SSO}sso_start_url = https://s.example\nsso_region = r\n",
            Refused,
            "SSO session has expired",
            "aws sso login",
        ),
        (f"{SSO}sso_session = s\n{SSO_SESSION}", Refused, "SSO session has expired", "aws sso login --profile lender"),
        ("[profile lender]\ncredential_process = /bin/false\n", Refused, "no keys can be had", "get-caller-identity"),
        ("[profile lender]\ncredential_process = /no/such\n", Refused, "No such file", "get-caller-identity"),
        ("[profile lender]\ncredential_process = echo hush\n", Refused, "no keys can be had", "get-caller-identity"),
        ("[profile lender]\naws_access_key_id = A\n", InvalidMigration, "aws_secret_access_key", "correct"),
        ("[profile lender]\nrole_arn = r\nsource_profile = gone\n", InvalidMigration, "gone", "correct"),
        (
            f"[profile lender]\nrole_arn = r\nmfa_serial = m\nsource_profile = base\n{BASE}",
            InvalidMigration,
            "a code from a device",
            "export-credentials --profile lender",
        ),
        (
            (
                "[profile lender]\nrole_arn = r\nsource_profile = a\n"
                f"[profile a]\nrole_arn = s\nmfa_serial = m\nsource_profile = base\n{BASE}"
            ),
            InvalidMigration,
            "a code from a device",
            "export-credentials --profile lender",
        ),
        ("not ini", InvalidMigration, "AWS's configuration", "correct"),
    ],
)
async def test_no_keys_are_explained_in_a_line(home, config, kind, why, mend):
    (home / "config").write_text(config)
    error = await refusal(of_aws(profile="lender"))
    assert type(error) is kind
    assert why in error.why
    assert mend in error.mend


async def test_a_profile_of_the_environment_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert "no profile gone" in (await refusal(of_aws())).why


async def test_an_sso_token_that_has_expired_is_not_used(home):
    (home / "config").write_text(f"{SSO}sso_start_url = https://s.example\nsso_region = r\n")
    cached = {"accessToken": "hush", "expiresAt": "2020-01-01T00:00:00Z"}
    credentials = of_aws(profile="lender")
    with pytest.MonkeyPatch.context() as patch:  # its folder is fixed when botocore is imported
        patch.setattr("botocore.utils.JSONFileCache.__contains__", lambda *_: True)
        patch.setattr("botocore.utils.JSONFileCache.__getitem__", lambda *_: cached)
        assert "SSO session has expired" in (await refusal(credentials)).why


async def test_a_service_that_lends_keys_and_cannot_be_reached_is_named(home, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    (home / "config").write_text(ROLE)
    error = await refusal(of_aws(profile="mover"))
    assert isinstance(error, Unreachable)
    assert "127.0.0.1:9" in error.why


async def test_keys_that_expire_are_got_anew_before_they_do(home, clock):
    lends(home)
    credentials = of_aws(clock, profile="lender")
    first = await credentials.signer()
    assert await credentials.signer() is first
    before = await headers(credentials)
    clock.ahead = 31
    assert (await headers(credentials))["x-amz-security-token"] != before["x-amz-security-token"]


async def test_what_the_server_calls_expired_is_got_anew_at_once(home, clock):
    lends(home, minutes=600)
    credentials = of_aws(clock, profile="lender")
    assert (await headers(credentials))["x-amz-security-token"] == "token-1"
    clock.ahead = 10
    credentials.forget()
    assert (await headers(credentials))["x-amz-security-token"] == "token-2"
    credentials.forget()  # said of a request that the first keys had signed
    assert (await headers(credentials))["x-amz-security-token"] == "token-2"


async def test_a_request_whose_token_has_expired_is_sent_again_with_a_new_one(home, serving, http, monkeypatch):
    monkeypatch.setattr("tidegate.objects.credentials.MOMENT", 0)
    lends(home, minutes=600)
    expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    nothing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    url = serving(lambda _, sent: (400, expired) if sent["x-amz-security-token"] == "token-1" else (200, nothing))
    side = S3Side("receipts", BUCKET.model_copy(update={"profile": "lender", "endpoint": url}), http)
    assert [each async for each in side.list()] == []
    always = serving(lambda *_: (400, expired))
    side = S3Side("receipts", BUCKET.model_copy(update={"profile": "lender", "endpoint": always}), http)
    with pytest.raises(Refused, match="ExpiredToken"):
        _ = [each async for each in side.list()]


def test_the_region_is_that_of_the_environment_or_of_the_profile(home, monkeypatch):
    (home / "config").write_text("[default]\nregion = eu-west-1\n[profile far]\nregion = ap-south-1\n")
    assert aws_region(None) == "eu-west-1"
    assert aws_region("far") == "ap-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert aws_region(None) == "eu-west-3"
    monkeypatch.delenv("AWS_REGION")
    assert aws_region(None) == "eu-west-2"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(InvalidMigration, match="no profile gone"):
        aws_region("gone")


def test_there_may_be_no_region():
    assert aws_region(None) is None


# Kept, and got anew


async def test_who_waits_for_a_failure_gets_the_same_one(clock):
    asked = []

    def grant(anew):
        asked.append(anew)
        raise Unreachable("no answer")

    credentials = Credentials(grant, clock)
    for _ in range(3):
        with pytest.raises(Unreachable):
            await credentials.signer()
    assert asked == [True]
    clock.ahead = 6
    with pytest.raises(Unreachable):
        await credentials.signer()
    assert asked == [True, True]


async def test_what_is_still_good_is_used_while_nothing_new_can_be_had(clock):
    old, new, answers = AzureToken("old"), AzureToken("new"), []

    def grant(anew):
        if not answers:
            raise Unreachable("no answer")
        return answers.pop()

    answers.append(Granted(old, renew=clock() + 3000, expires=clock() + 3600))
    credentials = Credentials(grant, clock)
    for clock.ahead in (0, 3001, 3500):
        assert await credentials.signer() is old
    answers.append(Granted(new))
    assert await credentials.signer() is old  # just tried
    clock.ahead = 3532
    assert await credentials.signer() is new


# Azure


def sas(container: str, *, key=KEY, start=timedelta(), hours=1) -> str:
    """A service SAS for a container, as Azure's documentation lays out for versions since 2020-12-06."""
    now = datetime.now(UTC)
    begin, end = ((now + each).strftime("%Y-%m-%dT%H:%M:%SZ") for each in (start, timedelta(hours=hours)))
    fields = {"sp": "rwdl", "st": begin, "se": end, "spr": "https,http", "sv": "2023-11-03", "sr": "c"}
    resource = f"/blob/{ACCOUNT}/{container}"
    # permissions, start, expiry, resource, policy, address, protocol, version, kind; snapshot and so on: none
    signed = ["rwdl", begin, end, resource, "", "", "https,http", "2023-11-03", "c", *[""] * 7]
    digest = hmac.digest(base64.b64decode(key), "\n".join(signed).encode(), "sha256")
    return urlencode(fields | {"sig": base64.b64encode(digest).decode()}, quote_via=quote)


@pytest.fixture
async def container(azurite, http, monkeypatch):
    """Of Azurite, and what makes the side that has a SAS for it."""
    monkeypatch.setenv("ACCOUNT_KEY", KEY)
    spec = AzureContainer(account=ACCOUNT, container="with-sas", endpoint=azurite.url)
    owner = BlobSide("receipts", spec.model_copy(update={"key": "env:ACCOUNT_KEY"}), http)
    await owner.create()

    def side(text: str) -> BlobSide:
        monkeypatch.setenv("SAS", text)
        return BlobSide("receipts", spec.model_copy(update={"sas": "env:SAS"}), http)

    return side


@pytest.mark.parametrize("before", ["", "?", "https://devstoreaccount1.blob.core.windows.net/with-sas?"])
async def test_a_sas_opens_its_container(container, before):
    side = container(before + sas("with-sas"))
    there = await side.stat("a key")
    await side.put("a key", b"receipt", Properties(), there.etag if there else None, lambda _: None)
    assert (await side.get("a key")).body == b"receipt"
    assert [each.key async for each in side.list()] == ["a key"]


@pytest.mark.parametrize(
    "text",
    [
        sas("another"),
        sas("with-sas", key=base64.b64encode(b"another").decode()),
        sas("with-sas", start=timedelta(minutes=10)),  # made where the clock is ahead
    ],
)
async def test_a_sas_that_azure_refuses_is_not_shown(container, text):
    with pytest.raises(Refused, match=r"AuthenticationFailed|AuthorizationFailure") as caught:
        await container(text).stat("key")
    assert text.partition("sig=")[2] not in str(caught.value) + repr(caught.value.__cause__)
    assert caught.value.mend


async def test_a_wrong_account_key_is_refused(azurite, http, monkeypatch):
    monkeypatch.setenv("WRONG", base64.b64encode(b"hush").decode())
    spec = CONTAINER.model_copy(update={"endpoint": azurite.url, "key": "env:WRONG"})
    with pytest.raises(Refused, match="check the keys"):
        await BlobSide("receipts", spec, http).exists()


async def test_a_key_that_is_none_is_not_shown(monkeypatch):
    monkeypatch.setenv("KEY", "hush!")
    assert "isn't base64" in (await refusal(of_azure(key="env:KEY"))).why


@pytest.mark.parametrize("text", ["hush", "sv=1&se=hush", "sv=1&sig=hush hush", "sv=1&sig=hush&se=hush", "?", ""])
async def test_what_is_no_sas_is_not_sent(monkeypatch, text):
    monkeypatch.setenv("SAS", text)
    assert isinstance(await refusal(of_azure(sas="env:SAS")), InvalidMigration)


async def test_a_sas_that_expires_is_noticed_before_azure_is_asked(monkeypatch, clock):
    monkeypatch.setenv("SAS", sas("receipts") + "hush")
    credentials = of_azure(clock, sas="env:SAS")
    assert isinstance(await credentials.signer(), AzureSas)
    clock.ahead = 3601
    assert "has expired" in (await refusal(credentials)).why
    monkeypatch.setenv("SAS", sas("receipts", hours=3))
    clock.ahead += 6
    assert isinstance(await credentials.signer(), AzureSas)


@pytest.mark.parametrize(
    "se", ["2020-01-01", "2020-01-01T00:00Z", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.0000000Z"]
)
async def test_an_expiry_is_written_in_many_ways(monkeypatch, se):
    monkeypatch.setenv("SAS", f"sv=1&sig=hush&se={quote(se)}")
    assert "has expired" in (await refusal(of_azure(sas="env:SAS"))).why


async def test_a_policy_of_the_container_may_hold_the_expiry(monkeypatch):
    monkeypatch.setenv("SAS", "sv=1&si=policy&sig=hush")
    assert isinstance(await of_azure(sas="env:SAS").signer(), AzureSas)


@pytest.fixture
def app_service(serving, monkeypatch):
    """Hands tokens of an hour out until it is told to stop."""
    given = []

    def answer(path, sent):
        if sent["X-IDENTITY-HEADER"] != "hush" or "resource=https://storage.azure.com&" not in f"{unquote(path)}&":
            return 401, "{}"
        if None in given:
            return 400, '{"statusCode": 400, "message": "no such identity"}'
        given.append(f"hush-{len(given)}")
        token = {"access_token": given[-1], "expires_on": str(int(time.time()) + 3600), "token_type": "Bearer"}
        return 200, json.dumps(token | {"resource": "https://storage.azure.com"})

    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    monkeypatch.setenv("IDENTITY_ENDPOINT", serving(answer))
    monkeypatch.setenv("IDENTITY_HEADER", "hush")
    return given


async def test_entra_ids_token_is_kept_until_minutes_before_it_expires(app_service, clock):
    credentials = of_azure(clock)
    sent = await headers(credentials)
    assert sent["authorization"] == "Bearer hush-0"
    assert sent["x-ms-version"]
    assert sent["x-ms-date"]
    clock.ahead = 3000
    assert await headers(credentials) == await headers(credentials)
    clock.ahead = 3400
    assert (await headers(credentials))["authorization"] == "Bearer hush-1"
    credentials.forget()
    clock.ahead = 3410
    credentials.forget()
    assert (await headers(credentials))["authorization"] == "Bearer hush-2"


async def test_entra_ids_refusal_is_a_line(app_service, capfd):
    app_service.append(None)
    error = await refusal(of_azure())
    assert isinstance(error, Refused)
    assert "no such identity" in error.why
    assert capfd.readouterr() == ("", "")


async def test_that_nobody_is_logged_in_is_a_line(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("PATH", str(tmp_path))
    error = await refusal(of_azure())
    assert "no identity was found" in error.why
    assert "az login" in error.mend
    assert capfd.readouterr() == ("", "")


async def test_entra_ids_token_goes_nowhere_without_tls(app_service):
    assert "without TLS" in (await refusal(of_azure(endpoint="http://h.example"))).why
    assert app_service == []
