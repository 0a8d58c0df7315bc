"""Published JSON schemas; `python -m edge_app.schema` writes that of manifest.json anew when the record changed."""

import json
from pathlib import Path
from typing import Any

from edge_app.manifest import Manifest

SCHEMA_FILE = Path(__file__).with_name("data") / "manifest.schema.json"


def manifest_schema() -> str:
    """Return the schema as JSON text; it is made from `edge_app.manifest.Manifest`, so it says what is checked."""
    return published(Manifest.model_json_schema())


def published(schema: dict[str, Any]) -> str:
    """Return a schema that pydantic has made as the text that is published, which differs only where records do."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(manifest_schema(), encoding="utf-8")
