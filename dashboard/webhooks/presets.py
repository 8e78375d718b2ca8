"""How well-known senders sign and number what they send."""

from dataclasses import dataclass

from dashboard.webhooks.signatures import Scheme


@dataclass(frozen=True, slots=True)
class Preset:
    """What a sender's documentation says.

    event_id: template of what it numbers its events by; empty: the body itself counts.
    brings_secret: the sender makes the secret, so that it has to be pasted here.
    hates_refusals: it takes any answer but a 2xx for a failure, repeats the request, and in the end
    switches the webhook off.
    """

    scheme: Scheme
    event_id: str = ""
    brings_secret: bool = False
    hates_refusals: bool = True


PRESETS = {
    "github": Preset(Scheme("X-Hub-Signature-256", prefix="sha256="), "{header:X-GitHub-Delivery}"),
    "stripe": Preset(
        Scheme("Stripe-Signature", prefix="v1=", signed="{timestamp}.{body}", timestamp="t="),
        "{id}",
        brings_secret=True,
    ),
    "slack": Preset(
        Scheme(
            "X-Slack-Signature",
            prefix="v0=",
            signed="v0:{timestamp}:{body}",
            timestamp="X-Slack-Request-Timestamp",
        ),
        "{event_id|trigger_id}",
        brings_secret=True,
    ),
    "generic": Preset(Scheme("X-Signature", prefix="sha256="), hates_refusals=False),
}
