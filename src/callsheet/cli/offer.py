"""Offering, before a run, to go on with one of the same script that ended early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callsheet.cli.streams import say
from callsheet.cli.trust_prompt import ask

if TYPE_CHECKING:
    from callsheet.app.plan import RunOrder, Surroundings


def order_after_offer(order: RunOrder, around: Surroundings) -> RunOrder:
    """The order, or where the person would rather have that one for going on with a run; No starts anew.

    Raises:
        CallsheetError: It cannot go on.
    """
    from callsheet.app.offering import offer_for, taken

    offer = offer_for(order, around)
    if offer is None:
        return order
    begun = offer.begun_at[:16].replace("T", " ")
    say(
        f"{offer.run_id} of this script, begun {begun} UTC, ended early: {offer.answered} of its {offer.agents} agents "
        "have answered, and would not be asked again."
    )
    return taken(order, offer, around) if ask("Go on with it instead of beginning anew?") else order
