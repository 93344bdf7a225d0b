"""What a practice partner can be told: sizes, limit, what its answers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

ProfileName = Literal["honoka", "tsubaki"]
SayScope = Literal["always", "never", "alternate"]

DEFAULT_SEED = 20260401


class Limit(BaseModel):
    """So many calls per so many seconds; how they are counted is the profile's own way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int = Field(ge=0)
    per_seconds: float = Field(gt=0)


class Settings(BaseModel):
    """Settings of one server; ``offices`` None means two or three, as the seed says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = DEFAULT_SEED
    organizations: tuple[str, ...]
    offices: int | None = Field(default=None, ge=1, le=90)
    practitioners: int = Field(default=15, ge=0)
    patients: int = Field(default=150, ge=0)
    dirty_share: float = Field(default=0.02, ge=0, le=1)
    limit: Limit
    say_scope: SayScope = "always"
    rate_limit_fields: bool = False
    max_page_size: int = Field(default=500, ge=1)

    def changed(self, changes: dict[str, Any]) -> Settings:
        """These settings with some changed; raises pydantic's ValidationError for unknown or wrong ones."""
        return Settings.model_validate({**self.model_dump(), **changes})


PROFILE_SETTINGS: dict[ProfileName, Settings] = {
    "honoka": Settings(
        organizations=("sakura-care", "momiji-care", "kaede-care"), limit=Limit(requests=60, per_seconds=10)
    ),
    "tsubaki": Settings(
        organizations=("momiji-care", "hinata-care"),
        limit=Limit(requests=120, per_seconds=10),
        say_scope="never",
        max_page_size=200,
    ),
}


def load_settings(profile: ProfileName, file: Path | None, changes: dict[str, Any]) -> Settings:
    """The profile's defaults, then the file (YAML or JSON), then single changes."""
    settings = PROFILE_SETTINGS[profile]
    if file is not None:
        text = file.read_text(encoding="utf-8")
        settings = settings.changed(json.loads(text) if file.suffix == ".json" else yaml.safe_load(text) or {})
    return settings.changed(changes)
