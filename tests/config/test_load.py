"""freehold.yaml: what loads, and what each mistake says about itself."""

import hashlib
import json
from pathlib import Path

import pytest

from freehold.config.load import find, load, loads
from freehold.config.problems import ConfigErrors
from freehold.config.schema import Auto, Config
from freehold.errors import ConfigError

PROVIDERS = ["openai", "anthropic", "gemini", "groq", "ollama"]

FRAGMENT = """\
providers:
  openai:    {base_url: "http://127.0.0.1:9001/v1", api_key: "${UPSTREAM_KEY}"}
  anthropic: {base_url: "http://127.0.0.1:9002", api_key: "${UPSTREAM_KEY}"}
  gemini:    {base_url: "http://127.0.0.1:9003", api_key: "${UPSTREAM_KEY}"}
keys:
  - {name: ci, key: "fh-0123456789abcdef"}
models:
  fast: [own/banking77, openai/gpt-4o-mini]
"""


def config(text: str, **env: str) -> Config:
    return loads(text.encode(), env, providers=PROVIDERS).config


def mistakes(text: str | bytes, **env: str) -> list[ConfigError]:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigErrors) as caught:
        loads(data, env, providers=PROVIDERS)
    return caught.value.errors


def mistake(text: str | bytes, **env: str) -> ConfigError:
    found = mistakes(text, **env)
    assert len(found) == 1, [str(error) for error in found]
    return found[0]


def test_the_promised_fragment_loads() -> None:
    found = config(FRAGMENT, UPSTREAM_KEY="sk-upstream")
    assert found.providers["openai"].base_url == "http://127.0.0.1:9001/v1"
    assert {p.api_key for p in found.providers.values()} == {"sk-upstream"}
    assert found.models == {"fast": ["own/banking77", "openai/gpt-4o-mini"]}
    assert found.keys[0].key == "fh-0123456789abcdef"


@pytest.mark.parametrize("text", ["", "{}", "---\n", "# nothing\n", "providers:\nmodels:\nown:\nkeys:\n"])
def test_a_file_with_nothing_in_it_is_the_defaults(text: str) -> None:
    assert config(text) == Config()


def test_a_provider_named_without_settings_takes_them_all_from_its_row() -> None:
    assert list(config("providers:\n  openai:\n  groq:\n").providers) == ["openai", "groq"]


def test_no_file_is_the_defaults() -> None:
    assert load(None, {}).config == Config()


def test_yaml_is_read_by_the_core_schema_of_1_2() -> None:
    found = config(
        'models: {no: [own/banking77], on: ["own/banking77"]}\n'
        "keys: [{name: a, key: fh-0123456789abcdef, expires: 2027-01-31}]\n"
    )
    assert set(found.models) == {"no", "on"}
    assert found.keys[0].expires == "2027-01-31"


def test_auto_has_its_rules() -> None:
    found = config("models: {cheap: {among: [own/banking77, openai/gpt-4o-mini], objective: balanced}}")
    assert found.models["cheap"] == Auto(["own/banking77", "openai/gpt-4o-mini"], "balanced")


def test_anchors_and_aliases_are_understood() -> None:
    found = config("timeouts: &slow {total: 30}\nproviders: {openai: {timeouts: *slow}}")
    assert found.providers["openai"].timeouts == found.timeouts


# Variables


def test_a_variable_is_expanded_after_parsing_so_it_cannot_add_yaml() -> None:
    evil = 'x", base_url: "http://evil.example'
    found = config("providers: {openai: {headers: {X-Team: '${TEAM}'}}}", TEAM=evil)
    assert found.providers["openai"].headers == {"X-Team": evil}
    assert found.providers["openai"].base_url is None


@pytest.mark.parametrize(
    ("text", "env", "expected"),
    [
        ("${HOST}", {"HOST": "gw.example"}, "gw.example"),
        ("a-${HOST}.b", {"HOST": "c"}, "a-c.b"),
        ("${HOST:-localhost}", {}, "localhost"),
        ("${HOST:-localhost}", {"HOST": ""}, "localhost"),
        ("${A}${B}", {"A": "x", "B": "y"}, "xy"),
    ],
)
def test_expansion(text: str, env: dict[str, str], expected: str) -> None:
    assert config(f"server: {{host: '{text}'}}", **env).server.host == expected


