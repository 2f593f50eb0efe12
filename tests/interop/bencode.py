"""Bencoding (BEP 3), as much as the harness needs: values, and the exact bytes of a dictionary's
values, so that a torrent can get another tracker without a change to its info hash.

Input comes from programs under test on this machine; it is trusted to be of sane size.
"""


def decode(data):
    """The one value that `data` holds. Strings are `bytes`; trailing bytes are an error."""
    value, end = _value(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes after the value")
    return value


def raw_items(data):
    """Keys of the dictionary `data`, each with the bytes of its value as they stand."""
    if data[:1] != b"d":
        raise ValueError("not a dictionary")
    items, at = {}, 1
    while data[at : at + 1] != b"e":
        key, at = _value(data, at)
        start = at
        _, at = _value(data, at)
        items[key] = data[start:at]
    return items


def encode(value):
    """Canonical bytes of integers, byte or text strings, lists and dictionaries."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, dict):
        return join_raw({key: encode(item) for key, item in value.items()})
    raise TypeError(f"cannot encode {type(value)}")


def join_raw(items):
    """A dictionary of values that are encoded already, keys sorted."""
    return b"d" + b"".join(encode(key) + items[key] for key in sorted(items)) + b"e"


def _value(data, at):
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind == b"l":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = _value(data, at)
            items.append(item)
        return items, at + 1
    if kind == b"d":
        items, at = {}, at + 1
        while data[at : at + 1] != b"e":
            key, at = _value(data, at)
            items[key], at = _value(data, at)
        return items, at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    if end > len(data):
        raise ValueError("string runs over the end")
    return data[colon + 1 : end], end
