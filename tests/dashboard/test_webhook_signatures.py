import hashlib
import hmac

import pytest

from dashboard.webhooks.presets import PRESETS
from dashboard.webhooks.signatures import Scheme, Verdict, check, sign

GITHUB, STRIPE, SLACK = (PRESETS[name].scheme for name in ("github", "stripe", "slack"))

# The example of docs.github.com, "Validating webhook deliveries".
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

# The example of api.slack.com, "Verifying requests from Slack".
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_TIME = "1531420618"
SLACK_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)

NOW = 1_700_000_000


def stripe_signature(secret, body, at):
    """As docs.stripe.com, "Verify webhook signatures manually", puts it."""
    signed = f"{at}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def test_github_as_its_documentation_has_it():
    headers = {"X-Hub-Signature-256": GITHUB_SIGNATURE}

    assert sign(GITHUB, GITHUB_SECRET, GITHUB_BODY) == GITHUB_SIGNATURE
    assert check(GITHUB, [GITHUB_SECRET], headers, GITHUB_BODY, NOW) is Verdict.GENUINE
    assert check(GITHUB, [GITHUB_SECRET], headers, b"Hello, World", NOW) is Verdict.WRONG


def test_slack_as_its_documentation_has_it():
    headers = {"X-Slack-Signature": SLACK_SIGNATURE, "X-Slack-Request-Timestamp": SLACK_TIME}

    assert sign(SLACK, SLACK_SECRET, SLACK_BODY, SLACK_TIME) == SLACK_SIGNATURE
    for now, verdict in (
        (int(SLACK_TIME), Verdict.GENUINE),
        (int(SLACK_TIME) + 300, Verdict.GENUINE),
        (int(SLACK_TIME) + 301, Verdict.STALE),
        (int(SLACK_TIME) - 301, Verdict.STALE),
    ):
        assert check(SLACK, [SLACK_SECRET], headers, SLACK_BODY, now) is verdict


def test_stripe_as_its_documentation_has_it():
    body = b'{"id": "evt_1"}'
    header = f"t={NOW},v1={stripe_signature('whsec_x', body, NOW)},v0={'6' * 64}"

    def told(secret="whsec_x", header=header, now=NOW, body=body):
        return check(STRIPE, [secret], {"Stripe-Signature": header}, body, now)

    assert told() is Verdict.GENUINE
    assert told(secret="whsec_y") is Verdict.WRONG
    assert told(now=NOW + 301) is Verdict.STALE
    assert told(header=header.replace(f"t={NOW}", f"t={NOW + 1}")) is Verdict.WRONG
    assert told(header=header.replace("v1=", "v2=")) is Verdict.UNSIGNED
    assert told(header=header.replace(f"t={NOW},", "")) is Verdict.UNDATED
    assert told(header=header.replace(f"t={NOW}", "t=now")) is Verdict.UNDATED


def test_while_stripe_rotates_one_signature_of_several_is_enough():
    body = b"{}"
    old, new = (stripe_signature(secret, body, NOW) for secret in ("old", "new"))
    headers = {"stripe-signature": f"t={NOW}, v1={old}, v1={new}"}

    assert check(STRIPE, ["new"], headers, body, NOW) is Verdict.GENUINE
    assert check(STRIPE, ["other"], headers, body, NOW) is Verdict.WRONG


def test_either_of_two_live_secrets_counts():
    headers = {"X-Hub-Signature-256": sign(GITHUB, "old", b"x")}

    assert check(GITHUB, ["new", "old"], headers, b"x", NOW) is Verdict.GENUINE
    assert check(GITHUB, ["new"], headers, b"x", NOW) is Verdict.WRONG
    assert check(GITHUB, [], headers, b"x", NOW) is Verdict.WRONG


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_algorithms_and_spellings(algorithm, encoding):
    scheme = Scheme("X-Sig", algorithm=algorithm, encoding=encoding, prefix="v=")
    signature = sign(scheme, "k", b"\xff\x00body")

    assert check(scheme, ["k"], {"x-sig": signature}, b"\xff\x00body", NOW) is Verdict.GENUINE
    is_hex = encoding == "hex"
    shouted = {"X-SIG": "v=" + signature[2:].upper()}
    verdict = check(scheme, ["k"], shouted, b"\xff\x00body", NOW)
    assert verdict is (Verdict.GENUINE if is_hex else Verdict.WRONG)


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (None, Verdict.UNSIGNED),
        ("", Verdict.UNSIGNED),
        ("sha256=", Verdict.UNSIGNED),
        ("sha1=" + "0" * 40, Verdict.UNSIGNED),
        ("sha256=" + "0" * 64, Verdict.WRONG),
        ("sha256=é", Verdict.WRONG),
        ("sha256=" + "0" * 10_000, Verdict.WRONG),
        (",".join(["sha256=0"] * 5000), Verdict.WRONG),
    ],
)
def test_headers_that_are_no_signature(header, verdict):
    headers = {} if header is None else {"X-Hub-Signature-256": header}

    assert check(GITHUB, ["k"], headers, b"x", NOW) is verdict


def test_a_digit_of_another_script_is_no_time():
    headers = {"X-Slack-Signature": "v0=0", "X-Slack-Request-Timestamp": "١٢٣"}

    assert check(SLACK, ["k"], headers, b"x", NOW) is Verdict.UNDATED
