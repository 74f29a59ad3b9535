"""Forms: what clients send is found where it lies, what two parsers could read differently is refused."""

import contextlib
import email.parser
import email.policy
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects import multipart
from freehold.dialects.multipart import MAX_HEAD, MAX_PARTS, File, parse, read_boundary, replace_field, write_form
from freehold.errors import BadRequest

KIND = "multipart/form-data; boundary=B"


def part(value: str, disposition: str = 'form-data; name="model"', *lines: str) -> str:
    return "".join(f"{line}\r\n" for line in (f"Content-Disposition: {disposition}", *lines)) + f"\r\n{value}\r\n"


def body(*parts: str, before: str = "", after: str = "\r\n") -> bytes:
    return (before + "".join(f"--B\r\n{one}" for one in parts) + "--B--" + after).encode()


names = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='%\\"'), min_size=1, max_size=20)
texts = st.text(max_size=200)
files = st.builds(File, st.binary(max_size=500), names, st.just("audio/wav"))
fields = st.lists(st.tuples(names, texts | files), max_size=8)


@given(fields)
def test_what_is_written_is_found_again(given_fields: list[tuple[str, str | File]]) -> None:
    form = parse(*write_form(given_fields))
    assert len(form.fields) == len(given_fields)
    for found, (name, value) in zip(form.fields, given_fields, strict=True):
        assert found.name == name
        if isinstance(value, File):
            assert bytes(form.data(found)) == value.data
            assert found.filename is not None
        else:
            assert form.read(found) == value


@given(fields)
def test_the_standard_library_reads_what_is_written(given_fields: list[tuple[str, str | File]]) -> None:
    written, kind = write_form(given_fields)
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + written)
    parts = list(message.iter_parts()) if given_fields else []
    for read, (_, value) in zip(parts, given_fields, strict=True):
        assert read.get_payload(decode=True) == (value.data if isinstance(value, File) else value.encode())


@given(fields, st.text(st.characters(codec="utf-8"), max_size=50))
def test_only_one_field_is_replaced(given_fields: list[tuple[str, str | File]], value: str) -> None:
    kept = [(name, one) for name, one in given_fields if name.removesuffix("[]") != "model"]
    written, kind = write_form([*kept, ("model", "whisper-1"), ("last", "x")])
    changed = replace_field(written, kind, "model", value)
    mark = b'name="model"\r\n\r\n'
    assert changed == written.replace(mark + b"whisper-1\r\n", mark + value.encode() + b"\r\n")
    assert replace_field(changed, kind, "model", value) is changed


@given(fields)
def test_a_missing_field_is_added(given_fields: list[tuple[str, str | File]]) -> None:
    kept = [(name, one) for name, one in given_fields if name.removesuffix("[]") != "model"]
    written, kind = write_form(kept)
    changed = replace_field(written, kind, "model", "whisper-1")
    assert parse(changed, kind).text("model") == "whisper-1"
    assert len(parse(changed, kind).fields) == len(kept) + 1
    assert changed.endswith(written)


@given(st.binary(max_size=300), st.integers(0, 10**6), st.integers(0, 20))
def test_mangled_forms_are_bad_requests(noise: bytes, where: int, cut: int) -> None:
    written, kind = write_form([("model", "m"), ("file", File(b"x" * 50, "a.wav"))])
    at = where % len(written)
    with contextlib.suppress(BadRequest):
        form = parse(written[:at] + noise + written[at + cut :], kind)
        for found in form.fields:
            assert 0 <= found.start <= found.end <= len(form.body)


@given(st.binary(max_size=200), st.text(max_size=100))
def test_noise_is_a_bad_request(noise: bytes, kind: str) -> None:
    for content_type in (kind, f"multipart/form-data; boundary={kind}"):
        with contextlib.suppress(BadRequest):
            parse(noise, content_type)


async def test_what_httpx_writes_is_read() -> None:
    request = httpx2.Request(
        "POST", "http://x", data={"model": "m", "include[]": ["a", "b"]}, files={"file": ('tä"lk.wav', b"\0\r\n--")}
    )
    form = parse(await request.aread(), request.headers["content-type"])
    assert form.text("model") == "m"
    assert form.texts("include") == ["a", "b"]
    found = form.one("file")
    assert found is not None
    assert found.filename == 'tä"lk.wav'
    assert bytes(form.data(found)) == b"\0\r\n--"


@pytest.mark.parametrize(
    "given_body",
    [
        body(part("m"), before="This is the preamble.\r\n"),
        body(part("m"), after=""),
        body(part("m"), after="  \r\nThe epilogue."),
        body(part("m", "form-data; name=model")),
        body(part("m", 'FORM-DATA;  Name = "model" ')),
        body(part("m", 'form-data; name="model";')),
        body(part("m", 'form-data; name="model"', "Content-Type: text/plain; charset=utf-8", "X-Odd: 1")),
        body(part("m", 'form-data; name="model"', "Content-Transfer-Encoding: 8bit")),
        body(part("m")).replace(b"--B\r\n", b"--B \t\r\n"),
        body(part("m")).replace(b"Content-Disposition: ", b"content-DISPOSITION:"),
    ],
)
def test_what_clients_do(given_body: bytes) -> None:
    assert parse(given_body, KIND).text("model") == "m"


