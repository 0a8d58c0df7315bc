"""The published JSON schema of manifest.json; `python -m edge_app.schema` writes it anew when the record changed."""

import json
from pathlib import Path

from edge_app.manifest import Manifest

SCHEMA_FILE = Path(__file__).with_name("data") / "manifest.schema.json"


def manifest_schema() -> str:
    """Return the schema as JSON text; it is made from `edge_app.manifest.Manifest`, so it says what is checked."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Manifest.model_json_schema()
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(manifest_schema(), encoding="utf-8")