def test_a_doubled_dollar_is_a_literal_one() -> None:
    found = config("providers: {openai: {headers: {X-A: '$${HOME} $5'}}}")
    assert found.providers["openai"].headers["X-A"] == "${HOME} $5"


def test_numbers_and_truth_values_may_come_from_variables() -> None:
    found = config("server: {port: '${PORT}', drain_seconds: '${D:-2.5}'}\nbox: ${BOX}", PORT="9000", BOX="false")
    assert (found.server.port, found.server.drain_seconds, found.box) == (9000, 2.5, False)


def test_digits_from_a_variable_stay_text_where_text_belongs() -> None:
    assert config("providers: {openai: {api_key: '${K}'}}", K="1234567890").providers["openai"].api_key == "1234567890"


def test_a_missing_variable_is_named_with_its_place() -> None:
    error = mistake("providers:\n  openai:\n    api_key: ${NOT_THERE}\n")
    assert str(error) == ("freehold.yaml:3:14: providers.openai.api_key: the environment variable NOT_THERE is not set")
    assert error.hint
    assert "${NOT_THERE:-" in error.hint


def test_an_empty_variable_is_no_key() -> None:
    assert "K is empty" in mistake("providers: {openai: {api_key: '${K}'}}", K="").message


# Mistakes: text, line, column, key, words of the message, words of the hint

