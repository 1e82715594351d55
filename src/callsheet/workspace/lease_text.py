"""What the file of a lease says, checked. Apart, because loading Pydantic takes time, and most runs find no other."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError


class LeaseText(BaseModel):
    """The keys of a lease's file; `Holder` says what they mean."""

    model_config = ConfigDict(extra="ignore")

    run_id: str
    host: str
    pid: int
    boot_id: str
    process_start: str
    started_at: str
    mode: Literal["exclusive", "shared"]


def read_lease(text: bytes) -> LeaseText | None:
    """What a file says; None where it is no lease's."""
    try:
        return LeaseText.model_validate_json(text)
    except ValidationError:
        return None
