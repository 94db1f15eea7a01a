"""names.py: any component has a name, any name a component, and each leads back to the other."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount import keys, names

MARKS = ["%key", "%name", "%", "%25", "%2E", "%00", "%~", "%FF", "%E9", "0" * 32, "a", ".", "..", "\0", "\n", "é", " "]
# Texts made of what the encoding is made of, so that they look like encoded ones again and again.
pieces = st.lists(st.sampled_from(MARKS), max_size=7).map("".join)
unicode_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=300)
components = st.one_of(
    pieces,
    unicode_texts,
    st.builds(lambda text, count: text * count, pieces, st.integers(1, 300)).filter(lambda text: len(text) <= 1024),
)
raw_names = st.one_of(
    st.binary(min_size=1, max_size=255),
    pieces.map(str.encode),
    st.builds(lambda a, b: a.encode() + b, pieces, st.binary(max_size=20)),
).map(lambda raw: names.from_bytes(raw.replace(b"/", b"").replace(b"\0", b"")[:255]))
legal_names = raw_names.filter(names.is_name)
kinds = st.booleans()


@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("a", "a"),
        ("100%", "100%"),
        ("a%20b", "a%20b"),
        ("%", "%"),
        ("my%key.txt", "my%key.txt"),
        ("50%25%keys", "50%25%keys"),
        ("a\nb", "a\nb"),
        ("ü" * 127, "ü" * 127),
        (".hidden", ".hidden"),
        ("..", "%2E%2E%key"),
        (".", "%2E%key"),
        ("", "%key"),
        ("nul\0%", "nul%00%25%key"),
        ("a%key", "a%25key%key"),
        ("%2E%2E%key", "%252E%252E%25key%key"),
        ("caf%E9%name", "caf\udce9"),
        ("caf%25E9%25name%name", "caf%E9%name"),
        ("caf%C3%A9%name", "caf%C3%A9%name"),  # is UTF-8, so no name is stored like this
        ("dir_$folder$", "dir_$folder$"),
    ],
)
def test_examples(component: str, name: str) -> None:
    assert names.shown(component, is_dir=True) == name
    assert names.component_of(name, is_dir=True) == component


def test_a_long_component_is_shown_by_its_beginning_and_hash() -> None:
    name = names.shown("ü" * 500, is_dir=False)
    assert len(name.encode()) <= 255
    assert name.startswith("ü" * 100)
    assert names.is_hashed(name)
    assert name != names.shown("ü" * 499, is_dir=False)
    # A name like it, made here, is stored so that it comes back.
    assert names.shown(names.component_of(name, is_dir=False), is_dir=False) == name


def test_a_file_cannot_have_the_directorys_own_key() -> None:
    assert names.component_of("%key", is_dir=True) == ""
    assert names.component_of("%key", is_dir=False) == "%25key%name"
    assert names.shown("%25key%name", is_dir=False) == "%key"


def test_whom_a_name_stands_beside() -> None:
    assert names.beside("a%key") == "a"
    assert names.beside("a") is None
    assert names.beside("%2E%key") is None


@given(components, kinds)
@example("%key", False)
@example("%name", True)
@example("%25key%key%name", True)
def test_a_component_is_shown_as_a_legal_name_that_leads_back(component: str, is_dir: bool) -> None:
    name = names.shown(component, is_dir=is_dir)
    keys.check_name(name)
    if not names.is_hashed(name) and (component or is_dir):
        assert names.component_of(name, is_dir=is_dir) == component


@given(legal_names, kinds)
@example("%key", False)
@example("%~" + "0" * 32 + "%key", False)
@example("a%25key%name", True)
def test_a_name_is_stored_as_a_component_that_leads_back(name: str, is_dir: bool) -> None:
    component = names.component_of(name, is_dir=is_dir)
    component.encode()
    assert "/" not in component
    assert component or is_dir
    assert names.shown(component, is_dir=is_dir) == name


@given(st.lists(components, unique=True, max_size=8), kinds)
def test_different_components_have_different_names(found: list[str], is_dir: bool) -> None:
    found = [component for component in found if component or is_dir]
    shown = [names.shown(component, is_dir=is_dir) for component in found]
    hashed = [name for name in shown if names.is_hashed(name)]
    plain = [name for name in shown if not names.is_hashed(name)]
    assert len(set(plain)) == len(plain)
    assert len(set(hashed)) == len(hashed)


@given(components, kinds)
def test_there_is_always_another_name(component: str, is_dir: bool) -> None:
    taken: set[str] = set()
    for _, name in zip(range(6), names.candidates(component, is_dir=is_dir), strict=False):
        keys.check_name(name)
        taken.add(name)
    assert len(taken) >= 3
