"""Names of what systems and programs leave in folders of photos.

:func:`vit_atlas.data.tree.read_tree` ignores them for every stage and command. The project's `.dvcignore` holds
:func:`dvcignore_lines`, so that such files change no hash.
"""

import re
from fnmatch import translate

SYSTEMS = (
    *("thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "autorun.inf"),
    *("*.lnk", "$recycle.bin", "system volume information", "*:zone.identifier", "*.stackdump"),
    *("__macosx", "icon[! -~]", "network trash folder", "temporary items", "thevolumesettingsfolder"),
    *("lost+found", "trans.tbl", "paxheader", "paxheaders.*", "@longlink", "@paxheader"),
)
"""Windows, macOS, Linux, and what archives and discs made there hold (``Icon`` and a carriage return among it)."""

STORAGE = (
    *("@eadir", "@tmp", "@sharebin", "#recycle", "#snapshot", "synophoto_thumb_*", "synofile_thumb_*"),
    *("*@synoeastream", "*@synoresource", "@recycle", "@recently-snapshot", "~snapshot"),
)
"""Network storage: Synology, QNAP, NetApp."""

SYNC = (
    *("~syncthing~*", "*.!sync", "*.bts", "*.aria2", "*.part", "*.partial", "*.crdownload", "*.filepart"),
    *("*.download", "*.opdownload", "*.!ut", "*.!qb", "*.supplemental-metadata.json"),
    *("*.supplemental-metadata(*).json", "*.jpg.json", "*.jpeg.json", "*.png.json", "*.heic.json"),
)
"""Programs that synchronise and download: Syncthing, Resilio, browsers, Google Takeout."""

EDITORS = (
    *("*~", "~$*", "#*#", "*.swp", "*.swo", "*.tmp", "*.bak", "*.orig", "*.*_original", "__pycache__", "*.pyc", "_svn"),
    *("*.xmp", "*.aae", "*.thm", "*.lrv", "*.dop", "*.pp3", "*.nksc", "*.cos", "*.on1", "*.ctg"),
    *("picasa.ini", "zbthumbnail.info", "*.lrdata"),
)
"""Editors, office programs, exiftool, notebooks, and what cameras and raw converters lay beside a photo."""

HIDDEN = ".*"
"""Hidden names, which most programs choose: .DS_Store, ._x, .@__thumb, .dropbox, .stversions, .ipynb_checkpoints."""

PATTERNS = (HIDDEN, *SYSTEMS, *STORAGE, *SYNC, *EDITORS)
"""Shell patterns of names, in lower case; a name counts in any case, of a file or a folder with all below it."""

ORDINARY_STARTS = ("[Pp][0-9B-Zb-z_ -]", "[Ss][0-9A-XZa-xz_ -]", "[0-9A-OQRT-Za-oqrt-z]")
"""How names begin that no pattern fits if they end as photos do: not as `paxheaders.*` and `synophoto_thumb_*`."""
ORDINARY_ENDS = ("[Jj][Pp][Ee][Gg]", "[JPjp][NPnp][Gg]")

_EXACT = frozenset(pattern for pattern in PATTERNS if not set(pattern) & set("*?["))
_ENDS = tuple(pattern[1:] for pattern in PATTERNS if pattern[0] == "*" and not set(pattern[1:]) & set("*?["))
# Most names are looked up in the two above: 100,000 photos should not wait for fifty patterns each.
_OTHERS = re.compile(
    "|".join(translate(pattern) for pattern in PATTERNS if pattern not in _EXACT and pattern[1:] not in _ENDS)
)


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name belongs to a system or program, not to the data."""
    lowered = name.lower()
    return lowered in _EXACT or lowered.endswith(_ENDS) or _OTHERS.match(lowered) is not None


def dvcignore_lines() -> list[str]:
    """Lines of `.dvcignore` under which DVC ignores the same names below data/, in any case.

    DVC tries all patterns on every name, 0.1 ms a photo, but the last line that fits decides, and DVC looks for it from
    the end: the lines for ordinary names of photos let most through at once (100,000 photos wait 11 s less).
    """
    ignored = [f"/data/**/{_any_case(pattern)}" for pattern in PATTERNS]
    return [*ignored, *(f"!/data/**/{start}*.{end}" for start in ORDINARY_STARTS for end in ORDINARY_ENDS)]


def _any_case(pattern: str) -> str:
    """``pattern`` for readers that tell upper from lower case; what stands in brackets there has no letters."""
    return "".join(f"[{sign.upper()}{sign}]" if sign.isalpha() else sign for sign in pattern)
