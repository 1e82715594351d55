"""Short names that our table does not have: the service's own list of models knows what is the newest of a line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import anthropic
import anyio
import httpx2
from anthropic.types.beta import BetaModelInfo

from callsheet.agents.anthropic.client import Client
from callsheet.agents.anthropic.door import Door
from callsheet.agents.anthropic.faults import SERVICE_ERRORS, judge
from callsheet.agents.models import ModelTable
from callsheet.ports import AgentReporter

_NAME = re.compile(r"[a-z]{3,20}")
_LIST_WITHIN_S = 10.0
_MOST_MODELS = 1000


class ModelLines:
    """Finds model ids for names. The service is asked at most once, and only for a name that nobody here knows.

    Args:
        models: Our own table; what it has is taken from there.
        client: To ask the service with.
        door: Says when it may be asked.
    """

    def __init__(self, models: ModelTable, client: Client, door: Door) -> None:
        self._models = models
        self._client = client
        self._door = door
        self._asking = anyio.Lock()
        self._listed: Sequence[BetaModelInfo] | None = None

    async def resolve(self, *names: str | None, agent: str, reporter: AgentReporter) -> str:
        """The model id of the first name that is given; the name itself where nobody knows another.

        A single word that our table lacks (`mythos`) is the newest model of that line which the service has. Services
        without such a list know what the name means, or say that they do not.

        Args:
            names: What is asked for, the nearest first.
            agent: Who asks.
            reporter: Is told where the service has to be waited for.

        Raises:
            BackendUnavailableError: The service stays away for all (CONTRACT K05).
        """
        model = self._models.resolve(*names)
        if not self._models.service.lists or not _NAME.fullmatch(model.lower()):
            return model
        return self._newest(await self._list(agent, reporter), model.lower()) or model

    async def _list(self, agent: str, reporter: AgentReporter) -> Sequence[BetaModelInfo]:
        async with self._asking:
            while self._listed is None:
                with suppress(*SERVICE_ERRORS):  # it may pass: the door says when to ask again, and how often
                    async with self._door.request(reporter, agent=agent, goes_first=False):
                        self._listed = await self._ask()
        return self._listed

    async def _ask(self) -> Sequence[BetaModelInfo]:
        """The list; empty where the service has none, or does not give it.

        Raises:
            anthropic.APIError: It failed in a way that may pass.
        """
        if not isinstance(self._client, anthropic.AsyncAnthropic):
            return ()
        try:
            page = await self._client.beta.models.list(limit=_MOST_MODELS, timeout=_LIST_WITHIN_S)
        except (anthropic.AnthropicError, httpx2.TransportError) as error:
            if judge(error, self._door.now_s(), service=self._door.service).kind == "again":
                raise
            return ()
        except ValueError:
            return ()
        return page.data or ()

    @staticmethod
    def _newest(listed: Sequence[BetaModelInfo], line: str) -> str | None:
        found = [each for each in listed if each.line == line and each.lifecycle == "active"]
        return max(found, key=lambda each: each.created_at).id if found else None
