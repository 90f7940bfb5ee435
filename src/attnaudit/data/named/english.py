"""An English tokenizer that takes contractions apart, as treebanks do."""

from __future__ import annotations

import re

# Words that stand for two, with where to cut them; apostrophes may be missing, as in SST and chats.
_FUSED = {
    **dict.fromkeys(("cannot", "gonna", "gotta", "lemme", "gimme"), 3),
    **dict.fromkeys(("im", "ive"), 1),
    **dict.fromkeys(("thats", "whats"), 4),
    **{
        stem + "nt": len(stem)
        for stem in (
            *("ai", "are", "ca", "could", "did", "does", "do", "had", "has", "have", "is"),
            *("must", "need", "should", "was", "were", "wo", "would"),
        )
    },
    **{stem + "ve": len(stem) for stem in ("they", "you", "could", "should", "would")},
}
_TITLES = (
    "Adm|Ala|Ariz|Ark|Aug|Ave|Bros|Calif|Capt|Cmdr|Co|Col|Colo|Conn|Corp|Dec|Del|Dr|Feb|Fla|Gen|"
    "Gov|Inc|Jan|Jr|Kan|Lt|Ltd|Mass|Md|Messrs|Mich|Minn|Miss|Mo|Mont|Mr|Mrs|Ms|Mt|Neb|Nov|Oct|"
    "Okla|Ore|Penn|Ph\\.D|Prof|Rep|Rev|Sen|Sep|Sept|Sgt|Sr|St|Tenn|Va|Wash|Wis|a\\.m|p\\.m|e\\.g|"
    "i\\.e|vs|v\\.s"
)
_WORD = re.compile(
    rf"""
    (?P<web>(?:https?://|www\.)[^\s<>"]*[\w/])   # addresses on the web
  | (?:{_TITLES})\.(?!\w)                        # abbreviations, with their full stop
  | (?:[A-Za-z]\.)+[A-Za-z](?![\w])\.?           # U.S., p.m.
  | \d+(?:[.,:/]\d+)*(?:th|st|nd|rd|s)?(?![A-Za-z])  # numbers, times, ordinals
  | n['’]t(?!\w)                                 # what is left of don't, isn't
  | ['’](?:s|m|d|ll|re|ve)(?!\w)                 # what is left of it's, we'll
  | [^\W_]+?(?=n['’]t(?!\w))                     # the do of don't
  | [^\W_]+(?:['’](?!(?:s|m|d|ll|re|ve)(?!\w))[^\W_]+)*   # words, o'clock
  | \.{{2,}} | -{{2,}} | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What stands before the @ of a mail address, with the rest ahead. Each run is read once, from its
# start: trying an address at every word would take time that grows with the square of the run.
_MAILBOX = re.compile(r"(?<![\w.+-])[\w.+-]++(?=(@\w[\w-]*+(?:\.\w[\w-]*+)++))")


def english(text: str) -> list[tuple[int, int]]:
    """Units are English words and marks, contractions and hyphenated words taken apart.

    What the tokenizer of "Attention is not Explanation" (spaCy's for English) does, without its
    tables of exceptions and units of measurement: the same units in all of SST.

    Example:
        >>> text = "Don't say it's well-made, Mr. Lee!"
        >>> [text[start:end] for start, end in english(text)]
        ['Do', "n't", 'say', 'it', "'s", 'well', '-', 'made', ',', 'Mr.', 'Lee', '!']
    """
    spans: list[tuple[int, int]] = []
    mailboxes = [(*match.span(), match.end(1)) for match in _MAILBOX.finditer(text)][::-1]
    place = 0
    while match := _WORD.search(text, place):
        start, place = match.span()
        while mailboxes and mailboxes[-1][1] <= start:
            mailboxes.pop()
        inside = bool(mailboxes) and mailboxes[-1][0] <= start
        if inside and not match["web"] and (text[start].isalnum() or text[start] == "_"):
            place = mailboxes[-1][2]
            spans.append((start, place))
            continue
        cut = _FUSED.get(match[0].lower())
        spans.extend(
            [(start, place)] if cut is None else [(start, start + cut), (start + cut, place)]
        )
    return spans
