"""What happened before you came: three days of work, told through the same calls as the pages use.

Workflows run in a real worker, people answer with their own rights, and a webhook receives signed
requests; only the clock is set back.
"""

from collections.abc import Callable
from functools import partial

from durable.models import Promise
from examples.past import in_the_past
from examples.story import actors, company, hooks, money

BEGAN = 74.0
"""Hours ago."""


def was_told() -> bool:
    """Whether anything has happened in this database."""
    return Promise.objects.exists()


def tell() -> None:
    """Let it all happen; takes some seconds."""
    with in_the_past(BEGAN) as past, actors.quiet(), actors.working():
        for hours, happen in _EVENTS:
            past.go_on(hours)
            happen()
            actors.rest()
        past.go_on(0)


def _let_time_pass() -> None:
    """Nothing but a reminder, or others who are asked as well."""


_EVENTS: tuple[tuple[float, Callable[[], None]], ...] = (
    (BEGAN, hooks.make_webhooks),
    (71.5, hooks.start_release),
    (70.0, money.buy_chairs),
    (66.2, money.decide_on_chairs),
    (53.0, hooks.open_pull_request),
    (50.0, company.run_late),
    (49.3, money.bill_paper),
    (47.0, company.renew),
    (46.1, money.pay_paper),
    (44.0, hooks.merge_pull_request),
    (31.0, company.open_early),
    (29.0, company.ask_for_access),
    (27.5, company.send_back),
    (26.0, company.deploy_search),
    (25.9, money.offer_ovens),
    (25.2, company.stop_search),
    (24.0, money.send_other_offer),
    (23.0, money.spend_some),
    (22.4, money.approve_some),
    (21.0, money.refund_lamp),
    (20.5, money.pay_lamp_back),
    (9.5, company.begin_to_count_stock),
    (8.99, _let_time_pass),
    (7.4, money.bill_desks),
    (6.0, money.begin_to_pay_desks),
    (5.39, _let_time_pass),
    (5.1, money.refund_shelf),
    (4.6, partial(money.buy_from_file, 0)),
    (4.2, money.ask_about_shelf),
    (3.8, company.be_away),
    (3.39, _let_time_pass),
    (3.1, partial(money.buy_from_file, 1)),
    (3.0, money.spend_more),
    (2.6, company.deploy_shop),
    (2.2, company.ask_again),
    (1.9, company.take_on),
    (1.39, partial(money.buy_from_file, 2)),
    (1.1, company.begin_to_close_month),
    (0.7, money.rent_a_hall),
    (0.4, partial(money.buy_from_file, 3)),
    (0.3, money.put_off),
)