MISTAKES = [
    ("server: {prot: 1}", 1, 10, "server.prot", "unknown key", "did you mean port?"),
    ("servr: {}", 1, 1, "servr", "unknown key", "did you mean server?"),
    ("zzzzzz: 1", 1, 1, "zzzzzz", "unknown key", "it may have server"),
    ("server:\n  port: 99999\n", 2, 9, "server.port", "whole number from 0 to 65535, got the number 99999", ""),
    ('server: {port: "8080"}', 1, 16, "server.port", "got the text '8080'", "remove the quotes"),
    ("server: {port: 1.5}", 1, 16, "server.port", "whole number", ""),
    ("server: {port: true}", 1, 16, "server.port", "got true", ""),
    ("server: 8080", 1, 9, "server", "expected a mapping, got the number 8080", ""),
    ("server: {host: ''}", 1, 16, "server.host", "IP address or a host name", ""),
    ("strict: yes", 1, 9, "strict", "expected true or false", "write true"),
    ("strict: off", 1, 9, "strict", "expected true or false", "write false"),
    ("timeouts: {total: 0}", 1, 19, "timeouts.total", "above 0", ""),
    ("retries: -1", 1, 10, "retries", "from 0 to 10", ""),
    ("retries: .nan", 1, 10, "retries", "must be finite", ""),
    ("retries: .inf", 1, 10, "retries", "must be finite", ""),
    ("retries: 1e999", 1, 10, "retries", "must be finite", ""),
    ("retries: " + "9" * 5000, 1, 10, "retries", "must be finite", ""),
    ("providers: {openai: {dialect: chta}}", 1, 31, "providers.openai.dialect", "one of chat", "did you mean chat?"),
    ("providers: {openai: {api_key: 5}}", 1, 31, "providers.openai.api_key", "expected text", "put it in quotes"),
    ("providers: {openai: {base_url: 'ftp://h/v1'}}", 1, 32, "providers.openai.base_url", "http or https", ""),
    ("providers: {openai: {base_url: 'h:80'}}", 1, 32, "providers.openai.base_url", "http or https", ""),
    ("providers: {openai: {base_url: 'http://h:x'}}", 1, 32, "providers.openai.base_url", "not a URL", ""),
    ("providers: {openai: {base_url: 'http://u:p@h'}}", 1, 32, "providers.openai.base_url", "credentials", "api_key"),
    ("providers: {openai: {base_url: 'http://h?key=1'}}", 1, 32, "providers.openai.base_url", "no ? or #", ""),
    ("providers: {opnai: {}}", 1, 13, "providers.opnai", "needs base_url", "did you mean openai?"),
    ("providers: {mine: {dialect: chat}}", 1, 13, "providers.mine", "needs base_url", "base_url"),
    ("providers: {own: {base_url: 'http://h'}}", 1, 13, "providers.own", "not usable", ""),
    ("providers: {a/b: {base_url: 'http://h'}}", 1, 13, "providers.a/b", "not usable", "slash"),
    ("providers: {'a b': {}}", 1, 13, "providers.a b", "a name of letters", ""),
    ("providers: {openai: {headers: {'a b': x}}}", 1, 32, "providers.openai.headers.a b", "not a header", ""),
    ("providers: {openai: {headers: {Host: x}}}", 1, 32, "providers.openai.headers.Host", "connection itself", ""),
    ('providers: {openai: {headers: {X-A: "a\\r\\nb"}}}', 1, 37, "providers.openai.headers.X-A", "one line", ""),
    ("own: [{context: 5}]", 1, 7, "own[0]", "needs path, pull or name", "name only"),
    ("own: [{path: a.gguf, pull: o/n}]", 1, 28, "own[0].pull", "not both", ""),
    ("own: [{path: a.gguf, version: v1}]", 1, 31, "own[0].version", "no versions", "pull"),
    ("own: [{name: a, version: 1.2}]", 1, 26, "own[0].version", "expected text", ""),
    ("own: [{name: a, version: three}]", 1, 26, "own[0].version", "not a version", "v3"),
    ("own: [{name: a, canary: {version: x}}]", 1, 35, "own[0].canary.version", "not a version", "v3"),
    ("own: [{name: a, engine: command}]", 1, 7, "own[0].command", "needs its command line", "PORT"),
    ("own: [{name: a, command: [x]}]", 1, 26, "own[0].command", "engine: command", ""),
    ("own: [{name: a, engine: vllmm}]", 1, 25, "own[0].engine", "one of command", "did you mean vllm?"),
    ("own: [{name: a, url: 'http://h'}]", 1, 22, "own[0].url", "goes with engine", "provider"),
    ("own: [{name: a, load: pinned, idle: 5}]", 1, 37, "own[0].idle", "never unloaded", "start"),
    ("own: [{name: a, shadow: {to: openai/b}}]", 1, 30, "own[0].shadow.to", "only go to an owned model", "own/NAME"),
    ("own: [{name: a, adapters: [{name: x@v1, path: x}]}]", 1, 35, "own[0].adapters[0].name", "not usable", "versions"),
    ("own: [{name: a, engine: vllm, args: ['${PORT}']}]", 1, 38, "own[0].args[0]", "PORT is not set", "default"),
    ("own: [{name: a, memory: lots}]", 1, 25, "own[0].memory", "a number with a unit", ""),
    ("own: [{name: a, env: {a-b: x}}]", 1, 23, "own[0].env.a-b", "not a variable", ""),
    ("own: [{name: a, adapters: [{name: a, path: x}]}]", 1, 35, "own[0].adapters[0].name", "own/a is taken", ""),
    ("engines: {memory: 12 apples}", 1, 19, "engines.memory", "a number with a unit", ""),
    ("own: [{path: a/x.gguf}, {path: b/x.gguf}]", 1, 32, "own[1].path", "own/x is taken", "entry 1"),
    ("own: [{path: a/banking77.gguf}]", 1, 14, "own[0].path", "own/banking77 is taken", "box: false"),
    ("own: [{path: 'a/?.gguf'}]", 1, 14, "own[0].path", "does not make a model's name", "name:"),
    ("keys: [{name: a}]", 1, 8, "keys[0]", "needs a key or a hash", "freehold keys add"),
    ("keys: [{name: a, key: fh-01234567}]", 1, 23, "keys[0].key", "at least 16 characters", ""),
    ("keys: [{name: a, key: 'fh-0123456789 abcdef'}]", 1, 23, "keys[0].key", "spaces", ""),
    ("keys: [{name: a, key: fh-0123456789abcdef, expires: soon}]", 1, 53, "keys[0].expires", "ISO 8601", "2027"),
    ("keys: [{name: a, hash: sha256:abc}]", 1, 24, "keys[0].hash", "64 hexadecimal digits", "freehold keys add"),
    ("models: {a: [b], b: [a]}", 1, 14, "models.a[0]", "circle: a -> b -> a", ""),
    ("models: {a: [a]}", 1, 14, "models.a[0]", "circle: a -> a", ""),
    ("models: {a: []}", 1, 13, "models.a", "at least one model", ""),
    ("models: {a: {among: []}}", 1, 21, "models.a.among", "not empty", ""),
    ("models: {a: own/banking77}", 1, 13, "models.a", "expected a list of names", "put it in [ ]"),
    ("models: {openai/gpt: [own/banking77]}", 1, 10, "models.openai/gpt", "hide the deployment", ""),
    ("models: {a: [own/bankng77]}", 1, 14, "models.a[0]", "no owned model", "did you mean banking77?"),
    ("models: {a: [opnai/gpt-4o]}", 1, 14, "models.a[0]", "no provider opnai", "did you mean openai?"),
    ("models: {fast: [own/banking77], a: [fats]}", 1, 37, "models.a[0]", "no alias fats", "did you mean fast?"),
    ("models: {a: [openai/]}", 1, 14, "models.a[0]", "names no model", "provider/model"),
    ("models: {a: {among: [nope], objective: best}}", 1, 22, "models.a.among[0]", "no alias nope", ""),
    ("box: false\nmodels: {a: [own/banking77]}", 2, 14, "models.a[0]", "no owned model", "none"),
    ("a: 1\nserver: {}\nserver: {}", 3, 1, "", "server stands here twice: first in line 2", ""),
    ("1: 2", 1, 1, "", "a key must be text", "quotes"),
    ("? [a]\n: 1", 1, 3, "", "a key must be text", ""),
    ("server: {<<: {port: 1}}", 1, 10, "server", "merge keys", ""),
    ("box: !!python/object:os.system x", 1, 6, "box", "tag", "plain value"),
    ("[1, 2]", 1, 1, "", "expected a mapping, got a list", ""),
    ("just text", 1, 1, "", "expected a mapping, got text", ""),
    ("server:\n\tport: 1\n", 2, 1, "", "a tab is used", "spaces"),
    ("a: [1", 1, 6, "", "not valid YAML", ""),
    ("server: {host: ${HOST}}", 1, 17, "", "not valid YAML", "a variable needs quotes"),
    ("a: *nowhere", 1, 4, "", "not valid YAML", ""),
    ("{}\n---\n{}\n", 2, 1, "", "more than one document", "---"),
]


