r"""The names of Unicode classes that Go's ``\p{…}`` accepts, and their members by the tables of RE2.

Go ignores letter case and ``_``, ``-`` and space in the given name, but not in the names of its scripts: a script whose
name contains such a character, or an inner capital, cannot be named at all.
"""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_CATEGORIES = (
    "C Cc Cf Cn Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs"
)
_ALIASES = (
    "Casedletter LC Closepunctuation Pe Combiningmark M Connectorpunctuation Pc Control Cc Currencysymbol Sc "
    "Dashpunctuation Pd Decimalnumber Nd Enclosingmark Me Finalpunctuation Pf Format Cf Initialpunctuation Pi Letter L "
    "Letternumber Nl Lineseparator Zl Lowercaseletter Ll Mark M Mathsymbol Sm Modifierletter Lm Modifiersymbol Sk "
    "Nonspacingmark Mn Number N Openpunctuation Ps Other C Otherletter Lo Othernumber No Otherpunctuation Po "
    "Othersymbol So Paragraphseparator Zp Privateuse Co Punctuation P Separator Z Spaceseparator Zs Spacingmark Mc "
    "Surrogate Cs Symbol S Titlecaseletter Lt Unassigned Cn Uppercaseletter Lu Cntrl Cc Digit Nd Punct P "
    "Any Any Assigned Assigned Ascii ASCII Lc LC"
)
_SCRIPTS = (
    "Adlam Ahom Arabic Armenian Avestan Balinese Bamum Batak Bengali Bhaiksuki Bopomofo Brahmi Braille "
    "Buginese Buhid Carian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cyrillic Deseret "
    "Devanagari Dogra Duployan Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati "
    "Gurmukhi Han Hangul Hanunoo Hatran Hebrew Hiragana Inherited Javanese Kaithi Kannada Katakana Kawi "
    "Kharoshthi Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Lisu Lycian Lydian Mahajani Makasar Malayalam "
    "Mandaic Manichaean Marchen Medefaidrin Miao Modi Mongolian Mro Multani Myanmar Nabataean Nandinagari "
    "Newa Nko Nushu Ogham Oriya Osage Osmanya Palmyrene Phoenician Rejang Runic Samaritan Saurashtra Sharada "
    "Shavian Siddham Sinhala Sogdian Soyombo Sundanese Syriac Tagalog Tagbanwa Takri Tamil Tangsa Tangut "
    "Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Yezidi Yi"
)
_words = _ALIASES.split()
_NAMES = dict(zip(_words[::2], _words[1::2], strict=True))
_NAMES |= {name: name for name in (*_SCRIPTS.split(), *_CATEGORIES.split())}

# Go has Unicode 15.0; RE2 knows these characters of 15.1 too, which are unassigned to Go.
_YOUNGER = ((0x2FFC, 0x2FFF), (0x31EF, 0x31EF), (0x2EBF0, 0x2EE5D))
_LETTERLIKE = r"\p{L}\p{M}\p{N}\p{P}\p{S}\p{Z}"
_SPECIAL = {
    "Any": r"[\x00-\x{10FFFF}]",
    "ASCII": r"[\x00-\x7f]",
    "LC": r"[\p{Lu}\p{Ll}\p{Lt}]",
    "C": rf"[^{_LETTERLIKE}]",
    "Cn": rf"[^{_LETTERLIKE}\p{{Cc}}\p{{Cf}}\p{{Co}}\p{{Cs}}]",
    "Assigned": rf"[{_LETTERLIKE}\p{{Cc}}\p{{Cf}}\p{{Co}}\p{{Cs}}]",
}
_HAS_UNASSIGNED = frozenset({"Any", "C", "Cn"})
_FOLDED = frozenset({"L", "Ll", "Lt", "Lu", "M", "Mn", "Common", "Greek", "Inherited", "ASCII"})
"""The classes that grow when letter case is ignored; Go leaves the others as they are."""


def class_name(asked: str) -> str | None:
    r"""The class that ``\p{asked}`` means to Go, under its usual name; ``None`` if it means none.

    Example:
        >>> from imgframe.golang.regexp.unicode_names import class_name
        >>> class_name("uppercase letter"), class_name("LATIN"), class_name("Old_Italic")
        ('Lu', 'Latin', None)
    """
    if not asked.isascii():
        return None
    bare = asked.replace("_", "").replace("-", "").replace(" ", "")
    return _NAMES.get(bare[:1].upper() + bare[1:].lower())


@functools.lru_cache(maxsize=256)
def members(name: str, fold: bool, chars: tuple[str, ...]) -> np.ndarray:
    """Which of ``chars`` belong to the class ``name``, letter case ignored if ``fold``: booleans.

    Example:
        >>> from imgframe.golang.regexp.unicode_names import members
        >>> members("Lu", False, ("A", "a", "é", "É")).tolist()
        [True, False, False, True]
    """
    pattern = _SPECIAL.get(name, rf"\p{{{name}}}")
    flags = "(?i)" if fold and name in _FOLDED else ""
    found = np.asarray(pc.match_substring_regex(pa.array(chars, pa.string()), f"{flags}{pattern}"))
    codes = np.array([ord(char) for char in chars])
    younger = np.zeros(len(chars), bool)
    for low, high in _YOUNGER:
        younger |= (codes >= low) & (codes <= high)
    found = np.where(younger, name in _HAS_UNASSIGNED, found)
    found.setflags(write=False)  # it is cached
    return found