@pytest.mark.parametrize(
    ("given_body", "why"),
    [
        (b"", "boundary"),
        (b"--X--", "boundary"),
        (b"--B", "closing boundary is missing"),
        (b"--B\r\n", "header of a part"),
        (body(part("m"))[:-8], "closing boundary is missing"),
        (b"--B\r\n\r\nm\r\n--B--", "no Content-Disposition"),
        (body(part("m", "form-data")), "no usable name"),
        (body(part("m", 'form-data; name=""')), "no usable name"),
        (body(part("m", 'attachment; name="model"')), "no usable name"),
        (body(part("m", "form-data; name*=UTF-8''model")), "no usable name"),
        (body(part("m", 'form-data; name="mo\\del"')), "no usable name"),
        (body(part("m", 'form-data; name="model"; name="x"')), "twice"),
        (body(part("m", 'form-data; name="model')), "malformed parameters"),
        (body(part("m", 'form-data; name="x"', 'Content-Disposition: form-data; name="model"')), "two"),
        (body(part("m", 'form-data;\r\n name="model"')), "malformed header"),
        (body(part("m", 'form-data; name="model"', "Content-Transfer-Encoding: base64")), "encoded"),
        (body(part("m", 'form-data; name="model"', "no colon")), "malformed header"),
        (body(part("m\n--B\r\nContent-Disposition: form-data; name=evil\r\n\r\nx")), "beginning of a line"),
        (body(part("m --B")), "beginning of a line"),
        (body(part("m"), before="x--B"), "beginning of a line"),
        (body(part("m")).replace(b"\r\n--B", b"\n--B"), "beginning of a line"),
        (body(part("m\r\n--Bx")), "begins like the boundary"),
        (body(part("m"), after="\r\n--B\r\n"), "behind its end"),
        (body(part("m"), after="x"), "behind its end"),
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n--B--', "beginning of a line"),
        (body(part("m", 'form-data; name="model"', "X-Long: " + "x" * MAX_HEAD)), "header of a part"),
        (body(*[part("m")] * (MAX_PARTS + 1)), "more than"),
    ],
)
def test_what_is_refused(given_body: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        parse(given_body, KIND)


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "multipart/mixed; boundary=B", "multipart/form-data", "multipart/form-data; boundary=",
     'multipart/form-data; boundary="a b "', "multipart/form-data; boundary=ä",
     "multipart/form-data; boundary=a; boundary=b",
     'multipart/form-data; boundary="a\\"b"', "multipart/form-data; boundary=" + "x" * 201],
)  # fmt: skip
def test_unusable_content_types(kind: str) -> None:
    with pytest.raises(BadRequest):
        read_boundary(kind)


def test_boundaries() -> None:
    assert read_boundary('Multipart/Form-Data; charset=utf-8; Boundary="a b=c"') == b"a b=c"
    assert read_boundary("multipart/form-data;boundary=----WebKitFormBoundaryX") == b"----WebKitFormBoundaryX"


def test_empty_values_and_lists() -> None:
    form = parse(body(part(""), part("1", 'form-data; name="a[]"'), part("2", 'form-data; name="a[]"')), KIND)
    assert form.text("model") == ""
    assert form.texts("a") == ["1", "2"]
    assert form.text("none") is None
    with pytest.raises(BadRequest, match="2 times") as caught:
        form.text("a")
    assert caught.value.param == "a"


def test_names_of_files() -> None:
    def named(disposition: str) -> Any:
        return parse(body(part("m", f'form-data; name="f"; {disposition}')), KIND).fields[0].filename

    assert named('filename="a%22b.wav"') == 'a"b.wav'
    assert named('filename="a\\"b.wav"') == 'a"b.wav'
    assert named('filename="C:\\\\x.wav"') == "C:\\\\x.wav"
    assert named("filename=\"x\"; filename*=UTF-8''t%C3%A4.wav") == "tä.wav"
    assert named("filename*=nonsense''x") == "x"
    assert named('filename=""') == ""


def test_texts_must_be_texts() -> None:
    form = parse(body(part("m", 'form-data; name="model"; filename="x"')), KIND)
    with pytest.raises(BadRequest, match="got a file"):
        form.text("model")
    raw = body(part("X")).replace(b"\r\nX\r\n", b"\r\n\xff\xfe\r\n")
    with pytest.raises(BadRequest, match="UTF-8"):
        parse(raw, KIND).text("model")
    huge = body(part("x" * (multipart.MAX_TEXT + 1)))
    with pytest.raises(BadRequest, match="more than"):
        parse(huge, KIND).text("model")


def test_a_value_with_the_boundary_cannot_be_put_in() -> None:
    with pytest.raises(BadRequest, match="boundary"):
        replace_field(body(part("m")), KIND, "model", "x\r\n--B")


def test_a_second_model_is_refused() -> None:
    with pytest.raises(BadRequest, match="2 times"):
        replace_field(body(part("m"), part("n")), KIND, "model", "x")