@pytest.mark.parametrize(
    ("text", "line", "column", "key", "message", "hint"), MISTAKES, ids=[case[0][:40] for case in MISTAKES]
)
def test_a_mistake_names_place_key_expectation_and_remedy(
    text: str, line: int, column: int, key: str, message: str, hint: str
) -> None:
    found = mistakes(text)
    error = next(e for e in found if message in e.message)
    assert error.where == f"freehold.yaml:{line}:{column}"
    assert error.key == key
    assert hint in (error.hint or "")
    assert all(e is error or "unknown key" in e.message for e in found), [str(e) for e in found]


def test_every_mistake_is_told_at_once_in_the_order_of_the_file() -> None:
    found = mistakes(
        "server: {prt: 1}\nproviders: {openai: {dialect: chta, base_url: 'http://a:b@c'}}\n"
        "keys: [{name: a, key: short}, {nme: b}]\nretries: 99\nmodels: {x: [x]}\n"
    )
    assert [int(e.where.split(":")[1]) for e in found] == [1, 2, 2, 3, 3, 3, 4, 5]


def test_what_follows_from_a_mistake_is_not_told() -> None:
    """The alias names an owned model whose entry is broken: one mistake, not two."""
    error = mistake("own: [{path: 5, name: mine}]\nmodels: {a: [own/mine]}")
    assert error.key == "own[0].path"


def test_an_engines_command_line_is_filled_in_when_it_starts() -> None:
    words = ["serve", "--port", "${PORT}", "${MODEL}", "${NAME}", "${API_KEY}", "x"]
    found = config(f"own: [{{name: a, engine: command, command: {json.dumps([*words[:-1], '${WORD}'])}}}]", WORD="x")
    assert found.own[0].command == words


def test_at_most_twenty_are_listed_and_the_rest_counted() -> None:
    with pytest.raises(ConfigErrors) as caught:
        loads("".join(f"wrong{i}: 1\n" for i in range(50)).encode(), {})
    assert len(caught.value.errors) == 20
    assert str(caught.value).endswith("and 30 more")


def test_keys_are_unique_in_name_and_value() -> None:
    digest = hashlib.sha256(b"fh-0123456789abcdef").hexdigest()
    found = mistakes(
        "keys: [{name: a, key: fh-0123456789abcdef}, {name: a, key: fh-0123456789abcdee},"
        " {name: b, key: fh-0123456789abcdef}, {name: c, hash: 'sha256:" + digest + "'},"
        " {name: d, key: fh-0123456789abcdex, hash: '" + "0" * 64 + "'}]"
    )
    assert [e.key for e in found] == ["keys[1].name", "keys[2]", "keys[3]", "keys[4]"]


