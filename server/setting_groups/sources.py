"""Where settings come from beside arguments, environment and TOML: files that the environment names."""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

PREFIX = "ISTHMUS_"


class SecretFiles(PydanticBaseSettingsSource):
    """Values from files: `ISTHMUS_DATABASE_URL_FILE=/run/secrets/db` sets `database_url`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The stripped text of the file that the environment names for this field."""
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        text = Path(path).read_text().strip() if path else None
        return self.prepare_field_value(field_name, field, text, False), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Every field that a file provides."""
        values = {
            name: self.get_field_value(info, name)[0] for name, info in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}
