"""How systemd reads a unit file, as systemd.syntax(7), systemd.exec(5) and .service(5) say it.

Written from the manual alone, and from nothing in supervisor.export.
"""

SPACE = " \t\n\r"
ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "s": 32}


def sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return the assignments of each section, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] | None = None
    joined = ""
    for line in text.split("\n"):
        bare = line.strip()
        if not joined and (not bare or bare[0] in "#;"):
            continue
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        bare, joined = (joined + line).strip(), ""
        if bare.startswith("["):
            current = found.setdefault(bare.strip("[]"), [])
            continue
        assert current is not None, f"before any section: {bare}"
        key, equals, value = bare.partition("=")
        assert equals, f"no assignment: {bare}"
        current.append((key.strip(), value.strip()))
    return found


def words(line: str) -> list[bytes]:
    """Split a value into words: quotes, C escapes, then specifiers."""
    found: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in SPACE:
            at += 1
        if at == len(line):
            return [specifiers(word) for word in found]
        word, at = _word(line, at)
        found.append(word)


def command(line: str) -> list[bytes]:
    """Return the argv of an ExecStart=, with no variable set."""
    found = words(line)
    assert found[0][:1] == b"/", "a prefix, or no path"
    assert b";" not in [w for w in line.encode().split() if w == b";"], "two commands"
    return [found[0], *map(variables, found[1:])]


def specifiers(word: bytes) -> bytes:
    """Expand `%%`; anything else that begins with % would be something of this machine."""
    out = b""
    at = 0
    while at < len(word):
        if word[at : at + 1] == b"%":
            assert word[at + 1 : at + 2] == b"%", f"a specifier in {word!r}"
            at += 1
        out += word[at : at + 1]
        at += 1
    return out


def variables(word: bytes) -> bytes:
    """Expand `$$`; a variable is an error here."""
    out = b""
    at = 0
    while at < len(word):
        if word[at : at + 1] == b"$":
            assert word[at + 1 : at + 2] == b"$", f"a variable in {word!r}"
            at += 1
        out += word[at : at + 1]
        at += 1
    return out


def _word(line: str, at: int) -> tuple[bytes, int]:
    out = b""
    quote = ""
    while at < len(line):
        character = line[at]
        at += 1
        if character == "\\":
            code, at = _escape(line, at)
            out += code
        elif quote:
            if character == quote:
                quote = ""
            else:
                out += character.encode()
        elif character in "\"'":
            quote = character
        elif character in SPACE:
            return out, at
        else:
            out += character.encode()
    assert not quote, f"an open quote in {line!r}"
    return out, at


def _escape(line: str, at: int) -> tuple[bytes, int]:
    kind = line[at]
    if kind in "\\\"'":
        return kind.encode(), at + 1
    if kind in ESCAPES:
        return bytes([ESCAPES[kind]]), at + 1
    assert kind == "x", f"no escape: \\{kind}"
    code = int(line[at + 1 : at + 3], 16)
    assert code, "a NUL is refused"
    return bytes([code]), at + 3