def test_without_the_names_of_providers_none_is_judged() -> None:
    assert loads(b"models: {a: [whoever/x]}\nproviders: {some: {}}", {}).config.models


# Secrets

SECRET = "sk-verysecretvalue0123456789"


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {api_key: [%s]}}",
        "providers: {openai: {api_key: '%s with spaces'}}",
        "providers: {openai: %s}",
        "providers: %s",
        "%s",
        "%s: 1",
        "{a: 1, a: 2, %s: 1, %s: 2}",
        "keys: [{name: a, key: %s, hash: %s}]",
        "keys: [{name: a, key: %s}, {name: b, key: %s}]",
        "keys: [%s]",
        "keys: %s",
        "models: {a: [%s]}",
        "models: {a: %s}",
        "models: {a: [openai/x, %s/x], %s: [%s]}",
        "providers: {openai: {headers: {Authorization: ['%s']}}}",
        'providers: {openai: {headers: {Authorization: "%s\\n"}}}',
        "providers: {openai: {base_url: 'http://%s@h'}}",
        "providers: {openai: {dialect: %s}}",
        "server: {port: %s}",
        "providers: {openai: {api_key: *%s}}",
        "providers: {openai: {api_key: !%s x}}",
        "providers: {openai: {api_key: '%s}}",
        "providers: {openai: {api_key: %s: x}}",
        "providers: {openai: {api_key: '${%s'}}",
    ],
)
def test_no_error_shows_a_secret(text: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        loads(text.replace("%s", SECRET).encode(), {}, providers=PROVIDERS)
    told = str(caught.value) + repr(caught.value.errors)
    assert "verysecret" not in told


@pytest.mark.parametrize(
    "text",
    ["providers: {openai: {api_key: 1234567890123}}", "keys: [{name: a, key: 1234567890123, hash: 1234567890123}]"],
)
def test_a_secret_of_digits_is_not_shown_either(text: str) -> None:
    assert "1234567890123" not in "".join(str(error) for error in mistakes(text))


def test_a_value_from_the_environment_is_named_by_its_variable() -> None:
    error = mistake("server: {port: '${PORT}'}", PORT="hunter2-hunter2")
    assert "hunter2" not in str(error)
    assert "the value of PORT" in error.message


# Hostile files


def test_a_bomb_of_aliases_is_stopped_by_the_count() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "more than 50000 values" in mistake("\n".join(lines)).message


def test_an_alias_to_itself_is_stopped_by_the_depth() -> None:
    assert "levels" in mistake("a: &a [*a]").message


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000, "&a " * 10_000])
def test_deep_nesting_is_an_error_not_a_crash(text: str) -> None:
    assert mistakes(text)


def test_a_huge_file_is_refused_unread() -> None:
    assert "larger than 1 MiB" in mistake(b"#" * (1 << 20) + b"\n{}").message


def test_bytes_that_are_not_utf_8_are_placed() -> None:
    error = mistake(b"server:\n  host: caf\xe9\n")
    assert error.where == "freehold.yaml:2:12"
    assert "not UTF-8" in error.message


def test_utf_16_is_refused_and_a_byte_order_mark_is_not() -> None:
    assert "not UTF-8" in mistake("box: true".encode("utf-16")).message
    assert config("\ufeffbox: false").box is False


def test_a_control_character_is_placed() -> None:
    assert mistake("box: true\nretries: \x00").where == "freehold.yaml:2:10"


# Files


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigErrors) as caught:
            load(path, {})
        assert caught.value.where == f"{path}:1:1"
        assert "cannot be read" in caught.value.message


def test_find_prefers_the_given_then_the_folder_then_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    env = {"FREEHOLD_HOME": str(home)}
    assert find(None, env) is None
    (home / "freehold.yaml").write_text("{}")
    assert find(None, env) == home / "freehold.yaml"
    (here / "freehold.yaml").write_text("{}")
    assert find(None, env) == Path("freehold.yaml")
    assert find(Path("other.yaml"), env) == Path("other.yaml")


def test_the_version_changes_with_the_content_not_with_the_spelling() -> None:
    def version(text: str) -> str:
        return loads(text.encode(), {"P": "3"}).version

    assert version("retries: 3") == version('{retries:   "${P}"}  # the same')
    assert version("retries: 3") != version("retries: 4")
    assert len(version("")) == 12
