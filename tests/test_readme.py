"""What README.md shows must be true of the code."""

import re
from pathlib import Path

from freehold.call.providers import load_config
from freehold.cli import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks() -> list[str]:
    """Indented blocks, without their indentation."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", README, re.M)
    return [re.sub(r"^    ", "", block, flags=re.M) for block in found]


def test_the_configuration_shown_is_valid(tmp_path: Path) -> None:
    shown = [block for block in blocks() if re.match(r"\s*(own|providers|server):", block)]
    assert len(shown) == 2
    for block in shown:
        path = tmp_path / "freehold.yaml"
        path.write_text(block)
        load_config(
            path,
            {"OPENAI_API_KEY": "x" * 20, "SUPPORT_BOT_KEY": "fh-0123456789abcdef", "CLAIMS_KEY": "fh-fedcba9876543210"},
        )


def test_the_commands_shown_exist() -> None:
    verbs = set(re.findall(r"^(?:\.venv/bin/)?freehold (\w+)", "\n".join(blocks()), re.M))
    assert verbs
    assert verbs <= set(VERBS)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make ([\w-]+)", "\n".join(blocks()), re.M)) <= targets


def test_the_files_linked_exist() -> None:
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_number_of_faults_is_right() -> None:
    from freehold.fake.faults import FAULTS

    told = re.search(r"(\d+) faults", README)
    assert told is not None
    assert int(told[1]) == len(FAULTS)
