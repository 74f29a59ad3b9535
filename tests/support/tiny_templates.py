"""Chat templates in the manner of each family: its markers, where the system text goes, how tools are shown and called.

They stand in templates/NAME.jinja. Written for the tests; shorter than the published ones, which have the same joints.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "templates"


def template(name: str) -> str:
    """Returns templates/NAME.jinja."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
