"""The base of every frozen record that is stored in a run, a data set or a bundle."""

import hashlib
import json
from typing import Self

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown keys, and has a hash that does not depend on key order."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def digest(self) -> str:
        """Return the sha256 (hex) of the record as JSON with sorted keys and no spaces."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def replace(self, **changes: object) -> Self:
        """Return a copy with some fields changed, validated as a new record is."""
        return self.model_validate(self.model_dump() | changes)
