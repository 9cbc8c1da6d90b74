"""IPFS content identifiers: which names nerdctl takes for one, and their canonical form.

Decodes with the leniencies of the Go libraries (go-cid, go-multibase and its bases), which no Python library shares;
otherwise a name would mean one image here and another to nerdctl.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_BASE32HEX = "0123456789abcdefghijklmnopqrstuv"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_BITCOIN = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_FLICKR = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
_EMOJI = (
    "🚀🪐☄🛰🌌🌑🌒🌓🌔🌕🌖🌗🌘🌍🌏🌎🐉☀💻🖥💾💿😂❤😍🤣😊🙏💕😭😘👍😅👏😁🔥🥰💔💖💙😢🤔😆🙄💪😉☺👌🤗💜😔😎😇🌹🤦🎉💞✌✨🤷😱😌🌸🙌😋💗💚😏💛🙂💓"
    "🤩😄😀🖤😃💯🙈👇🎶😒🤭❣😜💋👀😪😑💥🙋😞😩😡🤪👊🥳😥🤤👉💃😳✋😚😝😴🌟😬🙃🍀🌷😻😓⭐✅🥺🌈😈🤘💦✔😣🏃💐☹🎊💘😠☝😕🌺🎂🌻😐🖕💝🙊😹🗣💫💀👑🎵🤞😛"
    "🔴😤🌼😫⚽🤙☕🏆🤫👈😮🙆🍻🍃🐶💁😲🌿🧡🎁⚡🌞🎈❌✊👋😰🤨😶🤝🚶💰🍓💢🤟🙁🚨💨🤬✈🎀🍺🤓😙💟🌱😖👶🥴▶➡❓💎💸⬇😨🌚🦋😷🕺⚠🙅😟😵👎🤲🤠🤧📌"
    "🔵💅🧐🐾🍒😗🤑🌊🤯🐷☎💧😯💆👆🎤🙇🍑❄🌴💣🐸💌📍🥀🤢👅💡💩👐📸👻🤐🤮🎼🥵🚩🍎🍊👼💍📣🥂"
)
_EMOJI_BYTES = {char: byte for byte, char in enumerate(_EMOJI)}
# characters of a quantum -> whole bytes in it; 1, 3 and 6 give none
_BASE32_TAILS = {2: 1, 4: 2, 5: 3, 7: 4, 8: 5}
_SHA256 = b"\x12\x20"
_V0_LENGTH = 34
_HEX_DIGITS = re.compile(r"(?:[0-9a-fA-F]{2})*")
_BITS = re.compile(r"(?:[01]{8}|[+-][01]{7})*")
_BREAKS = str.maketrans("", "", "\r\n")


def _from_bits(text: str) -> bytes | None:
    text = "0" * (-len(text) % 8) + text
    if not _BITS.fullmatch(text):
        return None
    # a sign is read, as Go does
    return bytes(int(text[at : at + 8], 2) & 0xFF for at in range(0, len(text), 8))


def _from_hex(text: str) -> bytes | None:
    return bytes.fromhex(text) if _HEX_DIGITS.fullmatch(text) else None


def _from_base32(alphabet: str, padded: bool) -> Callable[[str], bytes | None]:
    values = {char: value for value, low in enumerate(alphabet) for char in {low, low.upper()}}

    def decode(text: str) -> bytes | None:
        text = text.translate(_BREAKS).encode("utf-8", "surrogatepass").decode("latin-1")  # Go counts bytes
        out = bytearray()
        for at in range(0, len(text), 8):
            quantum = text[at : at + 8]
            size = len(quantum)
            if padded:
                size = min(size, quantum.find("=", 2) % 9)  # no "=" : -1 % 9 = 8
                rest = len(text) - at - size - 1
                if size < 8 and (size in {3, 6} or rest > 7 or quantum[size:] != "=" * (8 - size)):
                    return None
            number = 0
            for char in quantum[:size]:
                if char not in values:
                    return None
                number = number << 5 | values[char]
            whole = _BASE32_TAILS.get(size, 0)
            out += (number >> (5 * size - 8 * whole)).to_bytes(whole) if whole else b""
            if size < 8:
                break  # after complete padding the rest is ignored
        return bytes(out)

    return decode


def _from_digits(alphabet: str, ignore_case: bool) -> Callable[[str], bytes | None]:
    base = len(alphabet)
    values = {char: value for value, char in enumerate(alphabet)}
    if ignore_case:
        values |= {char.upper(): value for char, value in values.items()}

    def decode(text: str) -> bytes | None:
        number = 0
        for char in text:
            if char not in values:
                return None
            number = number * base + values[char]
        zeros = len(text) - len(text.lstrip(alphabet[0]))
        return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8)

    return decode


def _from_base64(extra: str, padded: bool) -> Callable[[str], bytes | None]:
    char = f"[A-Za-z0-9{re.escape(extra)}]"
    tail = f"{char}{{2}}==|{char}{{3}}=" if padded else f"{char}{{2,3}}"
    shape = re.compile(f"(?:{char}{{4}})*(?:{tail})?")

    def decode(text: str) -> bytes | None:
        text = text.translate(_BREAKS)
        if not shape.fullmatch(text):
            return None
        return base64.b64decode(text + "=" * (-len(text) % 4), extra.encode())

    return decode


def _from_emoji(text: str) -> bytes | None:
    return bytes(_EMOJI_BYTES[char] for char in text) if _EMOJI_BYTES.keys() >= set(text) else None


def _from_raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_DECODERS: dict[str, Callable[[str], bytes | None]] = {
    "\0": _from_raw,
    "0": _from_bits,
    **dict.fromkeys("fF", _from_hex),
    **dict.fromkeys("bB", _from_base32(_BASE32, padded=False)),
    **dict.fromkeys("cC", _from_base32(_BASE32, padded=True)),
    **dict.fromkeys("vV", _from_base32(_BASE32HEX, padded=False)),
    **dict.fromkeys("tT", _from_base32(_BASE32HEX, padded=True)),
    **dict.fromkeys("kK", _from_digits(_BASE36, ignore_case=True)),
    "z": _from_digits(_BITCOIN, ignore_case=False),
    "Z": _from_digits(_FLICKR, ignore_case=False),
    "m": _from_base64("+/", padded=False),
    "u": _from_base64("-_", padded=False),
    "M": _from_base64("+/", padded=True),
    "U": _from_base64("-_", padded=True),
    "🚀": _from_emoji,
}


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    """The number at ``at`` and the offset after it; at most nine bytes, in the shortest form."""
    number = 0
    for count, byte in enumerate(data[at : at + 9]):
        if byte < 0x80:
            minimal = byte or not count
            return (number | byte << 7 * count, at + count + 1) if minimal else None
        number |= (byte & 0x7F) << 7 * count
    return None


def _is_version_1(data: bytes) -> bool:
    """Whether ``data`` is the varints 1, codec, hash code, length and exactly that many bytes more."""
    numbers = []
    at = 0
    for _ in range(4):
        read = _varint(data, at)
        if read is None:
            return False
        number, at = read
        numbers.append(number)
    return numbers[0] == 1 and numbers[3] == len(data) - at


def _to_base58(data: bytes) -> str:
    number = int.from_bytes(data)
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BITCOIN[digit] + digits
    return digits


def canonical_cid(text: str) -> str | None:
    """The canonical form of the CID that ``text`` is; ``None`` if Go's ``cid.Decode`` does not take it for one.

    Version 0 is given in base58, version 1 in lower-case base32 with the prefix ``b``. Words of plain letters may
    qualify (``bafkqaaa``, ``kdaznk``).

    Example:
        >>> from imgframe.reference.cid import canonical_cid
        >>> canonical_cid("f01550000"), canonical_cid("alpine")
        ('bafkqaaa', None)
    """
    if len(text) < 2:
        return None
    if text.startswith("Qm") and len(text.encode("utf-8", "surrogatepass")) == 46:
        data = _DECODERS["z"](text)
        return text if data is not None and len(data) == _V0_LENGTH and data.startswith(_SHA256) else None
    decode = _DECODERS.get(text[0])
    data = decode(text[1:]) if decode else None
    if not data:
        return None
    if data.startswith(_SHA256) and len(data) > 2:
        return _to_base58(data) if len(data) == _V0_LENGTH else None
    if not _is_version_1(data):
        return None
    return "b" + base64.b32encode(data).decode().lower().rstrip("=")
