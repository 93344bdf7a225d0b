"""The section ``push.list`` of a partner file: how the visits of a week are listed at the partner."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from partner_sync.partners.master import Paging
from partner_sync.partners.parts import ByOwnName, Condition, DottedPath, Parameters, Part, PathTemplate, Text

#: What ``parameters`` may carry: the week's Monday, its Sunday, the Monday after, and our code of the organization.
ListValue = Literal["week", "week_end", "next_week", "organization"]


class VisitsList(Part):
    """A list of the visits that the partner holds in one week.

    ``parameters`` are the partner's parameter names with the values they carry; a list means equal names. ``fixed``
    are parameters that never change. Our visit is the record whose value at ``key_at`` is our visit id; ``ref_at`` is
    where a record has the partner's own name for the visit; ``absent_when`` says which records count as taken away.
    """

    path: PathTemplate
    parameters: Annotated[Mapping[Text, ListValue], ByOwnName] = Field(default_factory=dict)
    fixed: Parameters = Field(default_factory=dict)
    records_at: DottedPath | None = None
    key_at: DottedPath
    ref_at: DottedPath | None = None
    paging: Paging | None = None
    absent_when: Condition | None = None

    @model_validator(mode="after")
    def _one_week(self) -> VisitsList:
        if "{" in self.path:
            raise ValueError("`path` of a list takes no {key} or {ref}")
        if not {"week", "next_week", "week_end"} & set(self.parameters.values()):
            msg = f"`parameters` must name the week; they may carry {', '.join(get_args(ListValue))}"
            raise ValueError(msg)
        if twice := set(self.parameters) & set(self.fixed):
            msg = f"`fixed` and `parameters` both have {', '.join(sorted(twice))}"
            raise ValueError(msg)
        return self

    @property
    def endpoint(self) -> str:
        return f"GET {self.path}"

    def query(self, monday: date, organization: str) -> dict[str, str | int]:
        """The parameters for one week of one organization."""
        values: dict[ListValue, str] = {
            "week": monday.isoformat(),
            "week_end": (monday + timedelta(days=6)).isoformat(),
            "next_week": (monday + timedelta(days=7)).isoformat(),
            "organization": organization,
        }
        fixed = {name: str(value).lower() if isinstance(value, bool) else value for name, value in self.fixed.items()}
        return fixed | {name: values[value] for name, value in self.parameters.items()}
